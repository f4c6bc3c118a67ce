#!lua flags=allow-oom
-- OUTBOX_REPLAY: send it again now, and as often as a new one. One that is being sent right now is left to that.
--   reads   ty:job:{id}
--   writes  ty:delivery:{delivery}, ty:outbox*
--   args    now, id, project, delivery
--   answers nil where there is no such job | {} where it has no such delivery | {delivery, its fields, its attempts}
local now, id, project, delivery = clock(ARGV[1]), ARGV[2], ARGV[3], ARGV[4]
if field(id, 'project') ~= project then return false end
local key = delivery_key(delivery)
if redis.call('HGET', key, 'job') ~= id then return {} end
local origin, lease = unpack(redis.call('HMGET', key, 'origin', 'lease'))
if lease == '' or tonumber(lease) <= now then
  for _, each in ipairs({ key, key .. ':attempts' }) do redis.call('PERSIST', each) end
  redis.call('HSET', key, 'state', 'pending', 'reason', '', 'tries', '0', 'next', whole(now), 'lease', '')
  send_at(delivery, project, origin, now)
end
return { delivery, redis.call('HGETALL', key), redis.call('LRANGE', key .. ':attempts', 0, -1) }
