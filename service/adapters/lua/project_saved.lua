#!lua flags=allow-oom
-- PROJECT_SAVED: storage has this version of a project's record, or has it no more. It may have landed over a newer one.
--   reads   ty:projects
--   writes  ty:access_unsaved
--   args    now, name, version ("": removed)
local here = redis.call('HGET', 'ty:projects', ARGV[2])
local version = here and tostring(cjson.decode(here).version) or ''
redis.call(version == ARGV[3] and 'SREM' or 'SADD', 'ty:access_unsaved', 'project/' .. ARGV[2])
