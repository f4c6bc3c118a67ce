#!lua flags=allow-oom
-- DELETE: take an ended job's record away at once and leave a tombstone; sweepers remove its objects by that.
--   reads   ty:job:{id}, ty:job:{id}:borrowers
--   writes  ty:job:{id} and its parts, what is told of it, ty:outbox*, ty:jobs:{project}:{state}, ty:successes, ty:spec:*, ty:unsaved, ty:garbage, ty:deleted, ty:gone:{id}, ty:passes, ty:history
--   args    now, id, project
--   answers nil where there is no such job | {"illegal", state} | {"needed", id of a job that starts from its checkpoint} | {"ok"}
local now, id, project = clock(ARGV[1]), ARGV[2], ARGV[3]
if field(id, 'project') ~= project then return false end
local state = field(id, 'state')
if not TERMINAL[state] then return { 'illegal', state } end
local borrower = redis.call('SMEMBERS', part_key(id, 'borrowers'))[1]
if borrower then return { 'needed', borrower } end

local member = project .. '/' .. id
redis.call('ZADD', 'ty:deleted', whole(now), member)
redis.call('SET', 'ty:gone:' .. id, '', 'EX', GONE_SECONDS)
redis.call('HDEL', 'ty:passes', 'deleted:' .. member, 'garbage:' .. member)
redis.call('ZREM', 'ty:garbage', member)
redis.call('ZREM', 'ty:jobs:' .. project .. ':' .. state, id)
if state == 'succeeded' then redis.call('HINCRBY', 'ty:successes', project, 1) end
redis.call('ZREM', 'ty:unsaved', id)
drop_spec(field(id, 'spec'))
drop_spec(field(id, 'resolved'))
for _, delivery in ipairs(redis.call('LRANGE', part_key(id, 'deliveries'), 0, -1)) do
  if redis.call('EXISTS', delivery_key(delivery)) == 1 then settled(delivery, 'failed', '') end
  redis.call('DEL', delivery_key(delivery), delivery_key(delivery) .. ':attempts')
end
redis.call('DEL', job_key(id))
for _, part in ipairs({ 'metrics', 'transitions', 'events', 'rows', 'steps', 'logs', 'ended', 'deliveries', 'gone' }) do redis.call('DEL', part_key(id, part)) end
chronicle(id, now, 'deleted')
redis.call('PUBLISH', 'ty:changed', id)
return { 'ok' }
