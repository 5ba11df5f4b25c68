-- Method track-a-row-overlay@1 (docs/design.md): the graph that turns a source model, a calibration
-- mix and a budget into a compressed folder. Policy only; the arithmetic is in the ops.
local check = use "uc/check.lua"
local license = use "recipes/license.lua"

local M = {}

local RNG_SEED = 1 -- of labels that the model samples; statistics do not depend on the user's seed
local BYTES_PER_TOKEN = 3.5 -- for predictions only
local BATCH = 2048 -- tokens that the ops hold at a time (docs/blobs.md), for predictions only
local KEPT_HIDDEN = 256e6 -- bytes of hidden states that may stay in the cache after a build

local function short(name)
  return (name:gsub("^model%.", ""):gsub("%.weight$", ""))
end

local function nnn(i) return string.format("%03d", i - 1) end

local function copy(t)
  local out = {}
  for k, v in pairs(t) do out[k] = v end
  return out
end

-- The id that windows begin with, for models that were trained with one.
local function begin_id(m)
  local path = m.dir .. "/tokenizer_config.json"
  if uc.exists(path) ~= "file" or not uc.read_json(path).add_bos_token then return nil end
  return math.tointeger(m.config.bos_token_id)
end

-- What the rest asks about the source: refs of tensors, sizes, bytes.
local function open_source(spec)
  local m = spec.source.model
  local s = { model = m, refs = {}, weights = 0, body = 0, bytes = 0, digests = {} }
  for i, path in ipairs(m.files) do
    local f = uc.action {
      op = "fingerprint", name = "fingerprint " .. path:match("[^/]+$"), stat = path,
      outputs = { digests = "keep" }, memory = 64e6,
    }
    s.digests["digests/" .. nnn(i)] = f.digests
    for name, t in pairs(m.tensors) do
      if t.path == path then
        s.refs[name] = uc.tensor(f, t)
        s.weights = s.weights + t.numel
        s.bytes = s.bytes + t.size
      end
    end
  end
  for _, t in pairs(m.tensors) do
    if t.name ~= m.embed and t.name ~= m.head then s.body = s.body + t.numel end
  end
  local l = m.layers[1].tensors
  s.layer_weights, s.layer_linear = 0, 0
  for _, name in pairs(l) do
    s.layer_weights = s.layer_weights + m.tensors[name].numel
    if #m.tensors[name].shape == 2 then s.layer_linear = s.layer_linear + m.tensors[name].numel end
  end
  s.tokenizer = uc.file(m.dir .. "/tokenizer.json")
  s.bos = begin_id(m)
  return s
end

-- Inputs of ops that read one layer: { ["w/q"] = ref, ... }.
local function layer_inputs(s, layer)
  local inputs = {}
  for role, name in pairs(layer.tensors) do inputs["w/" .. role] = s.refs[name] end
  return inputs
end

-- Columns of each distinct input of a layer's linears: { attn_in = 576, ... }.
local function tap_widths(s, layer)
  local widths = {}
  for tap, roles in pairs(layer.inputs) do
    widths[tap] = s.model.tensors[layer.tensors[roles[1]]].shape[2]
  end
  return widths
end

local function moments_bytes(n) return 24 + 4 * n * (n + 1) end

