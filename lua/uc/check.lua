-- Checks of what authors write: every message says what was expected and suggests a fix. uc.fail
-- adds the author's file and line.
local check = {}

local function sorted_keys(t)
  local keys = {}
  for k in pairs(t) do keys[#keys + 1] = k end
  return keys
end

function check.fail(fmt, ...)
  uc.fail(string.format(fmt, ...))
end

-- Word for the type of a value: DSL values say what they are.
function check.type(v)
  return type(v) == "table" and rawget(v, "kind") or type(v)
end

function check.expect(word, v, kind, example)
  if check.type(v) ~= kind then
    uc.fail(string.format("%s expects %s, not %s", word, kind, check.type(v)),
      example and "write " .. example or nil)
  end
  return v
end

-- Raises for a word that does not exist, with the nearest one that does.
function check.unknown(what, word, known)
  local near = uc.nearest(tostring(word), known)
  uc.fail(string.format("unknown %s '%s'", what, tostring(word)),
    near and string.format("did you mean '%s'?", near)
    or string.format("known: %s", table.concat(known, ", ")))
end

local function one(word, key, v, rule)
  local name = word .. ": " .. key
  if rule.later then
    uc.fail(string.format("%s is not there yet: %s", name, rule.later))
  end
  if rule.type and check.type(v) ~= rule.type then
    uc.fail(string.format("%s must be a %s, not %s", name, rule.type, check.type(v)))
  end
  if rule.integer and math.type(v) ~= "integer" then
    if math.tointeger(v) then
      v = math.tointeger(v)
    else
      check.fail("%s must be a whole number, not %s", name, v)
    end
  end
  if type(v) == "number" and (rule.min and v < rule.min or rule.max and v > rule.max or v ~= v) then
    check.fail("%s is %s, outside of %s to %s", name, v, rule.min or "-inf", rule.max or "inf")
  end
  if rule.one_of then
    for _, ok in ipairs(rule.one_of) do
      if ok == v then return v end
    end
    uc.fail(string.format("%s is '%s', which is none of %s", name, tostring(v),
      table.concat(rule.one_of, ", ")))
  end
  return v
end

-- Named fields of t by rules { key = { type=, default=, required=, min=, max=, integer=, one_of=,
-- later= } }; unknown names are errors. Returns a new table; the list part is left to the caller.
function check.fields(word, t, rules)
  local out = {}
  check.expect(word, t, "table", word .. " { ... }")
  for k, v in pairs(t) do
    if type(k) == "string" then
      if not rules[k] then check.unknown("key in " .. word .. ":", k, sorted_keys(rules)) end
      out[k] = one(word, k, v, rules[k])
    end
  end
  for k, rule in pairs(rules) do
    if out[k] == nil then
      if rule.required then check.fail("%s: '%s' is missing", word, k) end
      out[k] = rule.default
    end
  end
  return out
end

-- "1M", "190k", 5000 -> a whole number.
function check.count(word, v)
  if math.tointeger(v) then return math.tointeger(v) end
  local digits, unit = tostring(v):match("^(%d+%.?%d*)([kKmMgG]?)$")
  local scale = { [""] = 1, k = 1e3, m = 1e6, g = 1e9 }
  if not digits then
    check.fail("%s: '%s' is not a count such as 5000, \"190k\" or \"1M\"", word, v)
  end
  return math.floor(tonumber(digits) * scale[unit:lower()] + 0.5)
end

-- "128 KB", "1.2G", 5000 -> bytes.
function check.size(word, v)
  local n = math.tointeger(v) or type(v) == "string" and uc.size((v:gsub("%s+", ""))) or nil
  if not n then check.fail("%s: '%s' is not a size such as \"128 KB\" or \"46 MB\"", word, v) end
  return n
end

return check
