-- The words of a recipe, bound to one evaluation.
local check = use "uc/check.lua"
local values = use "uc/values.lua"
local later = use "uc/later.lua"
local params = use "uc/params.lua"
local parse_artifact = use "uc/artifact.lua"
local methods = use "recipes/methods.lua"

local dsl = {}

-- What authors get of Lua itself.
local plain = { "assert", "error", "ipairs", "pairs", "pcall", "xpcall", "print", "rawequal",
  "rawget", "rawlen", "rawset", "select", "setmetatable", "getmetatable", "tonumber", "tostring",
  "type", "string", "table", "math", "utf8", "_VERSION" }

-- What they get of `uc`, for recipes that build steps of their own.
local public = { "action", "tensor", "target", "model", "slices", "file", "inline", "read",
  "read_json", "exists", "glob", "path", "json", "digest", "bytes", "match", "version" }

local function version_ok(wanted)
  local op, major, minor = wanted:match("^%s*([>=<]*)%s*(%d+)%.(%d+)")
  if not major then
    check.fail("project: uc = '%s' is not a version such as \">= 0.1\"", wanted)
  end
  local have_major, have_minor = uc.version:match("^(%d+)%.(%d+)")
  local have, want = have_major * 1000 + have_minor, major * 1000 + minor
  if op == ">=" then return have >= want end
  if op == "<=" then return have <= want end
  if op == "<" then return have < want end
  if op == ">" then return have > want end
  return have == want
end

local function project_word(self)
  return function(t)
    local o = check.fields("project", t, {
      name = { type = "string" }, uc = { type = "string" }, license = { type = "string" },
      seed = { type = "number", integer = true, min = 0, default = 42 },
      notes = { type = "string" },
    })
    if #self.artifacts > 0 then check.fail("project must stand before the first artifact") end
    if o.uc and not version_ok(o.uc) then
      check.fail("this recipe asks for uc %s, and this is uc %s", o.uc, uc.version)
    end
    self.project = o
  end
end

local function import_word(self)
  return function(name)
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
end

local function artifact_word(self)
  return function(name)
    check.expect("artifact", name, "string", 'artifact "small" { ... }')
    if not name:match("^[%w][%w._-]*$") then
      check.fail("artifact: '%s' has other characters than letters, digits, '.', '_' and '-'", name)
    end
    if self.names[name] then check.fail("two artifacts are named '%s'", name) end
    self.names[name] = true
    return function(t)
      self.artifacts[#self.artifacts + 1] = name
      methods.build(parse_artifact(name, t, self.project))
    end
  end
end

local function default_word(self)
  return function(name)
    check.expect("default", name, "string", 'default "small"')
    if not self.names[name] then check.unknown("artifact in default:", name, self.artifacts) end
    self.default = name
  end
end

local function range(first, last, step)
  local out = {}
  for i = 0, math.floor((last - first) / step + 1e-9) do out[#out + 1] = first + i * step end
  return out
end

function dsl.new()
  local self = { project = { seed = 42 }, artifacts = {}, names = {}, imports = {} }
  local given = params.new()
  local words = {
    project = project_word(self), import = import_word(self), artifact = artifact_word(self),
    ["default"] = default_word(self), param = given.word, range = range,
    hub = later.hub, sweep = later.sweep, tasks = later.tasks,
  }
  for _, word in ipairs { "dir", "text", "jsonl", "mix", "metrics", "ppl", "kld", "tensor",
    "track" } do
    words[word] = values[word]
  end

  -- A fresh table of globals for one file: the words, a safe part of Lua, and nothing else.
  function self.environment()
    local env, known = {}, {}
    for k, v in pairs(words) do
      env[k] = v
      known[#known + 1] = k
    end
    for _, k in ipairs(plain) do env[k] = _ENV[k] end
    env.uc = {}
    for _, k in ipairs(public) do env.uc[k] = uc[k] end
    function env.uc.target(t)
      uc.target(t)
      self.artifacts[#self.artifacts + 1] = t.name
      self.names[t.name] = true
    end
    return setmetatable(env, {
      __index = function(_, key) check.unknown("word", key, known) end,
    })
  end

  function self.finish()
    given.finish()
    if #self.artifacts == 0 then
      uc.fail("the recipe makes no artifact", 'end it with artifact "NAME" { ... }')
    end
    uc.default_target(self.default or self.artifacts[1])
  end

  return self
end

return dsl
