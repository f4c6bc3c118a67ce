#!lua flags=allow-oom
-- DATASET_RESTORE: put a record back that storage kept and this Redis does not know.
--   writes  ty:datasets:{project}, ty:dataset:{project}:{name}, ty:stored*
--   args    now, project, name, version, record, owner of its bytes, how many they are
--   answers 1, or 0 where there was nothing to do
local project, name, version = ARGV[2], ARGV[3], ARGV[4]
redis.call('SADD', 'ty:datasets:' .. project, name)
if redis.call('HSETNX', dataset_key(project, name), version, ARGV[5]) == 0 then return 0 end
charge(project, ARGV[6], tonumber(ARGV[7]))
return 1
