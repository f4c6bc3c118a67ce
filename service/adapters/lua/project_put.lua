#!lua flags=allow-oom
-- PROJECT_PUT: keep the next version of a project's record.
--   reads   ty:projects
--   writes  it, ty:access_unsaved
--   args    now, name, record as JSON, its version; 1 for the project that has a record only once it was changed
--   answers 1 where it was kept, 0 where what is here is not the version before, nil where nothing is
local here = redis.call('HGET', 'ty:projects', ARGV[2])
if not here and ARGV[5] ~= '1' then return false end
local before = here and cjson.decode(here).version or 1
if before ~= tonumber(ARGV[4]) - 1 then return 0 end
redis.call('HSET', 'ty:projects', ARGV[2], ARGV[3])
redis.call('SADD', 'ty:access_unsaved', 'project/' .. ARGV[2])
return 1
