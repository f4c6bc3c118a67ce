#!lua flags=no-writes
-- AFTER: the logged steps of a job, or its rows per epoch, after a step.
--   reads   ty:job:{id}, its events, rows and steps
--   args    now, id, project, step, part ('steps' or 'rows')
--   answers nil where there is no such job | 0 where the live tail is gone | the rows, each a line of JSON
local id, key, after = ARGV[2], part_key(ARGV[2], ARGV[5]), tonumber(ARGV[4])
local place_of = ARGV[5] == 'steps' and step_of or function(row) return cjson.decode(row).step end
if field(id, 'project') ~= ARGV[3] then return false end
if redis.call('EXISTS', part_key(id, 'events')) == 0 then return 0 end -- there from SUBMIT on: once it is gone, so is the whole tail

local first, beyond = 0, redis.call('LLEN', key)
while first < beyond do
  local middle = math.floor((first + beyond) / 2)
  if place_of(redis.call('LINDEX', key, middle)) > after then beyond = middle else first = middle + 1 end
end
local rows = redis.call('LRANGE', key, first, -1)
rows[#rows + 1] = '' -- the last line ends, too
return table.concat(rows, '\n')
