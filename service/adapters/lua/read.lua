#!lua flags=no-writes
-- READ: jobs as they are now, each whole and of one moment.
--   reads   ty:job:{id}, its metrics and transitions, ty:spec:{sha256}
--   args    now, then ids
--   answers a job or nil for each id
local jobs = {}
for at = 2, #ARGV do jobs[at - 1] = read(ARGV[at]) end
return jobs
