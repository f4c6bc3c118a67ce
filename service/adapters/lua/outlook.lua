#!lua flags=no-writes
-- OUTLOOK: what a submission goes by besides its spec.
--   reads   ty:live:*, ty:successes, ty:jobs:{project}:succeeded, records of its newest
--   args    now, project, how many of the newest, then ids of those that the caller knows: such a job changes no more
--   answers the outlook as SUBMIT compares it, the ids of the newest, the jobs among them that the caller does not know
local project, known, unknown = ARGV[2], {}, {}
for at = 4, #ARGV do known[ARGV[at]] = true end
local newest = redis.call('ZREVRANGE', 'ty:jobs:' .. project .. ':succeeded', 0, ARGV[3] - 1)
for _, id in ipairs(newest) do
  if not known[id] then table.insert(unknown, read(id)) end
end
return { outlook(project, clock(ARGV[1])), newest, unknown }
