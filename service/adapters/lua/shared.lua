-- What every script shares; put in front of each. One Redis, no cluster. An empty string stands for "none". Scripts of two versions may work on one
-- Redis at a time: a field that one does not know stays as it is. What breaks that raises FORMAT in redis_scripts.py (ADR 19). Every key there is:
--   ty:format                      string  the version of all this
--   ty:job:{id}                    hash    the record; of an ended job that was saved, only what scripts and filters read
--   ty:job:{id}:ended              string  the rest of it then, with its metrics and transitions, compressed
--   ty:job:{id}:metrics            hash    latest value of each metric, as JSON text
--   ty:job:{id}:transitions        list    state|phase|ms|reason, oldest first
--   ty:job:{id}:events             stream  ids 1-0, 2-0, 3-0, ...; there from SUBMIT until the live tail expires
--   ty:job:{id}:rows               list    one JSON row per finished epoch
--   ty:job:{id}:steps              list    [step,epoch,train_loss,lr] of each logged step
--   ty:job:{id}:logs               list    log lines
--   ty:job:{id}:borrowers          set     live jobs whose only checkpoint lies in this one's folder
--   ty:spec:{sha256}               string  a spec as compressed JSON, once per digest
--   ty:spec_uses                   hash    how many jobs name a digest
--   ty:jobs:{project}:{state}      zset    the jobs in that state by their creation in ms
--   ty:successes                   hash    how often a project's succeeded jobs changed
--   ty:idempotency:{project}:{key} string  id|sha256 of the body, for a day
--   ty:pending:{device}:{project}  zset    jobs that wait: -priority * 2^42 + submit ms
--   ty:waiting:{device}            set     projects with jobs that wait
--   ty:running:{project}           set     jobs that run
--   ty:leases                      zset    jobs that run, by the end of their lease in ms
--   ty:claim:{nonce}               string  the job that a CLAIM took, so that a repeated call gets the same answer
--   ty:unsaved                     zset    jobs whose record in storage is old, by the ms since when
--   ty:garbage, ty:deleted         zset    {project}/{id} of ended jobs whose leftovers, of deleted ones whose objects go, by the ms when
--   ty:gone:{id}                   string  the job was deleted, for a day: longer than anybody writes beside it
--   ty:passes                      hash    how often that was done, by {list}:{project}/{id}
--   ty:last_sweep, ty:grace_until  string  ms
--   ty:worker:{name}, ty:workers   string, zset  the last beat; names by its ms
--   ty:worked:{worker}             list    id|token|ms of the claim|ms of the end ("": not yet) of its last attempts, the newest first; goes with the worker
--   ty:gpus:{name}                 string  the most GPUs that a live worker has for one job
--   ty:live:{device}, ty:idle:{device}  zset  names of that class's workers, of those with an idle slot, by the ms of the last beat
--   ty:datasets:{project}          set     names of uploaded data sets
--   ty:dataset:{project}:{name}    hash    the record of each version, as JSON, by its digest
--   ty:dataset_jobs:{project}/{name}/{version}  set  jobs that were submitted with it; those that ended go when somebody asks
--   ty:inspections                 zset    {project}/{name}/{version} that are to be looked at, by the ms when
--   ty:removed_datasets            zset    {project}/{name}/{place in storage} of those whose objects go, by the ms when
--   ty:keys                        hash    the record of every key there ever was, as JSON, by its id
--   ty:keys_used                   hash    when each was last used, in ms
--   ty:projects                    hash    the record of every project but `default`, as JSON, by its name
--   ty:access_unsaved              set     key/{id} and project/{name} whose record in storage is old
--   ty:stored                      hash    bytes that each project has in storage, those on their way among them
--   ty:stored:{project}            hash    the same by owner: jobs/{id}, datasets/{name}/{place}
--   ty:reserved:{project}          zset    owners whose bytes are on their way, by the ms until when that is believed
--   ty:gpu_ms:{project}            hash    GPU time of the last days in ms, by the day (since 1970)
--   ty:session_secret              string  what signs browsers' sessions
--   ty:audit, ty:audit_saved       stream, string  what was done and refused, capped; the last entry that storage has
--   ty:rate:{who}                  hash    key:{id}, wrong:{address} or nobody: `tat`, the us at which all tokens are there again; by process, tokens lent|us until when; goes when whole
--   ty:counts                      hash    what happened so often since this Redis is there, for monitors: words with | between them; submitted|{device},
--                                          attempt|{device}|{outcome}|{reason}, ended|{device}|{state}|{reason}, {wait or first_step}|{device}|{seconds}
--                                          for those of at most so many seconds that are in no smaller one, and |ms for the sum of all
--   ty:job:{id}:deliveries         list    ids of what was and is to be told of the job, oldest first
--   ty:job:{id}:gone               set     numbers of its endpoints that want nothing more
--   ty:delivery:{id}               hash    one event for one endpoint; goes a month after it was settled
--   ty:delivery:{id}:attempts      list    its last attempts as JSON, oldest first
--   ty:outbox                      zset    projects with something to tell, by the ms when the first is due
--   ty:outbox:{project}            zset    origins (scheme, host, port) of the project's endpoints, likewise
--   ty:outbox:{project}|{origin}   zset    deliveries to it, by the ms when due; of one that is being sent, when its lease ends
--   ty:sending:{project}           zset    {origin} {delivery} of those that are being sent, by the end of the lease
--   ty:unreachable:{project}|{origin}  string  nobody answered there at last: until when (ms) that counts
--   ty:webhook_secret:{project}    hash    what its webhooks are signed with: current, previous, and until when that one signs, too
--   ty:history                     stream  every transition, checkpoint, flag and deletion of every job, capped
--   ty:changed                     channel the id of a job that changed

