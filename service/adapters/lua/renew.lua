#!lua flags=allow-oom
-- RENEW: push the lease out, count GPU time, and read the user's flags. A lease that has run out may be renewed until somebody expires it.
-- A job whose project has used its GPU hours up is told to pause; its attempt gives it back, and it waits (GIVE_BACK sees `spent`).
--   reads   ty:job:{id}, ty:projects
--   writes  ty:leases, ty:job:{id}, ty:gpu_ms:{project}
--   args    now, id, token, lease ms, the quota of projects that have none of their own (JSON)
--   answers nil where FENCED | {cancel, pause}
local now, id = clock(ARGV[1]), ARGV[2]
if not holds(id, ARGV[3]) then return false end
redis.call('ZADD', 'ty:leases', whole(now + tonumber(ARGV[4])), id)
meter(id, now)
if field(id, 'device') == 'gpu' and is_spent(field(id, 'project'), quotas(field(id, 'project'), ARGV[5]), now) then
  redis.call('HSET', job_key(id), 'spent', 'yes')
end
return { field(id, 'cancel'), field(id, 'spent') ~= '' and '1' or field(id, 'pause') }
