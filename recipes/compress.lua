-- `uc compress`: text of the recipe that its options mean. Returns function(options) -> text.
-- options: model, bpw, size, method, method_version, seed, license, output, calibration = {paths},
-- tokens, eval = {paths}, window, limit, protocol.
local function quote(s) return (string.format("%q", s):gsub("\\\n", "\\n")) end

local function text_word(path)
  return (path:match("%.jsonl$") and "jsonl " or "text ") .. quote(path)
end

local function texts(list)
  local out = {}
  for i, path in ipairs(list) do out[i] = text_word(path) end
  return table.concat(out, ", ")
end

local function number(v)
  if math.type(v) == "float" and v == math.floor(v) then return string.format("%d", v) end
  return (string.format("%.6f", v):gsub("0+$", ""):gsub("%.$", ""))
end

-- The artifact is called as the model's folder is.
local function name_of(dir)
  local name = (dir:match("([^/]+)/*$") or ""):gsub("[^%w._-]", "-"):gsub("^[^%w]+", "")
  return name ~= "" and name or "model"
end

return function(o)
  local out = {}
  local function add(fmt, ...) out[#out + 1] = string.format(fmt, ...) end
  local project = { string.format("seed = %d", o.seed or 42) }
  if o.license then table.insert(project, "license = " .. quote(o.license)) end
  add("-- written by `uc compress`; run it with `uc build FILE`")
  add("project { %s }", table.concat(project, ", "))
  add("")
  add("local base = dir %s", quote(o.model))
  local mix = o.tokens and string.format("tokens = %s, ", quote(o.tokens)) or ""
  add("local cal = mix { %s%s }", mix, texts(o.calibration))
  if o.eval and #o.eval > 0 then
    add("local check = metrics {")
    for _, path in ipairs(o.eval) do
      local settings = string.format("protocol = %s, window = %d, limit = %d",
        quote(o.protocol or "llama"), o.window or 512, o.limit or 32)
      add("  ppl { %s, %s },", text_word(path), settings)
      add("  kld { %s, %s },", text_word(path), settings)
    end
    add("}")
  end
  local track = { "bpw = " .. number(o.bpw or 2.798) }
  if o.method then table.insert(track, "method = " .. quote(o.method)) end
  if o.method_version then table.insert(track, string.format("version = %d", o.method_version)) end
  add("")
  add("artifact %s {", quote(name_of(o.model)))
  add("  base,")
  add("  track.a { %s },", table.concat(track, ", "))
  add("  calibrate = cal,")
  if o.eval and #o.eval > 0 then add("  check = check,") end
  if o.size then add("  size = %s,", quote(o.size)) end
  if o.output then add("  output = %s,", quote(o.output)) end
  add("}")
  return table.concat(out, "\n") .. "\n"
end
