#!lua flags=no-writes
-- AHEAD: what has to end before a waiting job starts.
--   reads   ty:pending:{device}:{project}, ty:waiting:{device}, ty:leases, ty:projects, ty:job:{id} and its parts
--   args    now, id, project, device, most jobs before it, the quota of projects that have none of their own (JSON)
--   answers {jobs that run, jobs that wait before it, how many may run at a time (0: any number)}, or nil: it does not wait, more are before it, one of them has no estimate,
--           or another project's job waits or runs there
local id, project, device = ARGV[2], ARGV[3], ARGV[4]
local pending = 'ty:pending:' .. device .. ':' .. project
local place = redis.call('ZRANK', pending, id)
if not place or place > tonumber(ARGV[5]) or redis.call('SCARD', 'ty:waiting:' .. device) > 1 then return false end

local before = place == 0 and {} or redis.call('ZRANGE', pending, 0, place - 1)
for _, other in ipairs(before) do
  local estimate = field(other, 'estimate')
  if estimate == '' or estimate:find('"seconds_per_epoch":null', 1, true) then return false end
end
local running = {}
for _, other in ipairs(redis.call('ZRANGE', 'ty:leases', 0, -1)) do
  if field(other, 'device') == device then
    if field(other, 'project') ~= project then return false end
    table.insert(running, read(other))
  end
end
for at, other in ipairs(before) do before[at] = read(other) end
return { running, before, quotas(project, ARGV[6])('running') or 0 }
