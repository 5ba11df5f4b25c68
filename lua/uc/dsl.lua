-- The words of a recipe, bound to one evaluation.
local check = use "uc/check.lua"
local values = use "uc/values.lua"
local later = use "uc/later.lua"
local methods = use "recipes/methods.lua"

local dsl = {}

-- What authors get of Lua itself; `uc` is there for recipes that build steps of their own.
local plain = { "assert", "error", "ipairs", "pairs", "pcall", "xpcall", "print", "rawequal", "rawget",
  "rawlen", "rawset", "select", "setmetatable", "getmetatable", "tonumber", "tostring", "type",
  "string", "table", "math", "utf8", "uc", "_VERSION" }

local function version_ok(wanted)
  local op, major, minor = wanted:match("^%s*([>=<]*)%s*(%d+)%.(%d+)")
  if not major then check.fail("project: uc = '%s' is not a version such as \">= 0.1\"", wanted) end
  local have_major, have_minor = uc.version:match("^(%d+)%.(%d+)")
  local have, want = have_major * 1000 + have_minor, major * 1000 + minor
  if op == ">=" then return have >= want end
  if op == "<=" then return have <= want end
  if op == "<" then return have < want end
  if op == ">" then return have > want end
  return have == want
end

-- "--set bpw=3" becomes a value of the default's type.
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

function dsl.new()
  local self = { project = { seed = 42 }, artifacts = {}, names = {}, params = {}, imports = {} }
  local given, used = {}, {}
  for _, item in ipairs(uc.sets()) do
    local name, text = item:match("^([%w_]+)=(.*)$")
    if not name then
      uc.fail(string.format("--set %s: NAME=VALUE is expected", item))
    end
    given[name] = text
  end

  local words = {}

  function words.project(t)
    local o = check.fields("project", t, {
      name = { type = "string" }, uc = { type = "string" }, license = { type = "string" },
      seed = { type = "number", integer = true, min = 0, default = 42 }, notes = { type = "string" },
    })
    if #self.artifacts > 0 then check.fail("project must stand before the first artifact") end
    if o.uc and not version_ok(o.uc) then
      check.fail("this recipe asks for uc %s, and this is uc %s", o.uc, uc.version)
    end
    self.project = o
  end

  function words.param(name, default)
    check.expect("param", name, "string", 'param("bpw", 2.798)')
    if type(default) ~= "number" and type(default) ~= "string" and type(default) ~= "boolean" then
      check.fail("param %s needs a default: a number, a text or a boolean", name)
    end
    self.params[#self.params + 1] = name
    used[name] = true
    if given[name] == nil then return default end
    return typed(name, given[name], default)
  end

  function words.import(name)
    check.expect("import", name, "string", 'import "shared/cal.lua"')
    local path = uc.path(name)
    local seen = self.imports[path]
    if seen == "loading" then check.fail("import: %s imports itself", path) end
    if not seen then
      self.imports[path] = "loading"
      seen = { value = uc.load_file(path, self.environment()) }
      self.imports[path] = seen
    end
    return seen.value
  end

  local function parse_artifact(name, t)
    local o = check.fields("artifact", t, {
      calibrate = {}, check = { type = "metrics" }, license = { type = "string" },
      output = { type = "string" }, size = {}, notes = { type = "string" },
      gate = { later = "look at the summary, or at report/bench.json" },
      relax = { later = "it belongs to gate" },
      export = { later = "run `uc export DIR --format dense` on the finished folder" },
    })
    local spec = { name = name, tensors = {} }
    for _, v in ipairs(t) do
      local kind = check.type(v)
      if kind == "source" or kind == "track" then
        if spec[kind] then check.fail("artifact %s: two values of kind %s", name, kind) end
        spec[kind] = v
      elseif kind == "tensor" then
        spec.tensors[#spec.tensors + 1] = v
      else
        uc.fail(string.format("artifact %s cannot hold a %s", name, kind),
          'write artifact "NAME" { dir "MODEL", track.a { bpw = 3 }, calibrate = ..., check = ... }')
      end
    end
    if not spec.source then
      uc.fail(string.format("artifact %s names no model", name), 'put dir "MODEL" into it')
    end
    if not spec.track then
      uc.fail(string.format("artifact %s names no track", name), "put track.a { bpw = 3 } into it")
    end
    if o.calibrate == nil then
      uc.fail(string.format("artifact %s has no calibration text", name),
        'add calibrate = mix { text "FILE" }')
    end
    for _, v in ipairs(spec.track.tensors) do spec.tensors[#spec.tensors + 1] = v end
    spec.calibrate = values.as_mix(o.calibrate)
    spec.size = o.size and check.size("artifact: size", (tostring(o.size):gsub("^%s*<=%s*", "")))
    if spec.size and spec.track.options.count == "body" then
      uc.fail("artifact: size counts the whole file, and the track counts the body only",
        'leave one of them out')
    end
    spec.passes = o.check and o.check.passes or {}
    spec.seed = self.project.seed
    spec.license = o.license or self.project.license
    spec.notes = o.notes or self.project.notes
    spec.output = o.output
    return spec
  end

  function words.artifact(name)
    check.expect("artifact", name, "string", 'artifact "small" { ... }')
    if not name:match("^[%w][%w._-]*$") then
      check.fail("artifact: '%s' has other characters than letters, digits, '.', '_' and '-'", name)
    end
    if self.names[name] then check.fail("two artifacts are named '%s'", name) end
    self.names[name] = true
    return function(t)
      self.artifacts[#self.artifacts + 1] = name
      methods.build(parse_artifact(name, t))
    end
  end

  words["default"] = function(name)
    check.expect("default", name, "string", 'default "small"')
    self.default = name
    if not self.names[name] then check.unknown("artifact in default:", name, self.artifacts) end
    uc.default_target(name)
  end

  function words.range(first, last, step)
    local out = {}
    for i = 0, math.floor((last - first) / step + 1e-9) do out[#out + 1] = first + i * step end
    return out
  end

  for _, word in ipairs { "dir", "text", "jsonl", "mix", "metrics", "ppl", "kld", "tensor", "track" } do
    words[word] = values[word]
  end
  words.hub, words.sweep, words.tasks = later.hub, later.sweep, later.tasks

  -- A fresh table of globals for one file: the words, a safe part of Lua, and nothing else.
  function self.environment()
    local env, known = {}, {}
    for k, v in pairs(words) do
      env[k] = v
      known[#known + 1] = k
    end
    for _, k in ipairs(plain) do env[k] = _ENV[k] end
    return setmetatable(env, {
      __index = function(_, key) check.unknown("word", key, known) end,
    })
  end

  function self.finish()
    for name in pairs(given) do
      if not used[name] then
        local near = uc.nearest(name, self.params)
        uc.fail(string.format("--set %s: the recipe has no param of that name", name),
          near and string.format("did you mean '%s'?", near)
          or #self.params > 0 and "it has: " .. table.concat(self.params, ", ") or nil)
      end
    end
    if #self.artifacts == 0 then
      uc.fail("the recipe makes no artifact", 'end it with artifact "NAME" { ... }')
    end
    if not self.default then uc.default_target(self.artifacts[1]) end
  end

  return self
end

return dsl