-- The calibration shards: slices of the texts in recipe order. A budget of tokens is shared out by
-- weight, evenly over the files of a pattern; each file gives whole shards until its share is met. A
-- share smaller than a shard makes one shard of its own size.
local function shards(mix)
  local out, total = {}, 0
  for _, text in ipairs(mix.texts) do total = total + text.weight end
  for _, text in ipairs(mix.texts) do
    for _, path in ipairs(text.paths) do
      local room = mix.tokens and mix.tokens * 4 * text.weight / total / #text.paths
      local size = math.floor(math.min(mix.shard_bytes, room or mix.shard_bytes))
      for i, slice in ipairs(uc.slices(path, text.format, math.max(size, 1))) do
        if room and room <= 0 then break end
        if room then room = room - slice.bytes end
        out[#out + 1] = { ref = slice.ref, bytes = slice.bytes, format = text.format,
          name = string.format("%s#%d", path:match("[^/]+$"), i - 1) }
      end
    end
  end
  if #out == 0 then check.fail("the calibration texts are empty") end
  if #out > 999 then
    uc.fail(string.format("the calibration texts make %d shards, more than 999", #out),
      'give mix { shard = "1 MB", ... } or a smaller tokens budget')
  end
  return out
end

-- Hidden states are the bulk of what a build writes. Small ones stay, so that a changed layer
-- reruns from there on; large ones go after their last use, and are made again from the start
-- when needed.
local function hidden_retention(s, mix, set)
  local tokens = 0
  for _, shard in ipairs(set) do
    local n = shard.bytes / BYTES_PER_TOKEN
    tokens = tokens + n + math.min(n, mix.grad_windows * mix.seqlen)
  end
  local total = tokens * s.model.hidden * 4 * s.model.n_layers
  return total <= KEPT_HIDDEN and "cache" or "transient"
end

-- Forward over one shard: second moments of every linear's input, layer by layer.
local function capture(s, mix, shard, kept)
  local m, n_tok = s.model, shard.bytes / BYTES_PER_TOKEN
  local x_bytes = n_tok * m.hidden * 4
  local tok = uc.action {
    op = "tokenize", name = "tokenize " .. shard.name,
    params = { format = shard.format, vocab = m.vocab, limit = 0 },
    inputs = { text = shard.ref, tokenizer = s.tokenizer },
    outputs = { ids = "cache", counts = "cache" }, memory = 60e6, work = shard.bytes,
  }
  local x = uc.action {
    op = "embed", name = "embed " .. shard.name, params = { arch = m.arch },
    inputs = { ids = tok.ids, ["w/embed"] = s.refs[m.embed] },
    outputs = { x = { kept, bytes = x_bytes } }, memory = 2 * x_bytes + 20e6, work = x_bytes,
  }.x
  shard.counts, shard.layers = tok.counts, {}
  for i, layer in ipairs(m.layers) do
    local inputs, outputs, square = layer_inputs(s, layer), {}, 0
    for tap, width in pairs(tap_widths(s, layer)) do
      outputs["s." .. tap] = { "cache", bytes = moments_bytes(width) }
      square = square + width * width
    end
    outputs.x = { kept, bytes = x_bytes }
    outputs.g = { kept, bytes = mix.grad_windows * mix.seqlen * m.hidden * 4 }
    inputs.x = x
    local c = uc.action {
      op = "capture", name = string.format("capture layers.%d %s", i - 1, shard.name),
      params = { arch = m.arch, seqlen = mix.seqlen, grad_windows = mix.grad_windows },
      inputs = inputs, outputs = outputs, threads = 64,
      memory = x_bytes + 4 * math.max(BATCH, mix.seqlen) * m.activations + 6 * s.layer_weights
        + 8 * square + 60e6,
      work = n_tok * (2 * s.layer_linear + square + 2 * mix.seqlen * m.hidden),
    }
    shard.layers[i] = { capture = c }
    x = c.x
  end
  shard.head = uc.action {
    op = "capture_head", name = "capture head " .. shard.name,
    params = { arch = m.arch, seqlen = mix.seqlen, grad_windows = mix.grad_windows },
    inputs = { x = x, ["w/final_norm"] = s.refs[m.final_norm] },
    outputs = { g = { kept, bytes = mix.grad_windows * mix.seqlen * m.hidden * 4 },
      ["s.head"] = { "cache", bytes = moments_bytes(m.hidden) } },
    threads = 64, memory = 2 * x_bytes + 60e6, work = n_tok * m.hidden * m.hidden,
  }
end

-- Backward over the first windows of one shard: what an error of each output row costs.
local function sensitivity(s, mix, shard)
  local m = s.model
  local n_tok = math.min(shard.bytes / BYTES_PER_TOKEN, mix.grad_windows * mix.seqlen)
  local x_bytes = n_tok * m.hidden * 4
  local head = uc.action {
    op = "sensitivity_head", name = "sensitivity head " .. shard.name,
    params = { arch = m.arch, seqlen = mix.seqlen, rng_seed = RNG_SEED },
    inputs = { g = shard.head.g, ["w/final_norm"] = s.refs[m.final_norm],
      ["w/head"] = s.refs[m.head or m.embed] },
    outputs = { dx = { "transient", bytes = x_bytes },
      ["sw.head"] = { "cache", bytes = moments_bytes(m.hidden) } },
    threads = 64, memory = 3 * x_bytes + m.vocab * m.hidden * 4 + mix.seqlen * m.vocab * 8 + 60e6,
    work = 4 * n_tok * m.vocab * m.hidden,
  }
  local dx = head.dx
  shard.sw_head = head["sw.head"]
  for i = m.n_layers, 1, -1 do
    local layer = m.layers[i]
    local inputs, square = layer_inputs(s, layer), 0
    local outputs = { dx = { "transient", bytes = x_bytes } }
    for tap, width in pairs(tap_widths(s, layer)) do
      outputs["sw." .. tap] = { "cache", bytes = moments_bytes(width) }
      square = square + width * width
      for _, role in ipairs(layer.inputs[tap]) do outputs["h." .. role] = "cache" end
    end
    inputs.g, inputs.dx = shard.layers[i].capture.g, dx
    local a = uc.action {
      op = "sensitivity", name = string.format("sensitivity layers.%d %s", i - 1, shard.name),
      params = { arch = m.arch, seqlen = mix.seqlen },
      inputs = inputs, outputs = outputs, threads = 64,
      memory = 4 * x_bytes + 8 * math.max(BATCH, mix.seqlen) * m.activations + 10 * s.layer_weights
        + 8 * square + 40e6,
      work = n_tok * (6 * s.layer_linear + square + 6 * mix.seqlen * m.hidden),
    }
    shard.layers[i].sensitivity = a
    dx = a.dx
  end
  shard.s_grad = uc.action {
    op = "sensitivity_embed", name = "sensitivity embed " .. shard.name,
    params = { arch = m.arch }, inputs = { dx = dx },
    outputs = { ["s.grad"] = { "cache", bytes = moments_bytes(m.hidden) } },
    threads = 64, memory = x_bytes + 40e6, work = n_tok * m.hidden * m.hidden,
  }["s.grad"]
end

-- One factor of the mixed and damped second moments for each distinct input of a layer.
local function layer_factor(s, options, set, i, tap)
  local width = tap_widths(s, s.model.layers[i])[tap]
  local inputs = {}
  for k, shard in ipairs(set) do
    inputs["s/" .. nnn(k)] = shard.layers[i].capture["s." .. tap]
    inputs["sw/" .. nnn(k)] = shard.layers[i].sensitivity["sw." .. tap]
  end
  return uc.action {
    op = "factor", name = string.format("factor layers.%d.%s", i - 1, tap),
    params = { mix = options.mix, damp = options.damp },
    inputs = inputs, outputs = { l = { "cache", bytes = 8 + 2 * width * (width + 1) } },
    threads = 64, memory = 24 * width * width + 40e6,
    work = width ^ 3 / 3 + #set * 2 * width * width,
  }.l
end

-- Factors for the tensors beside the layers. A tied one is both embedding and head.
local function head_factor(s, options, set, name, roles)
  local hidden, inputs = s.model.hidden, {}
  for k, shard in ipairs(set) do
    if roles.head then inputs["s/" .. nnn(k)] = shard.sw_head end
    if roles.embed then inputs[(roles.head and "sw/" or "s/") .. nnn(k)] = shard.s_grad end
  end
  return uc.action {
    op = "factor", name = "factor " .. short(name), params = { kind = "head", damp = options.damp },
    inputs = inputs, outputs = { l = { "cache", bytes = 8 + 2 * hidden * (hidden + 1) } },
    threads = 64, memory = 24 * hidden * hidden + 40e6, work = hidden ^ 3 / 3,
  }.l
end

-- The coded tensors in a fixed order: { name, kind, rows, cols, l, rows_in = { ["h/000"] = ref } }.
local function coded_tensors(s, options, set, kept, scales)
  local m, out = s.model, {}
  local function add(name, kind, l, rows_in)
    local t = m.tensors[name]
    out[#out + 1] = { name = name, kind = kind, rows = t.shape[1], cols = t.shape[2], l = l,
      rows_in = rows_in, numel = t.numel, options = { scale = scales[name] } }
  end
  local function add_table(name, roles)
    local counts = {}
    if kept[name] then return end
    for k, shard in ipairs(set) do counts["counts/" .. nnn(k)] = shard.counts end
    add(name, "embed", head_factor(s, options, set, name, roles), counts)
  end
  add_table(m.embed, { embed = true, head = m.tied })
  for i, layer in ipairs(m.layers) do
    for tap, roles in pairs(layer.inputs) do
      for _, role in ipairs(roles) do
        local rows_in = {}
        for k, shard in ipairs(set) do
          rows_in["h/" .. nnn(k)] = shard.layers[i].sensitivity["h." .. role]
        end
        if not kept[layer.tensors[role]] then
          add(layer.tensors[role], "linear", layer_factor(s, options, set, i, tap), rows_in)
        end
      end
    end
  end
  if m.head then add_table(m.head, { head = true }) end
  return out
end

-- Which tensors stay as they are (norms and everything else that is no matrix, and what overrides
-- keep), and the step multipliers that overrides set.
local function overridden(s, overrides)
  local kept, scales = {}, {}
  for name, t in pairs(s.model.tensors) do kept[name] = #t.shape ~= 2 or nil end
  for _, o in ipairs(overrides) do
    local hits = 0
    for name, t in pairs(s.model.tensors) do
      if #t.shape == 2 and uc.match(o.pattern, name) then
        if o.keep ~= nil then kept[name] = o.keep or nil end
        scales[name] = o.scale or scales[name]
        hits = hits + 1
      end
    end
    if hits == 0 then
      uc.fail(string.format('tensor "%s" matches no matrix of the model', o.pattern),
        "names look like " .. s.model.layers[1].tensors.q)
    end
  end
  return kept, scales
end

-- Bytes of the body that are not coded streams.
local function fixed_body(s, kept)
  local raw = 0
  for name in pairs(kept) do
    if name ~= s.model.embed and name ~= s.model.head then
      raw = raw + s.model.tensors[name].size
    end
  end
  return raw
end

-- Bytes of the file that are not coded streams: the header, with room for the longest offsets that
-- a file of this size can have, and the tensors that stay.
local function fixed_bytes(s, coded, kept, target)
  local digits, raw = #tostring(target), 0
  local header = 8 + 7 + #'{"__metadata__":{"format":"pt","uc_format":"uca1"}}'
  local function entry(name, dtype, shape)
    header = header + #name + #dtype + #shape + 2 * digits
      + #',"":{"dtype":"","shape":[],"data_offsets":[,]}'
  end
  for _, t in ipairs(coded) do entry(t.name .. ".uca", "U8", tostring(target)) end
  for name in pairs(kept) do
    local t = s.model.tensors[name]
    entry(name, t.dtype, table.concat(t.shape, ","))
    raw = raw + t.size
  end
  return header + raw
end

local function budget(spec, s)
  local o = spec.track.options
  local weights = o.count == "body" and s.body or s.weights
  return spec.size or math.floor(o.bpw * weights / 8)
end

-- What the budget means in bits a weight.
local function effective_bpw(spec, s)
  local o = spec.track.options
  return spec.size and spec.size * 8 / s.weights or o.bpw
end

-- From factors to streams: rates, one level for the whole model, quantization, exact landing.
local function quantize(spec, s, coded, kept)
  local target = budget(spec, s)
  local sizes = { target_bytes = target, count = spec.track.options.count }
  sizes.fixed_bytes = sizes.count == "body" and fixed_body(s, kept)
    or fixed_bytes(s, coded, kept, target)
  local curves, land, most = {}, {}, 0
  for _, t in ipairs(coded) do
    local inputs = copy(t.rows_in)
    inputs.weight, inputs.l = s.refs[t.name], t.l
    t.inputs, t.memory = inputs, 4 * t.numel + 8 * t.cols * t.cols + 40e6
    most = math.max(most, t.memory)
    curves["curve/" .. t.name] = uc.action {
      op = "rate", name = "rate " .. short(t.name), params = { kind = t.kind, options = t.options },
      inputs = inputs, outputs = { curve = "cache" }, threads = 1,
      memory = 4 * t.numel + 4 * t.cols * t.cols + 40e6, work = t.numel * t.cols,
    }.curve
  end
  local c = uc.action {
    op = "allocate", name = "allocate", inputs = curves,
    params = { target_bytes = target, fixed_bytes = sizes.fixed_bytes, count = sizes.count,
      weights = sizes.count == "body" and s.body or s.weights }, outputs = { c = "cache" },
    memory = 30e6,
  }.c
  for _, t in ipairs(coded) do
    local inputs = copy(t.inputs)
    inputs.c = c
    local q = uc.action {
      op = "quantize", name = "quantize " .. short(t.name),
      params = { kind = t.kind, options = t.options, seed = spec.seed },
      inputs = inputs,
      outputs = { stream = { "keep", bytes = t.numel * effective_bpw(spec, s) / 8 },
        info = "keep" },
      threads = 64, memory = t.memory, work = t.numel * t.cols,
    }
    land["stream/" .. t.name], land["info/" .. t.name] = q.stream, q.info
    land["weight/" .. t.name], land["l/" .. t.name] = s.refs[t.name], t.l
    for k, ref in pairs(t.rows_in) do
      land[string.format("rows/%s/%s", t.name, k:match("/(.*)$"))] = ref
    end
    t.stream, t.info = q.stream, q.info
  end
  land.c = c
  return uc.action {
    op = "land", name = "land", params = { target_bytes = sizes.target_bytes,
      fixed_bytes = sizes.fixed_bytes, count = sizes.count, seed = spec.seed },
    inputs = land, outputs = { patch = "keep" }, threads = 64, memory = most + 40e6,
  }.patch, sizes
end

local function assemble(spec, s, coded, kept, patch, sizes)
  local inputs = { patch = patch, config = uc.file(s.model.dir .. "/config.json") }
  local infos = {}
  for _, t in ipairs(coded) do
    inputs["stream/" .. t.name], inputs["info/" .. t.name] = t.stream, t.info
    infos["info/" .. t.name] = t.info
  end
  for name in pairs(kept) do inputs["raw/" .. name] = s.refs[name] end
  local a = uc.action {
    op = "assemble", name = "assemble",
    params = { target_bytes = sizes.target_bytes, fixed_bytes = sizes.fixed_bytes,
      count = sizes.count, method = spec.method, method_version = spec.method_version,
      weights = s.weights, body_weights = s.body },
    inputs = inputs,
    outputs = { model = { "keep", bytes = sizes.target_bytes }, config = "keep", tensors = "keep" },
    memory = 2 * sizes.target_bytes + 40e6, work = sizes.target_bytes,
  }
  infos.model, infos.patch = a.model, patch
  local v = uc.action {
    op = "verify", name = "verify", inputs = infos, outputs = { report = "keep" }, threads = 64,
    memory = 2 * sizes.target_bytes + 100e6, work = s.weights,
  }
  return a, v.report
end

-- One pass over an evaluation text: the source's outputs at the scored positions, then the artifact
-- against them.
local function evaluate(s, model, pass, name)
  local m = s.model
  local slice = uc.slices(pass.path, pass.format, 0)
  if #slice ~= 1 then check.fail("the evaluation text %s is empty", pass.path) end
  local text = pass.path:match("[^/]+$")
  local limit = pass.limit * (pass.protocol == "llama" and pass.window or pass.stride)
  if limit > 0 and pass.protocol ~= "llama" then limit = limit + pass.window end
  local n_tok = math.min(slice[1].bytes / BYTES_PER_TOKEN, limit > 0 and limit or math.huge)
  local flops = 2 * n_tok * (s.body + m.vocab * m.hidden)
  local ids = uc.action {
    op = "tokenize", name = "tokenize " .. text,
    params = { format = pass.format, vocab = m.vocab, limit = limit },
    inputs = { text = slice[1].ref, tokenizer = s.tokenizer },
    outputs = { ids = "cache", counts = "cache" }, memory = 100e6, work = slice[1].bytes,
  }.ids
  local inputs = { ids = ids, ["w/embed"] = s.refs[m.embed],
    ["w/final_norm"] = s.refs[m.final_norm], ["w/head"] = s.refs[m.head or m.embed] }
  for i, layer in ipairs(m.layers) do
    for role, tensor in pairs(layer.tensors) do
      inputs[string.format("layer/%s/w/%s", nnn(i), role)] = s.refs[tensor]
    end
  end
  local protocol = { arch = m.arch, protocol = pass.protocol, window = pass.window,
    stride = pass.stride, limit = pass.limit, bos = s.bos }
  local hidden_bytes = n_tok * m.hidden * 4
  local ref = uc.action {
    op = "reference", name = "reference " .. text, params = protocol, inputs = inputs,
    outputs = { h = { "cache", bytes = hidden_bytes }, labels = "cache" }, threads = 64,
    memory = 3 * hidden_bytes + 6 * s.layer_weights + 80e6, work = flops,
  }
  local params = copy(protocol)
  params.names = { embed = m.embed, final_norm = m.final_norm, head = m.head or m.embed,
    layers = m.layers }
  params.text = text
  if pass.limit == 0 then params.text_bytes = slice[1].bytes end
  return uc.action {
    op = "bench", name = "bench " .. name, params = params,
    inputs = { model = model, ["reference/h"] = ref.h, ["reference/labels"] = ref.labels, ids = ids,
      ["w/head"] = s.refs[m.head or m.embed] },
    outputs = { report = "keep" }, threads = 64,
    memory = 3 * hidden_bytes + 6 * s.layer_weights + m.vocab * m.hidden * 8 + 100e6,
    work = 1.5 * flops,
  }.report
end

-- Files that come from the source unchanged.
local function copied_files(s)
  local files = {}
  for _, name in ipairs { "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json",
    "added_tokens.json", "vocab.json", "merges.txt", "tokenizer.model", "chat_template.jinja" } do
    local path = s.model.dir .. "/" .. name
    if uc.exists(path) == "file" then files["tokenizer/" .. name] = uc.file(path) end
  end
  local generation = s.model.dir .. "/generation_config.json"
  if uc.exists(generation) == "file" then files["generation_config.json"] = uc.file(generation) end
  return files
end

local function calibration_facts(mix, set)
  local out = { seqlen = mix.seqlen, grad_windows = mix.grad_windows, shards = {} }
  for i, shard in ipairs(set) do
    out.shards[i] = { sha256 = uc.digest(shard.ref), bytes = shard.bytes, format = shard.format }
  end
  return out
end

local function manifest(spec, s, set, files, artifact, reports, licenses)
  local m = s.model
  local inputs = { tensors = artifact.tensors, verify = artifact.verify }
  for path, ref in pairs(files) do inputs["file/" .. path] = ref end
  for i, r in ipairs(reports) do inputs["bench/" .. nnn(i)] = r end
  inputs.source = uc.action {
    op = "source_digests", name = "digests of the source", inputs = s.digests,
    outputs = { digests = "keep" }, memory = 30e6,
  }.digests
  local o = spec.track.options
  return uc.action {
    op = "manifest", name = "manifest", inputs = inputs, outputs = { manifest = "keep" },
    memory = 60e6,
    params = {
      model_id = spec.name, base_model = spec.source.id, method = spec.method,
      method_version = spec.method_version, bpw = effective_bpw(spec, s), count = o.count,
      seed = spec.seed, size = spec.size, weights = s.weights, body_weights = s.body,
      license = licenses,
      notes = spec.notes, source_bytes = s.bytes, tables = { m.embed, m.head },
      created = uc.source_date_epoch(), architecture = m.model_type,
      calibration = calibration_facts(spec.calibrate, set),
      parameters = { mix = o.mix, damp = o.damp },
    },
  }.manifest
end

function M.build(spec)
  local s = open_source(spec)
  local set = shards(spec.calibrate)
  local kept_hidden = hidden_retention(s, spec.calibrate, set)
  for _, shard in ipairs(set) do
    capture(s, spec.calibrate, shard, kept_hidden)
    sensitivity(s, spec.calibrate, shard)
  end
  local kept, scales = overridden(s, spec.tensors)
  local coded = coded_tensors(s, spec.track.options, set, kept, scales)
  if #coded == 0 then
    check.fail("artifact %s keeps every tensor: nothing is left to compress", spec.name)
  end
  local patch, sizes = quantize(spec, s, coded, kept)
  local a, verified = assemble(spec, s, coded, kept, patch, sizes)
  local files, reports = copied_files(s), {}
  local licenses = license.add(files, spec.license, s.model.dir)
  files["model.safetensors"], files["config.json"] = a.model, a.config
  for i, pass in ipairs(spec.passes) do
    local name = i == 1 and "bench" or string.format("bench-%d", i)
    reports[i] = evaluate(s, a.model, pass, #spec.passes > 1 and tostring(i) or "artifact")
    files["report/" .. name .. ".json"] = reports[i]
  end
  files["report/tensors.json"] = a.tensors
  files["report/verify.json"] = verified
  files["ultracompress.json"] = manifest(spec, s, set, files,
    { tensors = a.tensors, verify = verified }, reports, licenses)
  local bpw = effective_bpw(spec, s)
  uc.target {
    name = spec.name, files = files, summary = "ultracompress.json",
    dir = spec.output or string.format("models/%s-uc%s", s.model.dir:match("([^/]+)/*$"),
      string.format("%.3f", bpw):gsub("0+$", ""):gsub("%.$", "")),
    info = {
      source = s.model.dir, architecture = s.model.model_type, weights = s.weights,
      body_weights = s.body, source_bytes = s.bytes, target_bytes = sizes.target_bytes, bpw = bpw,
      count = sizes.count, method = string.format("%s@%d", spec.method, spec.method_version),
      layers = s.model.n_layers, calibration_shards = #set, evaluations = #spec.passes,
    },
  }
end

return M