local TERMINAL = { succeeded = true, failed = true, cancelled = true }
local EVENTS_KEPT, ROWS_KEPT, STEPS_KEPT, LOGS_KEPT, HISTORY_KEPT, TRANSITIONS_KEPT = 10000, 100000, 100000, 10000, 100000, 1000
local PRIORITY_STEP = 4398046511104 -- 2^42 ms: later than any submit time
local WORKED_KEPT = 20
local GONE_SECONDS = 86400
local DELIVERIES_KEPT, DELIVERY_SECONDS = 200, 2592000 -- of a job that moves more often only the end is told
local DAY_MS, GPU_DAYS, HOUR_MS = 86400000, 30, 3600000 -- the quota of GPU hours is of so many days, today among them
local SILENCE_MS = 30000 -- a worker that says nothing for so long is forgotten

-- Now, in ms. Tests give their own.
local function clock(given)
  if given ~= '' then return tonumber(given) end
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

-- Lua's tostring would round a time in ms to 14 digits.
local function whole(number) return string.format('%.0f', number) end

local function job_key(id) return 'ty:job:' .. id end
local function part_key(id, part) return 'ty:job:' .. id .. ':' .. part end

local function dataset_key(project, name) return 'ty:dataset:' .. project .. ':' .. name end

local function worked_key(worker) return 'ty:worked:' .. worker end

local function field(id, name) return redis.call('HGET', job_key(id), name) or '' end

local function emit(id, now, type, message, data)
  local sequence = redis.call('HINCRBY', job_key(id), 'events', 1)
  redis.call('XADD', part_key(id, 'events'), 'MAXLEN', '=', EVENTS_KEPT, whole(sequence) .. '-0',
    'type', type, 'at', whole(now), 'message', message, 'data', data)
end

local function count(...) redis.call('HINCRBY', 'ty:counts', table.concat({ ... }, '|'), 1) end

-- An attempt, if one ran, is given up: its lease has died.
local function lose(id)
  if field(id, 'state') == 'running' then count('attempt', field(id, 'device'), 'lost', 'worker_lost') end
end

local BOUNDS = { '0.1', '0.25', '0.5', '1', '2.5', '5', '10', '30', '60', '300', '1800', '7200', '43200' }

-- So long did the job take from its submit on.
local function observe(name, id, now)
  local ms, within, device = math.max(0, now - tonumber(field(id, 'submitted'))), '+Inf', field(id, 'device')
  for at = #BOUNDS, 1, -1 do
    if ms <= tonumber(BOUNDS[at]) * 1000 then within = BOUNDS[at] end
  end
  count(name, device, within)
  redis.call('HINCRBY', 'ty:counts', name .. '|' .. device .. '|ms', whole(ms))
