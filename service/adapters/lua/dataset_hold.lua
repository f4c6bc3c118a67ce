#!lua flags=allow-oom
-- DATASET_HOLD: somebody still looks at a data set.
--   writes  ty:inspections
--   args    now, project/name/version, ms to hold it
redis.call('ZADD', 'ty:inspections', 'XX', whole(clock(ARGV[1]) + tonumber(ARGV[3])), ARGV[2])
