#!lua flags=allow-oom
-- USAGE: what a project has of what quotas limit.
--   reads   ty:running:{project}, ty:jobs:{project}:*, ty:stored, ty:gpu_ms:{project}
--   writes  ty:stored*, ty:reserved:{project} of what never came
--   args    now, project
--   answers jobs that run, jobs that wait or are set aside, bytes in storage, ms of GPU time
local now, project = clock(ARGV[1]), ARGV[2]
lapse(project, now)
return { redis.call('SCARD', 'ty:running:' .. project), queued(project), whole(stored_bytes(project)), whole(gpu_ms(project, now)) }
