#!lua flags=allow-oom
-- KEY_SAVED: storage has this version of a key's record.
--   reads   ty:keys
--   writes  ty:access_unsaved
--   args    now, id, version
local here = redis.call('HGET', 'ty:keys', ARGV[2])
if here and cjson.decode(here).version == tonumber(ARGV[3]) then redis.call('SREM', 'ty:access_unsaved', 'key/' .. ARGV[2]) end
