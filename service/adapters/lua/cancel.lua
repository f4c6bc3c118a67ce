#!lua flags=allow-oom
-- CANCEL: end a job that waits or is paused, or whose lease has died; flag one that runs.
--   reads   ty:job:{id}, ty:leases
--   writes  ty:job:{id} and its parts, ty:pending:*, ty:waiting:*, ty:leases, ty:worked:*, ty:running:{project}, ty:unsaved, ty:counts, ty:history
--   args    now, id, project
--   answers nil where there is no such job | {"illegal", state} | {"ok", job}
local now, id, project = clock(ARGV[1]), ARGV[2], ARGV[3]
if field(id, 'project') ~= project then return false end
local state = field(id, 'state')
if state == 'cancelled' then return { 'ok', read(id) } end
if TERMINAL[state] then return { 'illegal', state } end

local lease = tonumber(redis.call('ZSCORE', 'ty:leases', id) or '0')
if state == 'running' and lease >= now then
  flag(id, now, 'cancel', '1')
else
  lose(id)
  dequeue(id, field(id, 'device'), project)
  release(id, now)
  finish(id, now, 'cancelled', '', '')
end
return { 'ok', read(id) }
