-- Values of param() words, from "--set NAME=VALUE" on the command line.
local check = use "uc/check.lua"

local params = {}

-- "3" as a value of the default's type.
local function typed(name, text, default)
  local kind = type(default)
  if kind == "number" then
    local n = tonumber(text)
    if not n then check.fail("--set %s=%s: a number is expected", name, text) end
    if math.type(default) == "float" then return n + 0.0 end
    return math.tointeger(n) or n
  elseif kind == "boolean" then
    if text ~= "true" and text ~= "false" then
      check.fail("--set %s=%s: true or false is expected", name, text)
    end
    return text == "true"
  end
  return text
end

function params.new()
  local self, given, names, known = {}, {}, {}, {}
  for _, item in ipairs(uc.sets()) do
    local name, text = item:match("^([%w_]+)=(.*)$")
    if not name then check.fail("--set %s: NAME=VALUE is expected", item) end
    given[name] = text
  end

  function self.word(name, default)
    check.expect("param", name, "string", 'param("bpw", 2.798)')
    local kind = type(default)
    if kind ~= "number" and kind ~= "string" and kind ~= "boolean" then
      check.fail("param %s needs a default: a number, a text or a boolean", name)
    end
    if not known[name] then names[#names + 1] = name end
    known[name] = true
    if given[name] == nil then return default end
    return typed(name, given[name], default)
  end

  -- Every name that was set must have been asked for.
  function self.finish()
    for name in pairs(given) do
      if not known[name] then
        local near = uc.nearest(name, names)
        uc.fail(string.format("--set %s: the recipe has no param of that name", name),
          near and string.format("did you mean '%s'?", near)
          or #names > 0 and "it has: " .. table.concat(names, ", ") or nil)
      end
    end
  end

  return self
end

return params
