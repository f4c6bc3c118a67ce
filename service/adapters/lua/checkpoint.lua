#!lua flags=allow-oom
-- CHECKPOINT: make an uploaded checkpoint the one to start from. The pointer moves forward in (token, step) only; retries count from here.
--   reads   ty:job:{id}
--   writes  it
--   args    now, id, token, the checkpoint's token, its step, pointer (JSON)
--   answers nil where FENCED | 1
local id, job = ARGV[2], job_key(ARGV[2])
if not holds(id, ARGV[3]) then return false end
local token, at = tonumber(field(id, 'checkpoint_token')), tonumber(field(id, 'checkpoint_step'))
local newer = tonumber(ARGV[4]) > token or (tonumber(ARGV[4]) == token and tonumber(ARGV[5]) > at)
if newer then
  redis.call('HSET', job, 'checkpoint', ARGV[6], 'checkpoint_token', ARGV[4], 'checkpoint_step', ARGV[5], 'retries_since_checkpoint', 0)
  touch(id)
end
return 1
