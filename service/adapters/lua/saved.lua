#!lua flags=allow-oom
-- SAVED: a record was written to storage. An old version may have landed over a newer one, or one that Redis forgot over the one that took its
-- number when it came up again without its newest writes: then the job is unsaved again.
--   reads   ty:job:{id}, ty:gone:{id}
--   writes  ty:unsaved, ty:deleted where the job is gone; once the job has ended the expiry of its live tail, and its record, compressed
--   args    now, id, version written, seconds that the live tail stays, project, the record of an ended job as the caller compressed it,
--           and of the version written: state, token, ms of its end ("": not ended)
local now, id = clock(ARGV[1]), ARGV[2]
local STAYS = { 'project', 'state', 'name', 'labels', 'kinds', 'version', 'token', 'marked', 'ended_by', 'ended_as', 'retried_as', 'spec', 'resolved' }

-- Leave in the open what scripts and filters read.
local function put_away(id, rest)
  local kept = {}
  for _, name in ipairs(STAYS) do
    local value = field(id, name)
    if value ~= '' then
      kept[#kept + 1] = name
      kept[#kept + 1] = value
    end
  end
  redis.call('DEL', job_key(id), part_key(id, 'metrics'), part_key(id, 'transitions'))
  redis.call('HSET', job_key(id), unpack(kept))
  redis.call('SET', part_key(id, 'ended'), rest)
end

if redis.call('EXISTS', job_key(id)) == 0 then return tidy_after(id, ARGV[5], now) end
-- an ended job that was put away has its end no more
local same = field(id, 'state') == ARGV[7] and field(id, 'token') == ARGV[8] and (field(id, 'finished') == '' or field(id, 'finished') == ARGV[9])
local old = tonumber(ARGV[3]) < (tonumber(field(id, 'marked')) or 0)
if old or not same then return redis.call('ZADD', 'ty:unsaved', 'NX', whole(now), id) end
redis.call('ZREM', 'ty:unsaved', id)
if TERMINAL[field(id, 'state')] then
  for _, part in ipairs({ 'events', 'rows', 'steps', 'logs' }) do redis.call('EXPIRE', part_key(id, part), ARGV[4], 'NX') end
  if field(id, 'version') == ARGV[3] then put_away(id, ARGV[6]) end
end
return 1
