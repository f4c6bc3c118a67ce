#!lua flags=allow-oom
-- SAVED: a record was written to storage. An old version may have landed over a newer one: then the job is unsaved again.
--   reads   ty:job:{id}
--   writes  ty:unsaved, ty:deleted where the job is gone, and the expiry of the live tail once the job has ended
--   args    now, id, version written, seconds that the live tail stays, project
local now, id = clock(ARGV[1]), ARGV[2]
if redis.call('EXISTS', job_key(id)) == 0 then -- deleted while it was written: the tombstone's work begins anew
  redis.call('HDEL', 'ty:passes', 'deleted:' .. ARGV[5] .. '/' .. id)
  redis.call('ZADD', 'ty:deleted', whole(now), ARGV[5] .. '/' .. id)
  return 1
end
if tonumber(ARGV[3]) < (tonumber(field(id, 'marked')) or 0) then return redis.call('ZADD', 'ty:unsaved', whole(now), id) end
redis.call('ZREM', 'ty:unsaved', id)
if TERMINAL[field(id, 'state')] then
  for _, part in ipairs({ 'events', 'rows', 'logs' }) do redis.call('EXPIRE', part_key(id, part), ARGV[4], 'NX') end
end
return 1
