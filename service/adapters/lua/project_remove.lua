#!lua flags=allow-oom
-- PROJECT_REMOVE: forget a project that has nothing.
--   reads   ty:projects, ty:keys, ty:jobs:{project}:{state}, ty:datasets:{project}
--   writes  ty:projects, ty:access_unsaved
--   args    now, project
--   answers removed, gone, or what it has
local project = ARGV[2]
if redis.call('HEXISTS', 'ty:projects', project) == 0 then return 'gone' end
for _, state in ipairs({ 'queued', 'running', 'paused', 'succeeded', 'failed', 'cancelled' }) do
  if redis.call('EXISTS', 'ty:jobs:' .. project .. ':' .. state) == 1 then return 'jobs' end
end
if redis.call('EXISTS', 'ty:datasets:' .. project) == 1 then return 'data sets' end
for _, record in ipairs(redis.call('HVALS', 'ty:keys')) do
  local key = cjson.decode(record)
  if key.project == project and (key.revoked_at == nil or key.revoked_at == cjson.null) then return 'a key that is not revoked: ' .. key.id end
end
redis.call('HDEL', 'ty:projects', project)
redis.call('SADD', 'ty:access_unsaved', 'project/' .. project)
return 'removed'
