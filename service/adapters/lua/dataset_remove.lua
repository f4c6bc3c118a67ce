#!lua flags=allow-oom
-- DATASET_REMOVE: from now on a data set is not found; its objects go later. Refused while a job that has not ended needs it.
--   reads   ty:job:{id}
--   writes  ty:dataset:{project}:{name}, ty:datasets:{project}, ty:dataset_jobs:{project}/{name}/{version}, ty:inspections, ty:removed_datasets
--   args    now, project, name, version, place
--   answers "removed" | "gone" | the id of a job that needs it
local now, project, name, version = clock(ARGV[1]), ARGV[2], ARGV[3], ARGV[4]
local key, member = dataset_key(project, name), table.concat({ project, name, version }, '/')
if redis.call('HEXISTS', key, version) == 0 then return 'gone' end
local jobs = 'ty:dataset_jobs:' .. member
for _, id in ipairs(redis.call('SMEMBERS', jobs)) do
  local state = field(id, 'state')
  if state ~= '' and not TERMINAL[state] then return id end
  redis.call('SREM', jobs, id)
end
redis.call('HDEL', key, version)
if redis.call('EXISTS', key) == 0 then redis.call('SREM', 'ty:datasets:' .. project, name) end
redis.call('ZREM', 'ty:inspections', member)
redis.call('ZADD', 'ty:removed_datasets', whole(now), table.concat({ project, name, ARGV[5] }, '/'))
return 'removed'
