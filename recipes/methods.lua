-- Methods by name and version. An old version stays and keeps producing its old bytes.
local check = use "uc/check.lua"

local registry = {
  ["track-a-row-overlay"] = { "recipes/track_a.lua" },
}

local methods = {}

-- spec: what artifact "NAME" { ... } holds; adds its actions and its target to the graph.
function methods.build(spec)
  local options = spec.track.options
  local name, pinned = options.method:match("^(.-)@(%d+)$")
  local versions, known = registry[name or options.method], {}
  for k in pairs(registry) do known[#known + 1] = k end
  if not versions then check.unknown("method", name or options.method, known) end
  local version = options.version or math.tointeger(pinned) or #versions
  if not versions[version] then
    check.fail("method %s has versions 1 to %d, not %d", name or options.method, #versions, version)
  end
  spec.method, spec.method_version = name or options.method, version
  use(versions[version]).build(spec)
end

return methods
