#!lua flags=allow-oom
-- CLAIM: a worker takes the best pending job, with a new fencing token and a lease.
--   reads   ty:waiting:{device}, ty:pending:{device}:*, ty:running:*
--   writes  ty:job:{id} and its parts, ty:pending:*, ty:waiting:*, ty:running:{project}, ty:leases, ty:claim:{nonce}, ty:unsaved, ty:history
--   args    now, worker, device, lease ms, nonce
--   answers the job, or nil where none waits
local now, worker, device, lease, nonce = clock(ARGV[1]), ARGV[2], ARGV[3], tonumber(ARGV[4]), ARGV[5]
local taken = redis.call('GET', 'ty:claim:' .. nonce)
if taken then return read(taken) end -- the answer to the first try was lost

-- The project with the fewest running jobs; of equals, the one whose head has waited longest.
local best, fewest, oldest
for _, project in ipairs(redis.call('SMEMBERS', 'ty:waiting:' .. device)) do
  local running = redis.call('SCARD', 'ty:running:' .. project)
  local head = redis.call('ZRANGE', 'ty:pending:' .. device .. ':' .. project, 0, 0, 'WITHSCORES')
  local submitted = tonumber(head[2]) % PRIORITY_STEP
  if not best or running < fewest or (running == fewest and submitted < oldest) then
    best, fewest, oldest = { head[1], project }, running, submitted
  end
end
if not best then return false end

local id, project = best[1], best[2]
local token = whole(math.max(tonumber(field(id, 'token')) + 1, now))
dequeue(id, device, project)
redis.call('SADD', 'ty:running:' .. project, id)
redis.call('ZADD', 'ty:leases', whole(now + lease), id)
redis.call('SET', 'ty:claim:' .. nonce, id, 'EX', 60)
redis.call('HSETNX', job_key(id), 'started', whole(now))
redis.call('HINCRBY', job_key(id), 'attempt', 1)
redis.call('HSET', job_key(id), 'token', token, 'owner', worker)
move(id, now, 'running', 'preparing', '')
return read(id)
