#!lua flags=allow-oom
-- DATASET_RESTORE: put a record back that storage kept and this Redis does not know.
--   writes  ty:datasets:{project}, ty:dataset:{project}:{name}
--   args    now, project, name, version, record
--   answers 1, or 0 where there was nothing to do
local project, name, version = ARGV[2], ARGV[3], ARGV[4]
redis.call('SADD', 'ty:datasets:' .. project, name)
return redis.call('HSETNX', dataset_key(project, name), version, ARGV[5])
