#!lua flags=no-writes
-- DUE: members of ty:garbage or ty:deleted whose time has come, the longest due first.
--   reads   it
--   args    now, list, limit
--   answers the members
return redis.call('ZRANGEBYSCORE', 'ty:' .. ARGV[2], '-inf', whole(clock(ARGV[1])), 'LIMIT', 0, ARGV[3])
