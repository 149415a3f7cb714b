-- Takes claims from counters, all or none, once for an attempt.
--
-- KEYS: the mark of the attempt; then the counter of each claim.
-- ARGV: how long the mark stays, ms, 0 for none; whether what is refused is taken all the same, 0 or 1; then for each claim:
--   the oldest slot that counts ('' where the counter is of one slot), its slot, limit, what it takes, its group ('' for none),
--   whether it only counts, 0 or 1, and how long its counter stays, ms.
-- Answers: 0 refused, 1 granted, 2 granted before; then what was used of each before, and the oldest slot with something in it or ''.
--
-- All numbers are at most 2^53, and are compared by subtraction, so that doubles hold each of them.

local MAX = 9007199254740992
local FIELDS = 7
local count = #KEYS - 1
local function argument(claim, field) return ARGV[2 + (claim - 1) * FIELDS + field] end
local function text(number) return string.format('%.0f', number) end
local function sum(one, other) if other > MAX - one then return MAX end return one + other end

local answer = {0}
local used, over, pending, stale = {}, {}, {}, {}
for claim = 1, count do
  local key, oldest = KEYS[claim + 1], argument(claim, 1)
  local total, first = 0, ''
  stale[claim] = {}
  if oldest == '' then
    local held = redis.call('GET', key)
    if held then total, first = tonumber(held), argument(claim, 2) end
  else
    local slots = redis.call('HGETALL', key)
    local from, least = tonumber(oldest), nil
    for at = 1, #slots, 2 do
      local slot = tonumber(slots[at])
      if slot < from then
        table.insert(stale[claim], slots[at])
      else
        total = sum(total, tonumber(slots[at + 1]))
        if least == nil or slot < least then least = slot end
      end
    end
    if least then first = text(least) end
  end
  used[claim] = total
  table.insert(answer, text(total))
  table.insert(answer, first)
  local taken, take, limit = sum(total, pending[key] or 0), tonumber(argument(claim, 4)), tonumber(argument(claim, 3))
  over[claim] = taken > limit or take > limit - taken
  pending[key] = sum(pending[key] or 0, take)
end

if ARGV[1] ~= '0' and redis.call('EXISTS', KEYS[1]) == 1 then
  answer[1] = 2
  return answer
end

local refused = false
for claim = 1, count do
  if over[claim] and argument(claim, 6) == '0' then
    local group, alone = argument(claim, 5), true
    if group ~= '' then
      for other = 1, count do
        if argument(other, 5) == group and argument(other, 6) == '0' and not over[other] then alone = false end
      end
    end
    if alone then refused = true end
  end
end
if refused and ARGV[2] == '0' then return answer end

if ARGV[1] ~= '0' then redis.call('SET', KEYS[1], 'r', 'PX', ARGV[1]) end
for claim = 1, count do
  local key, take, stays = KEYS[claim + 1], tonumber(argument(claim, 4)), argument(claim, 7)
  if take > 0 then
    local slot = argument(claim, 2)
    if argument(claim, 1) == '' then
      local held = tonumber(redis.call('GET', key) or '0')
      redis.call('SET', key, text(sum(held, take)), 'PX', stays)
    else
      if #stale[claim] > 0 then redis.call('HDEL', key, unpack(stale[claim])) end
      local held = tonumber(redis.call('HGET', key, slot) or '0')
      redis.call('HSET', key, slot, text(sum(held, take)))
      redis.call('PEXPIRE', key, stays)
    end
  end
end
if not refused then answer[1] = 1 end
return answer
