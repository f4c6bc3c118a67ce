#!lua flags=allow-oom
-- BEAT: a worker lives.
--   writes  ty:worker:{name}, ty:worked:{name}, ty:workers, ty:live:{device}, ty:idle:{device}, ty:gpus:{name}
--   args    now, name, beat (JSON), device, 1 where a slot is idle, else 0, the most GPUs that it has for one job
local now, name, device = clock(ARGV[1]), ARGV[2], ARGV[4]
redis.call('SET', 'ty:worker:' .. name, ARGV[3], 'PX', SILENCE_MS)
redis.call('PEXPIRE', worked_key(name), SILENCE_MS)
for _, list in ipairs({ 'ty:workers', 'ty:live:' .. device, 'ty:idle:' .. device }) do
  redis.call('ZADD', list, whole(now), name)
  redis.call('ZREMRANGEBYSCORE', list, '-inf', '(' .. whole(now - SILENCE_MS))
end
if device == 'gpu' then redis.call('SET', 'ty:gpus:' .. name, ARGV[6], 'PX', SILENCE_MS) end
if ARGV[5] == '0' then redis.call('ZREM', 'ty:idle:' .. device, name) end
return 1