end

-- A write that users can see: the version (their ETag) grows, and who waits wakes up.
local function touch(id)
  redis.call('HINCRBY', job_key(id), 'version', 1)
  redis.call('PUBLISH', 'ty:changed', id)
end

-- What happened to any job, in one order: `kind` is state, phase, checkpoint, flag or deleted.
local function chronicle(id, now, kind, ...)
  redis.call('XADD', 'ty:history', 'MAXLEN', '~', HISTORY_KEPT, '*', 'kind', kind, 'id', id, 'at', whole(now), ...)
end

-- The record in storage is old.
local function mark(id, now)
  redis.call('HSET', job_key(id), 'marked', field(id, 'version'))
  redis.call('ZADD', 'ty:unsaved', 'NX', whole(now), id)
end

-- Which of a project's lists a job stands in goes with its state. A new one's creation is given, the others keep theirs.
local function list_under(id, before, state, created)
  local lists = 'ty:jobs:' .. field(id, 'project') .. ':'
  created = created or redis.call('ZSCORE', lists .. before, id)
  if before ~= '' then redis.call('ZREM', lists .. before, id) end
  redis.call('ZADD', lists .. state, created, id)
  if state == 'succeeded' then redis.call('HINCRBY', 'ty:successes', field(id, 'project'), 1) end
end

-- A step of the job, into its own transitions, its events and the history of all.
local function step(id, now, state, phase, reason)
  local before = field(id, 'state')
  local kind = state == before and 'phase' or 'state'
  if before ~= '' and kind == 'state' then list_under(id, before, state) end
  redis.call('HSET', job_key(id), 'state', state, 'phase', phase, 'reason', reason)
  touch(id)
  redis.call('RPUSH', part_key(id, 'transitions'), state .. '|' .. phase .. '|' .. whole(now) .. '|' .. reason)
  redis.call('LTRIM', part_key(id, 'transitions'), -TRANSITIONS_KEPT, -1)
  local data = { state = state, attempt = tonumber(field(id, 'attempt')) }
  if phase ~= '' then data.phase = phase end
  if reason ~= '' then data.reason = reason end
  emit(id, now, 'state', '', cjson.encode(data))
  chronicle(id, now, kind, 'state', state, 'phase', phase, 'reason', reason, 'token', field(id, 'token'), 'owner', field(id, 'owner'))
end

local function delivery_key(id) return 'ty:delivery:' .. id end

-- When an endpoint's turn is, and its project's, goes with what is due there first.
local function take_turns(project, origin)
  local function turn(list, queue, member)
    local first = redis.call('ZRANGE', queue, 0, 0, 'WITHSCORES')
    if first[1] then redis.call('ZADD', list, first[2], member) else redis.call('ZREM', list, member) end
  end
  turn('ty:outbox:' .. project, 'ty:outbox:' .. project .. '|' .. origin, origin)
  turn('ty:outbox', 'ty:outbox:' .. project, project)
end

local function send_at(id, project, origin, due)
  redis.call('ZADD', 'ty:outbox:' .. project .. '|' .. origin, whole(due), id)
  take_turns(project, origin)
end

-- Nothing more is sent, unless somebody asks for it.
local function settled(id, state, reason)
  local project, origin = unpack(redis.call('HMGET', delivery_key(id), 'project', 'origin'))
  redis.call('ZREM', 'ty:outbox:' .. project .. '|' .. origin, id)
  redis.call('HSET', delivery_key(id), 'state', state, 'reason', reason, 'next', '', 'lease', '')
  local job = redis.call('HGET', delivery_key(id), 'job')
  for _, key in ipairs({ delivery_key(id), delivery_key(id) .. ':attempts', part_key(job, 'deliveries'), part_key(job, 'gone') }) do
    redis.call('EXPIRE', key, DELIVERY_SECONDS)
  end
  take_turns(project, origin)
end

local function metrics_of(id)
  local told, flat = {}, redis.call('HGETALL', part_key(id, 'metrics'))
  for at = 1, #flat, 2 do told[#told + 1] = cjson.encode(flat[at]) .. ':' .. flat[at + 1] end
  return '{' .. table.concat(told, ',') .. '}'
end

