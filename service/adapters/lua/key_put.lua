#!lua flags=allow-oom
-- KEY_PUT: keep a version of a key's record.
--   reads   ty:keys
--   writes  it, ty:access_unsaved
--   args    now, id, record as JSON, its version, which: new, first (the first of all), next (the one after what is here), restored
--   answers 1 where it was kept
local id, version, which = ARGV[2], tonumber(ARGV[4]), ARGV[5]
local here = redis.call('HGET', 'ty:keys', id)
local before = here and cjson.decode(here).version
if which == 'next' then
  if before ~= version - 1 then return 0 end
elseif which == 'restored' then
  if before and before >= version then return 0 end
elseif here or (which == 'first' and redis.call('HLEN', 'ty:keys') > 0) then
  return 0
end
redis.call('HSET', 'ty:keys', id, ARGV[3])
if which ~= 'restored' then redis.call('SADD', 'ty:access_unsaved', 'key/' .. id) end
return 1
