#!lua flags=allow-oom
-- OUTBOX_SETTLE: an attempt was made.
--   reads   ty:job:{id}:deliveries
--   writes  ty:delivery:{id}, its attempts, ty:outbox*, ty:sending:{project}, ty:unreachable:*, ty:job:{id}:gone
--   args    now, id, end of the lease, attempt (JSON), kind ("delivered", "again" or "failed"), ms until the next, reason, gone ("1" or ""),
--           reached ("1" or "": nobody answered)
--   answers 1, or 0 where the lease is not the caller's any more
local now, id, lease, attempt, kind, pause, reason = clock(ARGV[1]), ARGV[2], ARGV[3], ARGV[4], ARGV[5], tonumber(ARGV[6]), ARGV[7]
local key, ATTEMPTS_KEPT, UNREACHABLE_SECONDS = delivery_key(id), 50, 3600
if redis.call('HGET', key, 'lease') ~= lease then return 0 end

local job, project, origin, endpoint = unpack(redis.call('HMGET', key, 'job', 'project', 'origin', 'endpoint'))
redis.call('ZREM', 'ty:sending:' .. project, origin .. ' ' .. id)
redis.call('RPUSH', key .. ':attempts', attempt)
redis.call('LTRIM', key .. ':attempts', -ATTEMPTS_KEPT, -1)
redis.call('HINCRBY', key, 'tries', 1)
local unreachable = 'ty:unreachable:' .. project .. '|' .. origin
if ARGV[9] == '1' then
  redis.call('DEL', unreachable)
else
  redis.call('SET', unreachable, whole(now + 1000 * UNREACHABLE_SECONDS), 'EX', UNREACHABLE_SECONDS)
end

if kind == 'again' then
  redis.call('HSET', key, 'next', whole(now + pause), 'lease', '')
  send_at(id, project, origin, now + pause)
else
  settled(id, kind, reason)
end
if ARGV[8] == '1' then
  redis.call('SADD', part_key(job, 'gone'), endpoint)
  redis.call('EXPIRE', part_key(job, 'gone'), DELIVERY_SECONDS)
  for _, other in ipairs(redis.call('LRANGE', part_key(job, 'deliveries'), 0, -1)) do
    local at, state, held = unpack(redis.call('HMGET', delivery_key(other), 'endpoint', 'state', 'lease'))
    if at == endpoint and state == 'pending' and held == '' then settled(other, 'failed', reason) end
  end
end
return 1
