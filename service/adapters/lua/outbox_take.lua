#!lua flags=allow-oom
-- OUTBOX_TAKE: lease the delivery whose turn it is: of the project with the fewest under way, to the endpoint that waits the longest.
--   reads   ty:outbox*, ty:unreachable:*
--   writes  ty:outbox*, ty:sending:{project}, ty:delivery:{id}
--   args    now, ms of the lease, most under way of a project, to an endpoint, to one that nobody answered at last
--   answers nil where nothing is due | {id, end of the lease, the delivery's fields}
local now, lease, of_project, to_endpoint, to_unreachable = clock(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])

local projects = {}
for _, project in ipairs(redis.call('ZRANGEBYSCORE', 'ty:outbox', '-inf', whole(now))) do
  redis.call('ZREMRANGEBYSCORE', 'ty:sending:' .. project, '-inf', whole(now))
  local sending = redis.call('ZRANGE', 'ty:sending:' .. project, 0, -1)
  if #sending < of_project then table.insert(projects, { name = project, sending = sending }) end
end
table.sort(projects, function(a, b)
  if #a.sending ~= #b.sending then return #a.sending < #b.sending end
  return a.name < b.name
end)

-- The first that is due there; of a job that was deleted, or a delivery that expired, nothing is left but its place.
local function first_due(project, origin)
  local queue = 'ty:outbox:' .. project .. '|' .. origin
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', queue, '-inf', whole(now), 'LIMIT', 0, 100)) do
    if redis.call('EXISTS', delivery_key(id)) == 1 then return id end
    redis.call('ZREM', queue, id)
  end
  take_turns(project, origin)
end

local function has_room(project, origin)
  local under_way = 0
  for _, each in ipairs(project.sending) do
    if each:sub(1, #origin + 1) == origin .. ' ' then under_way = under_way + 1 end
  end
  local until_then = tonumber(redis.call('GET', 'ty:unreachable:' .. project.name .. '|' .. origin) or 0) or 0
  return under_way < (until_then > now and to_unreachable or to_endpoint)
end

for _, project in ipairs(projects) do
  -- of so many due endpoints one at least has room, for each that has none is under way
  for _, origin in ipairs(redis.call('ZRANGEBYSCORE', 'ty:outbox:' .. project.name, '-inf', whole(now), 'LIMIT', 0, of_project + 1)) do
    local id = has_room(project, origin) and first_due(project.name, origin)
    if id then
      redis.call('HSET', delivery_key(id), 'lease', whole(now + lease))
      redis.call('ZADD', 'ty:sending:' .. project.name, whole(now + lease), origin .. ' ' .. id)
      redis.call('PEXPIRE', 'ty:sending:' .. project.name, lease)
      send_at(id, project.name, origin, now + lease)
      return { id, whole(now + lease), redis.call('HGETALL', delivery_key(id)) }
    end
  end
end
return false
