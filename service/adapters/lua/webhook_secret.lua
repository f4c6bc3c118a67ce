#!lua flags=allow-oom
-- WEBHOOK_SECRET: what a project's webhooks are signed with; made where there is none, and anew where that is asked for.
--   reads   ty:webhook_secret:{project}
--   writes  it
--   args    now, project, a new secret, anew ("1" or ""), ms for which the old one signs beside it
--   answers current, previous ("": none) and the ms until when that signs
local now, key, fresh, anew, overlap = clock(ARGV[1]), 'ty:webhook_secret:' .. ARGV[2], ARGV[3], ARGV[4] == '1', tonumber(ARGV[5])
local current = redis.call('HGET', key, 'current')
if not current then
  redis.call('HSET', key, 'current', fresh)
elseif anew and current ~= fresh then -- a call that is repeated because its answer was lost changes nothing more
  redis.call('HSET', key, 'current', fresh, 'previous', current, 'until', whole(now + overlap))
end
local previous, until_ms = unpack(redis.call('HMGET', key, 'previous', 'until'))
if previous and tonumber(until_ms) <= now then
  redis.call('HDEL', key, 'previous', 'until')
  previous = false
end
return { redis.call('HGET', key, 'current'), previous or '', previous and until_ms or '' }
