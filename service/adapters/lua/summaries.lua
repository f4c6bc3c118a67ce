#!lua flags=no-writes
-- SUMMARIES: what lists are searched and sorted by.
--   reads   ty:job:{id} and its metrics
--   args    now, a metric ("": none), then ids
--   answers one JSON text, which is read faster than many small answers: of each id name, labels, kinds, state, finished, the metric's value;
--           false for what it has not, or no longer in the open
local rows, metric = {}, ARGV[2]
for at = 3, #ARGV do
  local row = redis.call('HMGET', job_key(ARGV[at]), 'name', 'labels', 'kinds', 'state', 'finished')
  row[6] = metric ~= '' and redis.call('HGET', part_key(ARGV[at], 'metrics'), metric)
  rows[at - 2] = row
end
return cjson.encode(rows)
