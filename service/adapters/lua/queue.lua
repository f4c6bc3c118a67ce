#!lua flags=no-writes
-- QUEUE: what waits of a project in one class, and what runs.
--   reads   ty:pending:{device}:{project}, ty:waiting:{device}, ty:leases, ty:projects, ty:job:{id} and its parts
--   args    now, project, device, how many of those that wait, the quota of projects that have none of their own (JSON)
--   answers how many wait, the jobs of the project that run, the first that wait, 1 where no other project waits or runs there,
--           and how many may run at a time (0: any number)
local project, device = ARGV[2], ARGV[3]
local pending, others = 'ty:pending:' .. device .. ':' .. project, redis.call('SMEMBERS', 'ty:waiting:' .. device)
local alone, running, first = 1, {}, redis.call('ZRANGE', pending, 0, tonumber(ARGV[4]) - 1)
for _, other in ipairs(others) do
  if other ~= project then alone = 0 end
end
for _, id in ipairs(redis.call('ZRANGE', 'ty:leases', 0, -1)) do
  if field(id, 'device') == device then
    if field(id, 'project') == project then table.insert(running, read(id)) else alone = 0 end
  end
end
for at, id in ipairs(first) do first[at] = read(id) end
return { redis.call('ZCARD', pending), running, first, alone, quotas(project, ARGV[5])('running') or 0 }
