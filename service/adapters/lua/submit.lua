#!lua
-- SUBMIT: store a job and put it in the pending order. Refused when Redis is nearly full: no allow-oom here.
--   reads   ty:idempotency:{project}:{key}
--   writes  it, ty:job:{id} and its parts, ty:job:{retry_of}, ty:job:{home}:borrowers, ty:spec:{sha256}, ty:jobs:{project}, ty:pending:*, ty:waiting:*, ty:unsaved, ty:history
--   args    now, id, project, record (JSON of flat strings), created ms, idempotency key, body sha256, metric rows (JSON list of JSON texts),
--           then digest and blob of each spec
--   answers {"full"} | {"gone", id of the job to retry} | {"conflict", id} | {"replayed" | "submitted", job}
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

local record, rows = cjson.decode(ARGV[4]), ARGV[8]
local source = record.retry_of
if source ~= '' then
  if redis.call('EXISTS', job_key(source)) == 0 then return { 'gone', source } end
  local again = field(source, 'retried_as')
  local live = again ~= '' and field(again, 'state') ~= '' and not TERMINAL[field(again, 'state')]
  if live then return { 'replayed', read(again) } end
  redis.call('HSET', job_key(source), 'retried_as', id)
  if record.borrowed_from ~= '' and redis.call('EXISTS', job_key(record.borrowed_from)) == 0 then
    -- a retry of a retry: the job whose checkpoint both would start from was deleted, and the checkpoint with it
    record.checkpoints, record.borrowed_from, rows = '', '', '[]'
    for _, name in ipairs({ 'checkpoint_token', 'checkpoint_step', 'row_epoch', 'row_step' }) do record[name] = '-1' end
  end
  if record.borrowed_from ~= '' then redis.call('SADD', part_key(record.borrowed_from, 'borrowers'), id) end
end

store(id, project, record, ARGV[5], rows, 9)
redis.call('HSET', job_key(id), 'submitted', whole(now))
enqueue(id)
move(id, now, 'queued', '', record.reason)
return { 'submitted', read(id) }
