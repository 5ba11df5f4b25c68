-- Two artifacts of one model share their statistics; words, options and imports of every kind.
project { name = "shared", uc = ">= 0.1", seed = param("seed", 7), license = "MIT",
  notes = "a test" }

local base = dir "../../../examples/models/tiny" { id = "someone/tiny" }
local parts = import "parts/texts.lua"
local cal = mix { tokens = "8k", seqlen = 256, shard = "16 KB", grad_windows = 3, parts.train * 3,
  parts.lines }
local check = metrics {
  ppl { parts.heldout, protocol = "llama", window = 128, limit = 2 },
  ppl { parts.heldout, protocol = "strided", window = 128, stride = 64, limit = 2 },
  kld { topk = { 1, 10 } },
}
local A = track.a { bpw = 3, damp = 0.02, tensor "model.layers.0.*.v_proj.weight" { keep = true } }

for _, bpw in ipairs { 3, 4.25 } do
  local name = string.format("at-%g", bpw)
  artifact(name) { base, A { bpw = bpw }, calibrate = cal, check = check }
end
artifact "body" { base, A { count = "body", bpw = 3.5 }, calibrate = cal }
artifact "sized" { base, A, calibrate = cal, size = "<= 400 kB",
  output = "elsewhere",
  tensor "*.down_proj.*" { scale = 0.5 } }
default "at-4.25"
