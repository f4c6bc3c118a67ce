#!lua
-- DATASET_PUT: a new version of a data set, to be looked at. Refused when Redis is nearly full: no allow-oom here.
--   writes  ty:datasets:{project}, ty:dataset:{project}:{name}, ty:inspections, ty:stored*, ty:reserved:{project}
--   args    now, project, name, version, record, owner of its bytes, how many they are
--   answers the record that is there: an earlier one of the same bytes, unless it was invalid
local now, project, name, version, record = clock(ARGV[1]), ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local key = dataset_key(project, name)
local known = redis.call('HGET', key, version)
if known and cjson.decode(known).state ~= 'invalid' then
  charge(project, ARGV[6], 0) -- nothing will name what was uploaded
  return known
end
charge(project, ARGV[6], tonumber(ARGV[7]))
redis.call('HSET', key, version, record)
redis.call('SADD', 'ty:datasets:' .. project, name)
redis.call('ZADD', 'ty:inspections', whole(now), table.concat({ project, name, version }, '/'))
return record
