#!lua
-- SUBMIT: store a job and put it in the pending order. Refused when Redis is nearly full: no allow-oom here.
--   reads   ty:idempotency:{project}:{key}
--   writes  it, ty:job:{id} and its parts, ty:spec:{sha256}, ty:jobs:{project}, ty:pending:*, ty:waiting:*, ty:unsaved, ty:history
--   args    now, id, project, record (JSON of flat strings), created ms, idempotency key, body sha256, then digest and blob of each spec
--   answers {"full"} | {"conflict", id} | {"replayed" | "submitted", job}
local now, id, project = clock(ARGV[1]), ARGV[2], ARGV[3]
local memory = redis.call('INFO', 'memory')
local used, limit = tonumber(memory:match('used_memory:(%d+)')), tonumber(memory:match('maxmemory:(%d+)'))
if limit > 0 and used > 0.8 * limit then return { 'full' } end

if redis.call('EXISTS', job_key(id)) == 1 then return { 'submitted', read(id) } end -- the answer to the first try was lost
local idempotency = 'ty:idempotency:' .. project .. ':' .. ARGV[6]
if ARGV[6] ~= '' then
  local first, body = (redis.call('GET', idempotency) or ''):match('^(.*)|(.*)$')
  local job = first and read(first)
  if job and body == ARGV[7] then return { 'replayed', job } end
  if job then return { 'conflict', first } end
  redis.call('SET', idempotency, id .. '|' .. ARGV[7], 'EX', 86400)
end

for digest = 8, #ARGV, 2 do redis.call('SETNX', 'ty:spec:' .. ARGV[digest], ARGV[digest + 1]) end
local record = cjson.decode(ARGV[4])
for name, value in pairs(record) do redis.call('HSET', job_key(id), name, value) end
redis.call('HSET', job_key(id), 'submitted', whole(now))
redis.call('ZADD', 'ty:jobs:' .. project, ARGV[5], id)
enqueue(id)
move(id, now, 'queued', '', record.reason)
return { 'submitted', read(id) }
