#!lua flags=no-writes
-- STEPS: the logged steps of a job after one of them.
--   reads   ty:job:{id}, its events and steps
--   args    now, id, project, step
--   answers nil where there is no such job | 0 where the live tail is gone | the rows, as text between commas
local id, key, after = ARGV[2], part_key(ARGV[2], 'steps'), tonumber(ARGV[4])
if field(id, 'project') ~= ARGV[3] then return false end
if redis.call('EXISTS', part_key(id, 'events')) == 0 then return 0 end -- there from SUBMIT on: once it is gone, so is the whole tail

local first, beyond = 0, redis.call('LLEN', key)
while first < beyond do
  local middle = math.floor((first + beyond) / 2)
  if step_of(redis.call('LINDEX', key, middle)) > after then beyond = middle else first = middle + 1 end
end
return table.concat(redis.call('LRANGE', key, first, -1), ',')
