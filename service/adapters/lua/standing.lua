#!lua flags=no-writes
-- STANDING: what an operator's monitor asks, all of one time. Reads no record but those of jobs that run, however many wait.
--   reads   ty:waiting:{device}, ty:pending:*, ty:leases, ty:job:{id}, ty:workers, ty:worker:*, ty:unsaved, ty:inspections, ty:counts
--   args    now
--   answers now | {device, project, jobs that wait, submit ms of the one that has waited longest} of each queue | {device, project} of each job that
--           runs | beats | records to save, ms of the oldest ("": none) | uploads to look at | bytes used, most bytes (0: no limit) | ty:counts
local now = clock(ARGV[1])

-- Jobs of one priority stand in the order of their submit: the first of each priority is the oldest of it.
local function oldest(pending)
  local found, after = nil, '-inf'
  while true do
    local head = redis.call('ZRANGE', pending, after, '+inf', 'BYSCORE', 'LIMIT', 0, 1, 'WITHSCORES')
    if not head[2] then return found end
    local submitted = tonumber(head[2]) % PRIORITY_STEP
    found = math.min(found or submitted, submitted)
    after = whole(tonumber(head[2]) - submitted + PRIORITY_STEP)
  end
end

local queues, running, beats = {}, {}, {}
for _, device in ipairs({ 'cpu', 'gpu' }) do
  for _, project in ipairs(redis.call('SMEMBERS', 'ty:waiting:' .. device)) do
    local pending = 'ty:pending:' .. device .. ':' .. project
    table.insert(queues, { device, project, redis.call('ZCARD', pending), whole(oldest(pending)) })
  end
end
for _, id in ipairs(redis.call('ZRANGE', 'ty:leases', 0, -1)) do table.insert(running, { field(id, 'device'), field(id, 'project') }) end
for _, name in ipairs(redis.call('ZRANGE', 'ty:workers', 0, -1)) do
  local beat = redis.call('GET', 'ty:worker:' .. name)
  if beat then table.insert(beats, beat) end
end
local memory = redis.call('INFO', 'memory')
return {
  whole(now),
  queues,
  running,
  beats,
  redis.call('ZCARD', 'ty:unsaved'),
  redis.call('ZRANGE', 'ty:unsaved', 0, 0, 'WITHSCORES')[2] or '',
  redis.call('ZCARD', 'ty:inspections'),
  memory:match('used_memory:(%d+)'),
  memory:match('maxmemory:(%d+)'),
  redis.call('HGETALL', 'ty:counts'),
}
