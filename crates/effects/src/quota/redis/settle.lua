-- Puts right what an attempt has taken, once.
--
-- KEYS: the mark of the attempt; then for each claim the counter from which it took, and the one where more is charged.
-- ARGV: how long the mark stays, ms; whether what was taken is believed without a mark, 0 or 1; then for each claim:
--   what it wanted to take, what was used, the slot from which it took and the one where more is charged ('' where the counter is of one
--   slot), and how long the latter's counter stays, ms, 0 if it does not count any more.
-- Answers: 0 settled before, 1 settled, 2 settled without a mark.

local MAX = 9007199254740992
local FIELDS = 5
local count = (#KEYS - 1) / 2
local function argument(claim, field) return ARGV[2 + (claim - 1) * FIELDS + field] end
local function text(number) return string.format('%.0f', number) end
local function sum(one, other) if other > MAX - one then return MAX end return one + other end

local mark = redis.call('GET', KEYS[1])
if mark == 's' then return 0 end
redis.call('SET', KEYS[1], 's', 'PX', ARGV[1])
local believed = mark == 'r' or ARGV[2] == '1'
for claim = 1, count do
  local taken = believed and tonumber(argument(claim, 1)) or 0
  local used = tonumber(argument(claim, 2))
  if used > taken then
    local key, slot, stays = KEYS[claim * 2 + 1], argument(claim, 4), argument(claim, 5)
    if stays ~= '0' then
      if slot == '' then
        local held = tonumber(redis.call('GET', key) or '0')
        redis.call('SET', key, text(sum(held, used - taken)), 'PX', stays)
      else
        local held = tonumber(redis.call('HGET', key, slot) or '0')
        redis.call('HSET', key, slot, text(sum(held, used - taken)))
        if redis.call('PTTL', key) < tonumber(stays) then redis.call('PEXPIRE', key, stays) end
      end
    end
  elseif used < taken then
    local key, slot = KEYS[claim * 2], argument(claim, 3)
    if slot == '' then
      local held = redis.call('GET', key)
      if held then redis.call('SET', key, text(math.max(0, tonumber(held) - (taken - used))), 'KEEPTTL') end
    else
      local held = redis.call('HGET', key, slot)
      if held then
        local left = math.max(0, tonumber(held) - (taken - used))
        if left > 0 then redis.call('HSET', key, slot, text(left)) else redis.call('HDEL', key, slot) end
      end
    end
  end
end
if mark == 'r' then return 1 end
return 2
