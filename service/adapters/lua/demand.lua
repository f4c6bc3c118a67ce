#!lua flags=no-writes
-- DEMAND: what a ringer has to know, all of one time.
--   reads   ty:waiting:{device}, ty:pending:*, ty:workers, ty:worker:*
--   args    now
--   answers how many cpu jobs wait, how many gpu jobs, and the last beats of all workers
local answer = {}
for _, device in ipairs({ 'cpu', 'gpu' }) do
  local waiting = 0
  for _, project in ipairs(redis.call('SMEMBERS', 'ty:waiting:' .. device)) do
    waiting = waiting + redis.call('ZCARD', 'ty:pending:' .. device .. ':' .. project)
  end
  table.insert(answer, waiting)
end
local beats = {}
for _, name in ipairs(redis.call('ZRANGE', 'ty:workers', 0, -1)) do
  local beat = redis.call('GET', 'ty:worker:' .. name)
  if beat then table.insert(beats, beat) end
end
table.insert(answer, beats)
return answer
