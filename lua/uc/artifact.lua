-- artifact "NAME" { ... }: what it holds, checked, as the one table that methods work from.
local check = use "uc/check.lua"
local values = use "uc/values.lua"

local rules = {
  calibrate = {}, check = { type = "metrics" }, license = { type = "string" },
  output = { type = "string" }, size = {}, notes = { type = "string" },
  gate = { later = "look at the summary, or at report/bench.json" },
  relax = { later = "it belongs to gate" },
  export = { later = "run `uc export DIR --format dense` on the finished folder" },
}

-- The list part: one source, one track, any number of tensor overrides.
local function parts(name, t)
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
  for _, v in ipairs(spec.track.tensors) do spec.tensors[#spec.tensors + 1] = v end
  return spec
end

local function size(v, track)
  if v == nil then return nil end
  if track.options.count == "body" then
    uc.fail("artifact: size counts the whole file, and the track counts the body only",
      "leave one of them out")
  end
  return check.size("artifact: size", (tostring(v):gsub("^%s*<=%s*", "")))
end

-- project: the fields of the recipe's project word.
return function(name, t, project)
  local o = check.fields("artifact", t, rules)
  local spec = parts(name, t)
  if o.calibrate == nil then
    uc.fail(string.format("artifact %s has no calibration text", name),
      'add calibrate = mix { text "FILE" }')
  end
  spec.calibrate = values.as_mix(o.calibrate)
  spec.size = size(o.size, spec.track)
  spec.passes = o.check and o.check.passes or {}
  spec.seed = project.seed
  spec.license = o.license or project.license
  spec.notes = o.notes or project.notes
  spec.output = o.output
  return spec
end
