#!lua flags=allow-oom
-- CHECKPOINT: make an uploaded checkpoint the one to start from. The pointer moves forward in (token, step) only; retries count from here.
--   reads   ty:job:{id}
--   writes  it, ty:job:{home}:borrowers, ty:unsaved, ty:history, ty:stored*
--   args    now, id, token, the checkpoint's token, its step, pointer (JSON), how many are kept
--   answers nil where FENCED | the pointers (JSON) that are kept no more
local now, id, job = clock(ARGV[1]), ARGV[2], job_key(ARGV[2])
if not holds(id, ARGV[3]) then return false end
local token, at = tonumber(field(id, 'checkpoint_token')), tonumber(field(id, 'checkpoint_step'))
local newer = tonumber(ARGV[4]) > token or (tonumber(ARGV[4]) == token and tonumber(ARGV[5]) > at)
if not newer then return {} end

local kept, dropped = { ARGV[6] }, {}
for pointer in field(id, 'checkpoints'):gmatch('[^\n]+') do table.insert(#kept < tonumber(ARGV[7]) and kept or dropped, pointer) end
if field(id, 'borrowed_from') ~= '' then
  repay(id)
  -- another job's checkpoints are not ours to remove
  kept, dropped = { ARGV[6] }, {}
end
redis.call('HSET', job, 'checkpoints', table.concat(kept, '\n'), 'checkpoint_token', ARGV[4], 'checkpoint_step', ARGV[5],
  'retries_since_checkpoint', 0, 'borrowed_from', '')
local bytes = 0
for _, pointer in ipairs(kept) do bytes = bytes + (tonumber(cjson.decode(pointer).size) or 0) end
charge(field(id, 'project'), 'jobs/' .. id, bytes)
touch(id)
mark(id, now)
chronicle(id, now, 'checkpoint', 'token', ARGV[4], 'step', ARGV[5], 'by', ARGV[3])
return dropped
