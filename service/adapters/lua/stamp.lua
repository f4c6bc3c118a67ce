#!lua flags=no-writes
-- STAMP: whether anything of a job is another than it was, for less than it takes to read it.
--   reads   ty:job:{id}
--   args    now, id
--   answers nil where there is no such job | its stamp (shared.lua)
return stamp(ARGV[2])
