#!lua flags=no-writes
-- NEWEST: whether anything of a project's newest jobs is another than it was, or where they stand in the queue.
--   reads   ty:jobs:{project}:*, ty:job:{id}, ty:pending:{device}:{project}
--   args    now, project, how many
--   answers a line of each, the newest first: its id, its stamp (shared.lua), its place from 0 while it waits
local project, most, found = ARGV[2], tonumber(ARGV[3]), {}
for _, state in ipairs({ 'queued', 'running', 'paused', 'succeeded', 'failed', 'cancelled' }) do
  local places = redis.call('ZREVRANGE', 'ty:jobs:' .. project .. ':' .. state, 0, most - 1, 'WITHSCORES')
  for at = 1, #places, 2 do found[#found + 1] = { id = places[at], created = tonumber(places[at + 1]), state = state } end
end
table.sort(found, function(a, b)
  if a.created ~= b.created then return a.created > b.created end
  return a.id > b.id
end)
local lines = {}
for at = 1, math.min(most, #found) do
  local id, waits = found[at].id, found[at].state == 'queued'
  local place = waits and redis.call('ZRANK', 'ty:pending:' .. field(id, 'device') .. ':' .. project, id)
  lines[at] = table.concat({ id, stamp(id) or '', place and whole(place) or '' }, '|')
end
return table.concat(lines, '\n')
