#!lua flags=allow-oom
-- SAVED: a record was written to storage. An old version may have landed over a newer one: then the job is unsaved again.
--   reads   ty:job:{id}
--   writes  ty:unsaved, and the expiry of the live tail once the job has ended
--   args    now, id, version written, seconds that the live tail stays
local now, id = clock(ARGV[1]), ARGV[2]
if tonumber(ARGV[3]) < (tonumber(field(id, 'marked')) or 0) then return redis.call('ZADD', 'ty:unsaved', whole(now), id) end
redis.call('ZREM', 'ty:unsaved', id)
if TERMINAL[field(id, 'state')] then
  for _, part in ipairs({ 'events', 'rows', 'logs' }) do redis.call('EXPIRE', part_key(id, part), ARGV[4], 'NX') end
end
return 1
