#!lua flags=allow-oom
-- AUDIT_SAVED: storage has the audit log up to an entry; never less than before.
--   writes  ty:audit_saved
--   args    now, id
local function place(id)
  local ms, number = id:match('^(%d+)-(%d+)$')
  return tonumber(ms), tonumber(number)
end
local ms, number = place(ARGV[2])
local before_ms, before_number = place(redis.call('GET', 'ty:audit_saved') or '0-0')
if ms > before_ms or (ms == before_ms and number > before_number) then redis.call('SET', 'ty:audit_saved', ARGV[2]) end
