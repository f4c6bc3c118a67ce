#!lua flags=no-writes
-- TAIL: what a job told while it ran: events after one, or its log.
--   reads   ty:job:{id}, its events and logs
--   args    now, id, project, part ('events' or 'logs'), of events the last number known and how many; of the log how many lines at most (0: all)
--   answers nil where there is no such job | 0 where the live tail is gone | one JSON text, which is read faster than many small answers: a list of
--           lines, or of [number, type, ms, message, data as JSON text]
local id, part, found = ARGV[2], ARGV[4], {}
if field(id, 'project') ~= ARGV[3] then return false end
if redis.call('EXISTS', part_key(id, 'events')) == 0 then return 0 end -- there from SUBMIT on: once it is gone, so is the whole tail

if part == 'logs' then
  found = redis.call('LRANGE', part_key(id, 'logs'), ARGV[5] == '0' and 0 or -tonumber(ARGV[5]), -1)
else
  for at, entry in ipairs(redis.call('XRANGE', part_key(id, 'events'), whole(tonumber(ARGV[5]) + 1), '+', 'COUNT', ARGV[6])) do
    local told = {}
    for name = 1, #entry[2], 2 do told[entry[2][name]] = entry[2][name + 1] end
    found[at] = { entry[1]:match('^%d+'), told.type, told.at, told.message, told.data }
  end
end
return #found > 0 and cjson.encode(found) or '[]'
