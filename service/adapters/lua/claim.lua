#!lua flags=allow-oom
-- CLAIM: a worker takes the best pending job, with a new fencing token and a lease.
--   reads   ty:waiting:{device}, ty:pending:{device}:*, ty:running:*, ty:projects, ty:gpu_ms:*
--   writes  ty:job:{id} and its parts, ty:pending:*, ty:waiting:*, ty:running:{project}, ty:leases, ty:worked:{worker}, ty:claim:{nonce}, ty:unsaved, ty:counts, ty:history
--   args    now, worker, device, lease ms, nonce, newest spec_version understood, the quota of projects that have none of their own (JSON),
--           GPUs that are free there, the most that it ever has for one job, the warning (JSON) of a job that is left to newer workers
--   answers the job, or nil where none waits, or one for which the worker keeps its GPUs
local now, worker, device, lease, nonce = clock(ARGV[1]), ARGV[2], ARGV[3], tonumber(ARGV[4]), ARGV[5]
local understood, free, most_gpus, LOOKED_AT = tonumber(ARGV[6]), tonumber(ARGV[8]), tonumber(ARGV[9]), 32
local taken = redis.call('GET', 'ty:claim:' .. nonce)
if taken then return read(taken) end -- the answer to the first try was lost

-- The first of a project whose GPU hours are used up says so, once.
local function hold(id)
  if field(id, 'reason') == 'gpu_hours' then return end
  redis.call('HSET', job_key(id), 'reason', 'gpu_hours')
  touch(id)
  mark(id, now)
end

-- Projects within their quota, the one with the fewest running jobs first; of equals, the one whose head has waited longest.
local projects = {}
for _, project in ipairs(redis.call('SMEMBERS', 'ty:waiting:' .. device)) do
  local running, limit = redis.call('SCARD', 'ty:running:' .. project), quotas(project, ARGV[7])
  local head = redis.call('ZRANGE', 'ty:pending:' .. device .. ':' .. project, 0, 0, 'WITHSCORES')
  if device == 'gpu' and is_spent(project, limit, now) then
    hold(head[1])
  elseif running < (limit('running') or math.huge) then
    table.insert(projects, { name = project, running = running, submitted = tonumber(head[2]) % PRIORITY_STEP })
  end
end
table.sort(projects, function(a, b)
  if a.running ~= b.running then return a.running < b.running end
  if a.submitted ~= b.submitted then return a.submitted < b.submitted end
  return a.name < b.name
end)

local TOO_NEW = '"code":"newer_spec"'

-- Say once that this worker is too old for a job.
local function pass_over(id)
  local known = field(id, 'warnings')
  if known:find(TOO_NEW, 1, true) then return end
  redis.call('HSET', job_key(id), 'reason', 'waiting_for_worker', 'warnings', known == '' and ARGV[10] or known .. '\n' .. ARGV[10])
  touch(id)
  mark(id, now)
  emit(id, now, 'warning', cjson.decode(ARGV[10]).detail, '{}')
end

-- A worker took it after all.
local function withdraw(id)
  local warnings, kept = field(id, 'warnings'), {}
  if not warnings:find(TOO_NEW, 1, true) then return end
  for line in warnings:gmatch('[^\n]+') do
    if not line:find(TOO_NEW, 1, true) then table.insert(kept, line) end
  end
  redis.call('HSET', job_key(id), 'warnings', table.concat(kept, '\n'))
end

-- How many of the worker's GPUs a job takes.
local function gpus_of(id)
  return device == 'gpu' and tonumber(field(id, 'gpus')) or 0
end

-- Of its first jobs, the first that this worker understands, and has GPUs enough for, be they free or not.
local function runnable(project)
  for _, id in ipairs(redis.call('ZRANGE', 'ty:pending:' .. device .. ':' .. project, 0, LOOKED_AT - 1)) do
    if gpus_of(id) <= most_gpus then
      if (tonumber(field(id, 'spec_version')) or 1) <= understood then return id end
      pass_over(id)
    end
  end
end

local id, project
for _, each in ipairs(projects) do
  id, project = runnable(each.name), each.name
  if id then break end
end
if not id then return false end
-- A job for many GPUs would wait for ever if those that need less went before it, one after the other: what is free is kept for it.
if gpus_of(id) > free then return false end

local token = whole(math.max(tonumber(field(id, 'token')) + 1, now))
dequeue(id, device, project)
redis.call('SADD', 'ty:running:' .. project, id)
redis.call('ZADD', 'ty:leases', whole(now + lease), id)
redis.call('SET', 'ty:claim:' .. nonce, id, 'EX', 60)
redis.call('LPUSH', worked_key(worker), table.concat({ id, token, whole(now), '' }, '|'))
redis.call('LTRIM', worked_key(worker), 0, WORKED_KEPT - 1)
redis.call('PEXPIRE', worked_key(worker), SILENCE_MS)
if field(id, 'started') == '' then
  redis.call('HSET', job_key(id), 'started', whole(now))
  observe('wait', id, now)
end
redis.call('HINCRBY', job_key(id), 'attempt', 1)
redis.call('HSET', job_key(id), 'token', token, 'owner', worker, 'metered', 'at ' .. whole(now), 'spent', '')
withdraw(id)
move(id, now, 'running', 'preparing', '')
return read(id)
