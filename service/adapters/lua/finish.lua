#!lua flags=allow-oom
-- FINISH: end an attempt. A cancel flag wins, also over a success. Asked again by the same attempt it answers the same.
--   reads   ty:job:{id}
--   writes  it and its parts, ty:leases, ty:worked:*, ty:running:{project}, ty:pending:*, ty:waiting:*, ty:unsaved, ty:counts, ty:history, ty:gpu_ms:{project}
--   args    now, id, token, kind, reason, counts ("1" or ""), error (JSON)
--   answers nil where FENCED | the state the job went to
local now, id, token, kind, reason, counts, failure = clock(ARGV[1]), ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6] == '1', ARGV[7]
if not holds(id, token) then
  local ended = field(id, 'token') == token and field(id, 'ended_by') == token
  return ended and field(id, 'ended_as')
end

meter(id, now)
release(id, now)
local state
if field(id, 'cancel') == '1' or kind == 'cancelled' then
  state = finish(id, now, 'cancelled', '', '')
elseif kind == 'give_back' then
  state = give_back(id, now, reason, counts, failure)
else
  state = finish(id, now, kind, reason, failure)
end
count('attempt', field(id, 'device'), kind, reason)
redis.call('HSET', job_key(id), 'ended_by', token, 'ended_as', state)
return state
