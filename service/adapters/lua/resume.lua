#!lua flags=allow-oom
-- RESUME: put a paused job back where it stood in the pending order; take back the wish to pause one that still runs.
--   reads   ty:job:{id}
--   writes  ty:job:{id} and its parts, ty:pending:*, ty:waiting:*, ty:unsaved, ty:history
--   args    now, id, project
--   answers nil where there is no such job | {"illegal", state} | {"ok", job}
local now, id, project = clock(ARGV[1]), ARGV[2], ARGV[3]
if field(id, 'project') ~= project then return false end
local state = field(id, 'state')
if TERMINAL[state] then return { 'illegal', state } end

if state == 'paused' then
  enqueue(id)
  move(id, now, 'queued', '', '')
else
  flag(id, now, 'pause', '0')
end
return { 'ok', read(id) }
