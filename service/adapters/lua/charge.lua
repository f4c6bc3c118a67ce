#!lua flags=allow-oom
-- CHARGE: so many bytes in storage are an owner's.
--   writes  ty:stored*, ty:reserved:{project}
--   args    now, project, owner, bytes
charge(ARGV[2], ARGV[3], tonumber(ARGV[4]))
