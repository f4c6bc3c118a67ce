#!lua flags=allow-oom
-- SWEPT: what was due for a job is done; once more after a while, for what a slow writer added meanwhile.
--   reads   ty:passes
--   writes  it, ty:garbage or ty:deleted
--   args    now, list ("garbage" or "deleted"), member ({project}/{id}), passes in all, ms to the next
--   answers 1
local now, list, member = clock(ARGV[1]), ARGV[2], ARGV[3]
local pass = list .. ':' .. member
if redis.call('HINCRBY', 'ty:passes', pass, 1) < tonumber(ARGV[4]) then
  redis.call('ZADD', 'ty:' .. list, whole(now + tonumber(ARGV[5])), member)
else
  redis.call('HDEL', 'ty:passes', pass)
  redis.call('ZREM', 'ty:' .. list, member)
end
return 1
