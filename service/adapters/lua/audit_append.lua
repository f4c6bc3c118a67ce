#!lua flags=allow-oom
-- AUDIT_APPEND: add entries to the audit log, in one call: to pack a command for each takes longer than to make the entry.
--   writes  ty:audit
--   args    now, how many are kept, each entry as JSON
for at = 3, #ARGV do redis.call('XADD', 'ty:audit', 'MAXLEN', '~', ARGV[2], '*', 'entry', ARGV[at]) end
