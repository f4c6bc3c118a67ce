#!lua flags=allow-oom
-- ROOM: how many bytes more a project may store.
--   reads   ty:projects, ty:stored
--   writes  ty:stored*, ty:reserved:{project} of what never came
--   args    now, project, the quota of projects that have none of their own (JSON)
--   answers them, none where it has more than it may; nil where nothing limits it
lapse(ARGV[2], clock(ARGV[1]))
local most = quotas(ARGV[2], ARGV[3])('stored_bytes')
return most and whole(math.max(0, most - stored_bytes(ARGV[2]))) or false
