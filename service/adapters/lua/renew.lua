#!lua flags=allow-oom
-- RENEW: push the lease out and read the user's flags. A lease that has run out may be renewed until somebody expires it.
--   reads   ty:job:{id}
--   writes  ty:leases
--   args    now, id, token, lease ms
--   answers nil where FENCED | {cancel, pause}
local now, id = clock(ARGV[1]), ARGV[2]
if not holds(id, ARGV[3]) then return false end
redis.call('ZADD', 'ty:leases', whole(now + tonumber(ARGV[4])), id)
return { field(id, 'cancel'), field(id, 'pause') }
