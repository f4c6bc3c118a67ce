#!lua
-- RESERVE: bytes are about to be stored: count them, if the project may have so many. CHARGE and DATASET_PUT say that they are there; what nobody
-- says that of is not counted any more after a while. Refused when Redis is nearly full: no allow-oom here.
--   reads   ty:projects
--   writes  ty:stored*, ty:reserved:{project}
--   args    now, project, owner, bytes, ms for which it is believed, the quota of projects that have none of their own (JSON)
--   answers {"ok"} | {"quota", "stored_bytes", used, limit}
local now, project, owner, bytes = clock(ARGV[1]), ARGV[2], ARGV[3], tonumber(ARGV[4])
lapse(project, now)
local before, most = tonumber(redis.call('HGET', 'ty:stored:' .. project, owner)) or 0, quotas(project, ARGV[6])('stored_bytes')
local used = stored_bytes(project) - before
if most and used + bytes > most then return { 'quota', 'stored_bytes', whole(used), whole(most) } end
charge(project, owner, bytes)
redis.call('ZADD', 'ty:reserved:' .. project, whole(now + tonumber(ARGV[5])), owner)
return { 'ok' }
