#!lua flags=allow-oom
-- BEAT: a worker lives.
--   writes  ty:worker:{name}, ty:workers
--   args    now, name, beat (JSON), seconds of silence after which it is forgotten
local now = clock(ARGV[1])
redis.call('SET', 'ty:worker:' .. ARGV[2], ARGV[3], 'EX', ARGV[4])
redis.call('ZADD', 'ty:workers', whole(now), ARGV[2])
redis.call('ZREMRANGEBYSCORE', 'ty:workers', '-inf', '(' .. whole(now - 1000 * tonumber(ARGV[4])))
return 1
