#!lua flags=allow-oom
-- RATE_TAKE: tokens for requests, and some in advance for the process that asks. The same as service.access.rates.Bucket, which says why.
--   writes  ty:rate:{who}
--   args    now, who, process, us between two requests, burst, tokens of its last loan that it gives back, requests that wait,
--           the most that is lent to one process, to all, us for which a loan is out
--   answers {requests that are let through, tokens lent, tokens left, us until the bucket is whole, us until there is a token}
local key, process, now = 'ty:rate:' .. ARGV[2], ARGV[3], clock(ARGV[1]) * 1000
local interval, burst, back, wanted = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local to_one, to_all, lasts = tonumber(ARGV[8]), tonumber(ARGV[9]), tonumber(ARGV[10])
local whole_at, tat, out, loans = burst * interval, 0, 0, {}

local kept = redis.call('HGETALL', key)
for at = 1, #kept, 2 do
  if kept[at] == 'tat' then
    tat = tonumber(kept[at + 1])
  else
    local count, ends = kept[at + 1]:match('^(%d+)|(%d+)$')
    table.insert(loans, { process = kept[at], count = tonumber(count), ends = tonumber(ends) })
    out = out + tonumber(count)
  end
end

-- no token took the place of one that was out, up to now, or up to when it ceased to be
table.sort(loans, function(one, other) return one.ends < other.ends end)
while loans[1] and loans[1].ends <= now do
  local loan = table.remove(loans, 1)
  tat, out = math.max(tat, loan.ends + out * interval), out - loan.count
  redis.call('HDEL', key, loan.process)
end
tat = math.max(tat, now + out * interval)

for _, loan in ipairs(loans) do
  if loan.process == process then
    tat, out = tat - math.min(back, loan.count) * interval, out - loan.count
    redis.call('HDEL', key, process)
  end
end
tat = math.max(tat, now)
local room = math.max(0, math.floor((now + whole_at - tat) / interval))
local let, lent = math.min(wanted, room), 0
if wanted > 0 then lent = math.max(0, math.min(to_one, to_all - out, math.floor((room - let) / 4))) end
tat = tat + (let + lent) * interval
if lent > 0 then redis.call('HSET', key, process, whole(lent) .. '|' .. whole(now + lasts)) end
redis.call('HSET', key, 'tat', whole(tat))
redis.call('PEXPIRE', key, whole(math.ceil((tat - now + lasts) / 1000) + 60000)) -- a minute more than it tells anything that a new one does not
return { let, lent, room - let - lent, whole(tat - now), whole(math.max(0, tat + interval - whole_at - now)) }