-- Have everybody told who wants to hear of this state: in the step that makes it, so that no death between both loses it.
local function announce(id, now, state, reason)
  local notify = field(id, 'notify')
  if notify == '' then return end
  if not TERMINAL[state] and redis.call('LLEN', part_key(id, 'deliveries')) >= DELIVERIES_KEPT then return end
  local project = field(id, 'project')
  for at, endpoint in ipairs(cjson.decode(notify)) do
    local wanted = redis.call('SISMEMBER', part_key(id, 'gone'), at) == 0
    for _, event in ipairs(endpoint.events) do
      if wanted and event == state then
        local of = table.concat({ id, whole(now), field(id, 'events'), at }, '|')
        local delivery = 'msg_' .. redis.sha1hex(of):sub(1, 24)
        redis.call('HSET', delivery_key(delivery), 'job', id, 'project', project, 'url', endpoint.url, 'origin', endpoint.origin, 'endpoint', at,
          'event', state, 'at', whole(now), 'state', 'pending', 'reason', '', 'tries', '0', 'next', whole(now), 'lease', '',
          'name', field(id, 'name'), 'why', reason, 'attempt', field(id, 'attempt'), 'metrics', metrics_of(id))
        redis.call('RPUSH', part_key(id, 'deliveries'), delivery)
        redis.call('PERSIST', part_key(id, 'deliveries'))
        send_at(delivery, project, endpoint.origin, now)
        wanted = false
      end
    end
  end
end

-- A change of state: a step after which the record in storage is old, and which is told.
local function move(id, now, state, phase, reason)
  step(id, now, state, phase, reason)
  mark(id, now)
  announce(id, now, state, reason)
end

-- One of the user's flags, up or down.
local function flag(id, now, name, value)
  if field(id, name) == value then return end
  redis.call('HSET', job_key(id), name, value)
  touch(id)
  chronicle(id, now, 'flag', 'flag', name, 'value', value)
end

-- What a project may have, as a function of a quota's name; nil where nothing limits it. `common`: what holds where the project's record says
-- nothing, as JSON. 0 sets no limit.
local function quotas(project, common)
  local record = redis.call('HGET', 'ty:projects', project)
  local own, others = record and cjson.decode(record).quota or {}, cjson.decode(common)
  return function(name)
    local limit = type(own[name]) == 'number' and own[name] or others[name]
    return type(limit) == 'number' and limit > 0 and limit or nil
  end
end

-- So many bytes in storage are the owner's, from now on.
local function charge(project, owner, bytes)
  local key = 'ty:stored:' .. project
  local before = tonumber(redis.call('HGET', key, owner)) or 0
  if bytes > 0 then redis.call('HSET', key, owner, whole(bytes)) else redis.call('HDEL', key, owner) end
  redis.call('HINCRBY', 'ty:stored', project, whole(bytes - before))
  redis.call('ZREM', 'ty:reserved:' .. project, owner)
end

-- Bytes that never came are nobody's.
local function lapse(project, now)
  for _, owner in ipairs(redis.call('ZRANGEBYSCORE', 'ty:reserved:' .. project, '-inf', whole(now))) do charge(project, owner, 0) end
end

local function stored_bytes(project) return tonumber(redis.call('HGET', 'ty:stored', project)) or 0 end

-- How many jobs wait, or are set aside.
local function queued(project)
  return redis.call('ZCARD', 'ty:jobs:' .. project .. ':queued') + redis.call('ZCARD', 'ty:jobs:' .. project .. ':paused')
end

local function gpu_ms(project, now)
  local sum, last, flat = 0, math.floor(now / DAY_MS) - GPU_DAYS, redis.call('HGETALL', 'ty:gpu_ms:' .. project)
  for at = 1, #flat, 2 do
    if tonumber(flat[at]) > last then sum = sum + tonumber(flat[at + 1]) end
  end
  return sum
end

