-- The values that a recipe is made of: sources, texts, mixes, metrics, tracks. All are plain tables
-- with a `kind`; words check what they get and resolve paths where they stand.
local check = use "uc/check.lua"
local later = use "uc/later.lua"

local values = {}

local function numbered(list, t)
  for _, v in ipairs(t) do list[#list + 1] = v end
  return list
end

-- A file or a pattern that the author names: the paths it means, in byte order.
local function text_paths(word, name)
  check.expect(word, name, "string", word .. ' "FILE"')
  local path = uc.path(name)
  if name:find("[*?]") then
    local found = uc.glob(path)
    if #found == 0 then check.fail("%s: no file matches %s", word, path) end
    return found
  end
  local what = uc.exists(path)
  if what == "folder" then
    uc.fail(string.format("%s: %s is a folder", word, path),
      string.format('write %s "%s/*.%s"', word, name, word == "text" and "txt" or "jsonl"))
  elseif not what then
    uc.fail(string.format("%s: file %s does not exist", word, path),
      "paths in a recipe count from the recipe's folder, those given with --set from the current "
      .. "one")
  end
  return { path }
end

-- dir "FOLDER", or dir "FOLDER" { id = "owner/name" }: what the manifest calls the source.
local source_meta = {}

function source_meta.__call(self, t)
  local o = check.fields("dir", t, { id = { type = "string" } })
  local copy = { kind = "source", model = self.model, path = self.path, id = o.id }
  return setmetatable(copy, source_meta)
end

function values.dir(name)
  check.expect("dir", name, "string", 'dir "models/NAME"')
  local path = uc.path(name)
  return setmetatable({ kind = "source", model = uc.model(path), path = path }, source_meta)
end

-- Texts can be weighted in a mix: text "a.txt" * 3.
local text_meta = {}

function text_meta.__mul(a, b)
  local t, w = a, b
  if type(a) == "number" then t, w = b, a end
  if check.type(t) ~= "text" or type(w) ~= "number" or w <= 0 then
    check.fail("a text can be multiplied by a positive number only")
  end
  local copy = setmetatable({}, text_meta)
  for k, v in pairs(t) do copy[k] = v end
  copy.weight = t.weight * w
  return copy
end

function text_meta.__index(_, key)
  if key == "holdout" then
    uc.fail("holdout is not there yet: keep a part of the lines in a file of its own",
      'give that file to ppl { text "FILE" }')
  end
end

function text_meta.__call(t, options)
  local rules = {
    template = { later = "lines are read as they are, without a chat template" },
    holdout = { later = "keep a part of the lines in a file of its own" },
  }
  check.fields(t.format == "text" and "text" or "jsonl", options, rules)
  return t
end

local function text_word(word)
  return function(name)
    return setmetatable({ kind = "text", format = word, paths = text_paths(word, name),
      weight = 1 }, text_meta)
  end
end

values.text = text_word("text")
values.jsonl = text_word("jsonl")

local function texts_of(word, list)
  local out = {}
  for _, v in ipairs(list) do
    if type(v) == "string" then v = values.text(v) end
    out[#out + 1] = check.expect(word, v, "text", word .. ' { text "FILE" }')
  end
  if #out == 0 then
    uc.fail(word .. " holds no text", 'write ' .. word .. ' { text "FILE" }')
  end
  return out
end

function values.mix(t)
  local rules = {
    tokens = {},
    seqlen = { type = "number", integer = true, min = 16, max = 131072, default = 512 },
    shard = { default = 131072 },
    grad_windows = { type = "number", integer = true, min = 1, max = 4096, default = 11 },
  }
  local o = check.fields("mix", t, rules)
  return {
    kind = "mix", texts = texts_of("mix", t), seqlen = o.seqlen, grad_windows = o.grad_windows,
    tokens = o.tokens and check.count("mix: tokens", o.tokens),
    shard_bytes = check.size("mix: shard", o.shard),
  }
end

-- What `calibrate` takes: a mix, a text or a list of texts.
function values.as_mix(v)
  local kind = check.type(v)
  if kind == "mix" then return v end
  if kind == "text" or kind == "string" then return values.mix { v } end
  check.expect("calibrate", v, "table", 'calibrate = mix { text "FILE" }')
  return values.mix(numbered({}, v))
end

local function measure(word)
  return function(t)
    local rules = {
      protocol = { one_of = { "llama", "strided" }, default = "llama" },
      window = { type = "number", integer = true, min = 16, max = 131072, default = 512 },
      stride = { type = "number", integer = true, min = 1, max = 131072 },
      limit = { type = "number", integer = true, min = 0, default = 0 },
      topk = { type = "table" },
    }
    if check.type(t) == "text" or type(t) == "string" then t = { t } end
    local o = check.fields(word, t, rules)
    if o.topk and (#o.topk ~= 2 or o.topk[1] ~= 1 or o.topk[2] ~= 10) then
      check.fail("%s: topk is always { 1, 10 }", word)
    end
    if o.stride and o.protocol ~= "strided" then
      check.fail("%s: stride belongs to protocol = \"strided\"", word)
    end
    if o.stride and o.stride > o.window then
      check.fail("%s: stride %d is more than the window %d", word, o.stride, o.window)
    end
    return {
      kind = "measure", measure = word, texts = t[1] and texts_of(word, numbered({}, t)) or {},
      protocol = o.protocol, window = o.window, limit = o.limit,
      stride = o.protocol == "strided" and (o.stride or o.window // 2) or o.window,
    }
  end
end

values.ppl = measure("ppl")
values.kld = measure("kld")

-- All measures come from one pass over a text; a kld without a text takes the first ppl's.
function values.metrics(t)
  local passes, seen, first = {}, {}, nil
  check.fields("metrics", t, {})
  for _, m in ipairs(t) do
    check.expect("metrics", m, "measure", 'metrics { ppl { text "FILE" }, kld {} }')
    if #m.texts > 0 then first = first or m end
  end
  if not first then
    uc.fail("metrics names no text", 'write metrics { ppl { text "FILE", protocol = "llama" } }')
  end
  for _, m in ipairs(t) do
    local like = #m.texts > 0 and m or first
    for _, text in ipairs(like.texts) do
      for _, path in ipairs(text.paths) do
        local pass = { path = path, format = text.format, protocol = like.protocol,
          window = like.window, stride = like.stride, limit = like.limit }
        local id = uc.json(pass)
        if not seen[id] then
          seen[id] = true
          passes[#passes + 1] = pass
        end
      end
    end
  end
  return { kind = "metrics", passes = passes }
end

function values.tensor(pattern)
  check.expect("tensor", pattern, "string", 'tensor "*.mlp.down_proj.*" { keep = true }')
  return function(t)
    local o = check.fields("tensor", t, {
      keep = { type = "boolean" },
      scale = { type = "number", min = 0.01, max = 100 },
    })
    if o.keep == nil and not o.scale then
      uc.fail("tensor changes nothing", 'write tensor "PATTERN" { keep = true } or { scale = 0.8 }')
    end
    return { kind = "tensor", pattern = pattern, keep = o.keep, scale = o.scale }
  end
end

local track_a_rules = {
  bpw = { type = "number", min = 0.5, max = 12, default = 2.798 },
  count = { one_of = { "all", "body" }, default = "all" },
  method = { type = "string", default = "track-a-row-overlay" },
  version = { type = "number", integer = true, min = 1 },
  mix = { type = "number", min = 0, max = 1, default = 0.5 },
  damp = { type = "number", min = 1e-8, max = 10, default = 0.01 },
  head = { later = "all tensors share one level, found from the budget" },
  embed = { later = "all tensors share one level, found from the budget" },
}

local track_meta = {}

local function track_a(t, base)
  local given = {}
  for k, v in pairs(base or {}) do given[k] = v end
  for k, v in pairs(t) do
    if type(k) == "string" then given[k] = v end
  end
  local options = check.fields("track.a", given, track_a_rules)
  local self = { kind = "track", given = given, options = options, tensors = {} }
  for _, v in ipairs(t) do
    self.tensors[#self.tensors + 1] =
      check.expect("track.a", v, "tensor", 'track.a { tensor "PATTERN" { keep = true } }')
  end
  return setmetatable(self, track_meta)
end

-- A { bpw = 3 }: the same track with some options changed.
function track_meta.__call(self, t)
  local changed = track_a(t, self.given)
  if #changed.tensors == 0 then changed.tensors = self.tensors end
  return changed
end

values.track = {
  a = function(t) return track_a(t or {}) end,
  b = later.track_b,
}

return values
