#!lua flags=no-writes
-- OUTBOX_OF: what was and is to be told of a job, oldest first.
--   reads   ty:job:{id}, ty:job:{id}:deliveries, ty:delivery:{id}, its attempts
--   args    now, id, project
--   answers nil where there is no such job | for each: id, its fields, its attempts
local id, project = ARGV[2], ARGV[3]
if field(id, 'project') ~= project then return false end
local told = {}
for _, delivery in ipairs(redis.call('LRANGE', part_key(id, 'deliveries'), 0, -1)) do
  local fields = redis.call('HGETALL', delivery_key(delivery))
  if fields[1] then table.insert(told, { delivery, fields, redis.call('LRANGE', delivery_key(delivery) .. ':attempts', 0, -1) }) end
end
return told
