#!lua
-- DATASET_PUT: a new version of a data set, to be looked at. Refused when Redis is nearly full: no allow-oom here.
--   writes  ty:datasets:{project}, ty:dataset:{project}:{name}, ty:inspections
--   args    now, project, name, version, record
--   answers the record that is there: an earlier one of the same bytes, unless it was invalid
local now, project, name, version, record = clock(ARGV[1]), ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local key = dataset_key(project, name)
local known = redis.call('HGET', key, version)
if known and cjson.decode(known).state ~= 'invalid' then return known end
redis.call('HSET', key, version, record)
redis.call('SADD', 'ty:datasets:' .. project, name)
redis.call('ZADD', 'ty:inspections', whole(now), table.concat({ project, name, version }, '/'))
return record
