#!lua flags=allow-oom
-- EXPIRE: give back (or end) every job whose lease has died. After a gap in sweeping nothing expires for one lease more:
-- it was Redis or this machine that slept, and the workers' renewals with it.
--   reads   ty:leases
--   writes  ty:last_sweep, ty:grace_until, ty:leases, ty:worked:*, ty:running:*, ty:job:{id} and its parts, ty:pending:*, ty:waiting:*, ty:unsaved, ty:counts, ty:history
--   args    now, sweep interval ms, lease ms, error (JSON) for a job without retries left
--   answers the ids
local now, interval, lease = clock(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local last = tonumber(redis.call('GET', 'ty:last_sweep') or '0')
redis.call('SET', 'ty:last_sweep', whole(now))
if now - last > 2 * interval then redis.call('SET', 'ty:grace_until', whole(now + lease)) end
if now < tonumber(redis.call('GET', 'ty:grace_until') or '0') then return {} end

local ids = redis.call('ZRANGEBYSCORE', 'ty:leases', '-inf', '(' .. whole(now), 'LIMIT', 0, 100)
for _, id in ipairs(ids) do
  release(id, now)
  lose(id)
  if field(id, 'cancel') == '1' then
    finish(id, now, 'cancelled', '', '')
  else
    give_back(id, now, 'worker_lost', true, ARGV[4])
  end
end
return ids
