#!lua flags=no-writes
-- WORKED: what workers have been at of late, of one project.
--   reads   ty:worked:{worker}, ty:job:{id}
--   args    now, project, names of workers
--   answers for each worker {id, name, state, ms of the claim, ms of the end or ""} of each attempt, the newest first
local answer = {}
for at = 3, #ARGV do
  local told = {}
  for _, entry in ipairs(redis.call('LRANGE', worked_key(ARGV[at]), 0, -1)) do
    local id, started, ended = entry:match('^(.*)|%d+|(%d+)|(%d*)$')
    if field(id, 'project') == ARGV[2] then table.insert(told, { id, field(id, 'name'), field(id, 'state'), started, ended }) end
  end
  answer[at - 2] = told
end
return answer
