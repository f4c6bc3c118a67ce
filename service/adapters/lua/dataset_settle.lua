#!lua flags=allow-oom
-- DATASET_SETTLE: what was found in a data set. Of an invalid one the objects are to go.
--   writes  ty:dataset:{project}:{name}, ty:inspections, ty:removed_datasets
--   args    now, project, name, version, record, 1 where it is ready, place
--   answers 1, or 0 where it was removed, or settled, meanwhile
local now, project, name, version, record = clock(ARGV[1]), ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local key, member = dataset_key(project, name), table.concat({ project, name, version }, '/')
local known = redis.call('HGET', key, version)
if not known or cjson.decode(known).state ~= 'validating' then return 0 end
redis.call('HSET', key, version, record)
redis.call('ZREM', 'ty:inspections', member)
if ARGV[6] ~= '1' then redis.call('ZADD', 'ty:removed_datasets', whole(now), table.concat({ project, name, ARGV[7] }, '/')) end
return 1
