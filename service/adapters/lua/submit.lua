#!lua
-- SUBMIT: store a job and put it in the pending order. Refused when Redis is nearly full: no allow-oom here.
--   reads   ty:idempotency:{project}:{key}, ty:dataset:*, ty:live:*, ty:idle:*, ty:successes, ty:projects, ty:stored, ty:gpu_ms:{project}
--   writes  it, ty:job:{id} and its parts, ty:job:{retry_of}, ty:job:{home}:borrowers, ty:spec:{sha256}, ty:dataset_jobs:*, ty:jobs:{project}:{state}, ty:pending:*, ty:waiting:*, ty:unsaved, ty:counts, ty:history, ty:stored of what never came
--   args    now, id, project, record (JSON of flat strings), created ms, idempotency key, body sha256, tails ("", or JSON: metric rows and steps, lists of JSON texts),
--           the outlook that the submitter goes by ("": any), the quota of projects that have none of their own (JSON), then digest and blob of each spec
--   answers {"full"} | {"gone", id of the job to retry} | {"conflict", id} | {"outdated"} | {"no_dataset", name/version} | {"quota", which, used, limit} | {"replayed" | "found", job}
--           | of a new job four numbers as text: version, now, place in the pending order from 0, 1 where an idle slot is to be woken;
--           {"changed", these, job} where it is not stored as it was sent
local now, id, project = clock(ARGV[1]), ARGV[2], ARGV[3]
local memory = redis.call('INFO', 'memory')
local used, limit = tonumber(memory:match('used_memory:(%d+)')), tonumber(memory:match('maxmemory:(%d+)'))
if limit > 0 and used > 0.8 * limit then return { 'full' } end

if redis.call('EXISTS', job_key(id)) == 1 then return { 'found', read(id) } end -- the answer to the first try was lost
local idempotency = 'ty:idempotency:' .. project .. ':' .. ARGV[6]
if ARGV[6] ~= '' then
  local first, body = (redis.call('GET', idempotency) or ''):match('^(.*)|(.*)$')
  local job = first and read(first)
  if job and body == ARGV[7] then return { 'replayed', job } end
  if job then return { 'conflict', first } end
end
if ARGV[9] ~= '' and ARGV[9] ~= outlook(project, now) then return { 'outdated' } end
local record, tails, changed = cjson.decode(ARGV[4]), ARGV[8], false
if record.upload then
  local name, version = record.upload:match('^([^/]+)/(.+)$')
  if redis.call('HEXISTS', dataset_key(project, name), version) == 0 then return { 'no_dataset', record.upload } end
end
local source = record.retry_of
if source ~= '' then
  if redis.call('EXISTS', job_key(source)) == 0 then return { 'gone', source } end
  local again = field(source, 'retried_as')
  local live = again ~= '' and field(again, 'state') ~= '' and not TERMINAL[field(again, 'state')]
  if live then return { 'replayed', read(again) } end
end
local kept_by = beyond(project, record.device, ARGV[10], now)
if kept_by then return kept_by end

if ARGV[6] ~= '' then redis.call('SET', idempotency, id .. '|' .. ARGV[7], 'EX', 86400) end
if source ~= '' then
  redis.call('HSET', job_key(source), 'retried_as', id)
  if record.borrowed_from ~= '' and redis.call('EXISTS', job_key(record.borrowed_from)) == 0 then
    -- a retry of a retry: the job whose checkpoint both would start from was deleted, and the checkpoint with it
    record.checkpoints, record.borrowed_from, tails, changed = '', '', '', true
    for _, name in ipairs({ 'checkpoint_token', 'checkpoint_step', 'row_epoch', 'row_step', 'told_step' }) do record[name] = '-1' end
  end
  if record.borrowed_from ~= '' then redis.call('SADD', part_key(record.borrowed_from, 'borrowers'), id) end
end

record.submitted = whole(now)
store(id, record, tails, 11)
list_under(id, '', 'queued', ARGV[5])
enqueue(id)
count('submitted', record.device)
move(id, now, 'queued', '', record.reason)
local idle = redis.call('ZCOUNT', 'ty:idle:' .. record.device, whole(now - SILENCE_MS), '+inf')
local place = redis.call('ZRANK', 'ty:pending:' .. record.device .. ':' .. project, id)
local told = table.concat({ field(id, 'version'), whole(now), place, math.min(idle, 1) }, ' ')
if changed then return { 'changed', told, read(id) } end
return told -- one line: the answer that is read most often