-- Count the GPU time of an attempt since that was last done. One that is lost is counted up to its last sign of life.
local function meter(id, now)
  if field(id, 'device') ~= 'gpu' then return end
  local key, today = 'ty:gpu_ms:' .. field(id, 'project'), math.floor(now / DAY_MS)
  local ms = math.max(0, now - (tonumber(field(id, 'metered'):match('%d+')) or now)) * tonumber(field(id, 'gpus'))
  redis.call('HINCRBY', key, whole(today), whole(ms))
  redis.call('HSET', job_key(id), 'metered', 'at ' .. whole(now))
  local days = redis.call('HGETALL', key)
  for at = 1, #days, 2 do
    if tonumber(days[at]) <= today - GPU_DAYS then redis.call('HDEL', key, days[at]) end
  end
end

-- Whether a project has used its GPU hours up.
local function is_spent(project, limit, now)
  local hours = limit('gpu_hours')
  return hours and gpu_ms(project, now) >= hours * HOUR_MS
end

-- The quota that keeps a project from one job more: {"quota", its name, what is used, the limit}; nil where none does.
local function beyond(project, device, common, now)
  local limit = quotas(project, common)
  local most = limit('queued')
  if most and queued(project) >= most then return { 'quota', 'queued', whole(queued(project)), whole(most) } end
  most = limit('stored_bytes')
  if most then
    lapse(project, now)
    if stored_bytes(project) >= most then return { 'quota', 'stored_bytes', whole(stored_bytes(project)), whole(most) } end
  end
  if device == 'gpu' and is_spent(project, limit, now) then
    return { 'quota', 'gpu_hours', tostring(gpu_ms(project, now) / HOUR_MS), tostring(limit('gpu_hours')) }
  end
end

local function keep_spec(digest, blob)
  redis.call('SETNX', 'ty:spec:' .. digest, blob)
  redis.call('HINCRBY', 'ty:spec_uses', digest, 1)
end

local function drop_spec(digest)
  if digest ~= '' and redis.call('HINCRBY', 'ty:spec_uses', digest, -1) <= 0 then
    redis.call('HDEL', 'ty:spec_uses', digest)
    redis.call('DEL', 'ty:spec:' .. digest)
  end
end

-- Have what an ended job left behind looked for, at once and once more later.
local function litter(id, now)
  local member = field(id, 'project') .. '/' .. id
  redis.call('HDEL', 'ty:passes', 'garbage:' .. member)
  redis.call('ZADD', 'ty:garbage', whole(now), member)
end

-- Something was written beside a job that is not here. If it was deleted, the tombstone's work begins anew. Otherwise Redis was lost since,
-- and what lies in storage is all that is left of the job.
local function tidy_after(id, project, now)
  if redis.call('EXISTS', 'ty:gone:' .. id) == 0 then return end
  redis.call('HDEL', 'ty:passes', 'deleted:' .. project .. '/' .. id)
  redis.call('ZADD', 'ty:deleted', whole(now), project .. '/' .. id)
end

-- The job needs the checkpoint of the job that it retries no more.
local function repay(id)
  local home = field(id, 'borrowed_from')
  if home ~= '' then redis.call('SREM', part_key(home, 'borrowers'), id) end
end

local function enqueue(id)
  local device, project = field(id, 'device'), field(id, 'project')
  local score = -tonumber(field(id, 'priority')) * PRIORITY_STEP + tonumber(field(id, 'submitted'))
  redis.call('ZADD', 'ty:pending:' .. device .. ':' .. project, whole(score), id)
  redis.call('SADD', 'ty:waiting:' .. device, project)
end

local function dequeue(id, device, project)
  local pending = 'ty:pending:' .. device .. ':' .. project
  redis.call('ZREM', pending, id)
  if redis.call('EXISTS', pending) == 0 then redis.call('SREM', 'ty:waiting:' .. device, project) end
end

