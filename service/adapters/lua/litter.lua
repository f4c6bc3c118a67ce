#!lua flags=allow-oom
-- LITTER: an attempt that was fenced off may have left objects: have them looked for once the job has ended.
--   reads   ty:job:{id}, ty:gone:{id}
--   writes  ty:garbage, ty:deleted, ty:passes
--   args    now, id, project
--   answers 1
local now, id, project = clock(ARGV[1]), ARGV[2], ARGV[3]
if field(id, 'project') == project then
  if TERMINAL[field(id, 'state')] then litter(id, now) end
else
  tidy_after(id, project, now)
end
return 1
