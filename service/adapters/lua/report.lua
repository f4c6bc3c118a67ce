#!lua flags=allow-oom
-- REPORT: record what an attempt learnt. A row at or below the last recorded (epoch, step), with the event of that epoch, and a step at or below the
-- last recorded one, is dropped.
--   reads   ty:job:{id}
--   writes  it, its metrics, transitions, events, rows, steps and logs, ty:spec:{sha256}, ty:counts, ty:history
--   args    now, id, token, report (JSON; parts that only Python reads are JSON text inside it), digest, blob and own values of the resolved spec
--   answers nil where FENCED | 1
local now, id = clock(ARGV[1]), ARGV[2]
if not holds(id, ARGV[3]) then return false end
local report, job = cjson.decode(ARGV[4]), job_key(id)

local phase = report.phase
if phase and phase ~= field(id, 'phase') then step(id, now, 'running', phase, '') else touch(id) end
if report.progress then redis.call('HSET', job, 'progress', report.progress) end
if report.dataset_digest then redis.call('HSET', job, 'dataset_digest', report.dataset_digest) end
if report.inexact then
  local known = field(id, 'inexact')
  if not known:find(report.inexact, 1, true) then
    redis.call('HSET', job, 'inexact', known == '' and report.inexact or known .. '\n' .. report.inexact)
  end
end
if report.best then redis.call('HSET', job, 'best', report.best) end
for name, value in pairs(report.metrics) do redis.call('HSET', part_key(id, 'metrics'), name, value) end

local repeated = false
if report.row then
  local epoch, at = tonumber(field(id, 'row_epoch')), tonumber(field(id, 'row_step'))
  repeated = report.epoch < epoch or (report.epoch == epoch and report.step <= at)
  if not repeated then
    redis.call('HSET', job, 'row_epoch', whole(report.epoch), 'row_step', whole(report.step))
    redis.call('RPUSH', part_key(id, 'rows'), report.row)
    redis.call('LTRIM', part_key(id, 'rows'), -ROWS_KEPT, -1)
  end
end
local told = tonumber(field(id, 'told_step')) or -1
local newest = told
for _, row in ipairs(report.steps) do
  local at = step_of(row)
  if at and at > newest then
    redis.call('RPUSH', part_key(id, 'steps'), row)
    newest = at
  end
end
if newest > told then
  redis.call('HSET', job, 'told_step', whole(newest))
  redis.call('LTRIM', part_key(id, 'steps'), -STEPS_KEPT, -1)
end
for _, event in ipairs(report.events) do
  local first = event.type == 'first_step' and field(id, 'attempt') == '1'
  if first and redis.call('HSETNX', job, 'first_step', whole(now)) == 1 then observe('first_step', id, now) end
  if not (repeated and event.type == 'epoch') then emit(id, now, event.type, event.message, event.data) end
end
for _, line in ipairs(report.logs) do redis.call('RPUSH', part_key(id, 'logs'), line) end
if #report.logs > 0 then redis.call('LTRIM', part_key(id, 'logs'), -LOGS_KEPT, -1) end

for _, warning in ipairs(report.warnings) do
  local known = field(id, 'warnings')
  if not known:find(warning, 1, true) then redis.call('HSET', job, 'warnings', known == '' and warning or known .. '\n' .. warning) end
end
if ARGV[5] then
  keep_spec(ARGV[5], ARGV[6])
  drop_spec(field(id, 'resolved'))
  redis.call('HSET', job, 'resolved', ARGV[5], 'resolved_own', ARGV[7])
end
return 1
