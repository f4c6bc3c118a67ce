#!lua flags=no-writes
-- OUTLOOK: what a submission goes by besides its spec.
--   reads   ty:live:*, ty:successes, ty:jobs:{project}:succeeded, the records of its newest
--   args    now, project, how many of the newest
--   answers the outlook as SUBMIT compares it, then a job for each
local project = ARGV[2]
local answer = { outlook(project, clock(ARGV[1])) }
for _, id in ipairs(redis.call('ZREVRANGE', 'ty:jobs:' .. project .. ':succeeded', 0, ARGV[3] - 1)) do table.insert(answer, read(id)) end
return answer
