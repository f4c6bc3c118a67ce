#!lua flags=allow-oom
-- RESTORE: put a record back that storage kept and this Redis does not know. One that ran waits again; what is here already is left alone.
--   reads   ty:job:{id}, ty:deleted
--   writes  ty:job:{id} and its parts, ty:spec:{sha256}, ty:dataset_jobs:*, ty:jobs:{project}:{state}, ty:successes, ty:pending:*, ty:waiting:*, ty:unsaved, ty:garbage, ty:history
--   args    now, id, project, record (JSON of flat strings), created ms, state, reason, transitions (JSON list), metrics (JSON object of JSON texts),
--           tails ("", or JSON: its metric rows and steps, lists of JSON texts), then digest and blob of each spec
--   answers 1, or 0 where there was nothing to do
local now, id, project, state = clock(ARGV[1]), ARGV[2], ARGV[3], ARGV[6]
if redis.call('EXISTS', job_key(id)) == 1 or redis.call('ZSCORE', 'ty:deleted', project .. '/' .. id) then return 0 end

store(id, cjson.decode(ARGV[4]), ARGV[10], 11)
for _, transition in ipairs(cjson.decode(ARGV[8])) do redis.call('RPUSH', part_key(id, 'transitions'), transition) end
for name, value in pairs(cjson.decode(ARGV[9])) do redis.call('HSET', part_key(id, 'metrics'), name, value) end
local source, home = field(id, 'retry_of'), field(id, 'borrowed_from')
if source ~= '' and redis.call('EXISTS', job_key(source)) == 1 then redis.call('HSET', job_key(source), 'retried_as', id) end
if home ~= '' and not TERMINAL[state] then redis.call('SADD', part_key(home, 'borrowers'), id) end
list_under(id, '', (TERMINAL[state] or state == 'paused') and state or 'queued', ARGV[5])
if TERMINAL[state] then
  redis.call('HSET', job_key(id), 'state', state, 'phase', '', 'reason', ARGV[7], 'marked', field(id, 'version'))
  litter(id, now) -- what it has in storage is counted then, too
elseif state == 'paused' then
  step(id, now, 'paused', '', ARGV[7]) -- it was told of already
  mark(id, now)
else
  enqueue(id)
  move(id, now, 'queued', '', state == 'running' and 'worker_lost' or ARGV[7])
end
return 1