-- The attempt holds the job no more.
local function release(id, now)
  local key, attempt = worked_key(field(id, 'owner')), id .. '|' .. field(id, 'token') .. '|'
  for at, entry in ipairs(redis.call('LRANGE', key, 0, -1)) do
    if entry:sub(1, #attempt) == attempt and entry:sub(-1) == '|' then redis.call('LSET', key, at - 1, entry .. whole(now)) end
  end
  redis.call('ZREM', 'ty:leases', id)
  redis.call('SREM', 'ty:running:' .. field(id, 'project'), id)
  redis.call('HSET', job_key(id), 'owner', '')
end

local function finish(id, now, state, reason, failure)
  redis.call('HSET', job_key(id), 'finished', whole(now), 'error', failure)
  count('ended', field(id, 'device'), state, reason)
  repay(id)
  move(id, now, state, '', reason)
  litter(id, now)
  return state
end

local function set_aside(id, now, reason)
  redis.call('HSET', job_key(id), 'pause', '0')
  move(id, now, 'paused', '', reason)
  return 'paused'
end

-- Another attempt, or a pause if the user asked for one; unless it counts and max_retries attempts have ended so since the last checkpoint.
local function give_back(id, now, reason, counts, failure)
  if counts then
    if tonumber(field(id, 'retries_since_checkpoint')) >= tonumber(field(id, 'max_retries')) then
      return finish(id, now, 'failed', reason, failure)
    end
    redis.call('HINCRBY', job_key(id), 'retries', 1)
    redis.call('HINCRBY', job_key(id), 'retries_since_checkpoint', 1)
  end
  if field(id, 'spent') ~= '' and not counts then reason = 'gpu_hours' end
  if field(id, 'pause') == '1' then return set_aside(id, now, reason) end
  enqueue(id)
  move(id, now, 'queued', '', reason)
  return 'queued'
end

-- A new record: its fields, the uploaded data set that it needs, its tails so far (JSON object of lists of JSON texts), and from `specs` on in ARGV
-- the digest and blob of each spec that it names.
local function store(id, record, tails, specs)
  for at = specs, #ARGV, 2 do keep_spec(ARGV[at], ARGV[at + 1]) end
  local flat = {}
  for name, value in pairs(record) do
    flat[#flat + 1] = name
    flat[#flat + 1] = value
  end
  redis.call('HSET', job_key(id), unpack(flat))
  if tails ~= '' then
    for part, lines in pairs(cjson.decode(tails)) do
      for _, line in ipairs(lines) do redis.call('RPUSH', part_key(id, part), line) end
    end
  end
  if record.upload then redis.call('SADD', 'ty:dataset_jobs:' .. record.project .. '/' .. record.upload, id) end
end

-- The number of a logged step; nil of what is none.
local function step_of(row) return tonumber(row:match('^%[(%d+),')) end

-- Does this token hold the job? Every write of an attempt asks first.
local function holds(id, token) return field(id, 'state') == 'running' and field(id, 'token') == token end

-- What a submission goes by besides its spec: the classes with a live worker, the most GPUs that one has for a job (gpu:N), and how often
-- succeeded jobs changed.
local function outlook(project, now)
  local seen, since, most = {}, whole(now - SILENCE_MS), 0
  if redis.call('ZCOUNT', 'ty:live:cpu', since, '+inf') > 0 then table.insert(seen, 'cpu') end
  for _, name in ipairs(redis.call('ZRANGEBYSCORE', 'ty:live:gpu', since, '+inf')) do
    most = math.max(most, tonumber(redis.call('GET', 'ty:gpus:' .. name)) or 1)
  end
  if most > 0 then table.insert(seen, 'gpu:' .. most) end
  table.insert(seen, redis.call('HGET', 'ty:successes', project) or '0')
  return table.concat(seen, ' ')
end

-- The whole record, or false: id, record, metrics, transitions, spec, resolved spec, and what was compressed at the end.
local function read(id)
  if redis.call('EXISTS', job_key(id)) == 0 then return false end
  local resolved = field(id, 'resolved')
  return {
    id,
    redis.call('HGETALL', job_key(id)),
    redis.call('HGETALL', part_key(id, 'metrics')),
    redis.call('LRANGE', part_key(id, 'transitions'), 0, -1),
    redis.call('GET', 'ty:spec:' .. field(id, 'spec')),
    resolved ~= '' and redis.call('GET', 'ty:spec:' .. resolved),
    redis.call('GET', part_key(id, 'ended')),
  }
end

-- Words that are others as soon as anything of the job is: project|state|version and what tells it from a job of that id and version that was here
-- before Redis was lost. False where there is no such job.
local function stamp(id)
  local words = redis.call('HMGET', job_key(id), 'project', 'state', 'version', 'token', 'created', 'started', 'finished')
  if not words[1] then return false end
  for at = 1, 7 do words[at] = words[at] or '' end
  return table.concat(words, '|')
end
