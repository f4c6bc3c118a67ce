#!lua flags=allow-oom
-- DATASET_TAKE: the data set that waits longest to be looked at, for a while.
--   writes  ty:inspections
--   args    now, ms to hold it
--   answers its record | false
local now, held = clock(ARGV[1]), tonumber(ARGV[2])
while true do
  local member = redis.call('ZRANGE', 'ty:inspections', '-inf', whole(now), 'BYSCORE', 'LIMIT', 0, 1)[1]
  if not member then return false end
  local project, name, version = member:match('^([^/]+)/([^/]+)/([^/]+)$')
  local record = redis.call('HGET', dataset_key(project, name), version)
  if record then
    redis.call('ZADD', 'ty:inspections', whole(now + held), member)
    return record
  end
  redis.call('ZREM', 'ty:inspections', member)
end
