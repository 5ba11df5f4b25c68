-- Compresses the small model that comes with uc: a first run in seconds, offline.
-- run: uc build examples/tiny.uc.lua      look first: uc plan examples/tiny.uc.lua
project { name = "tiny", seed = 42, license = "apache-2.0" }

local base = dir "models/tiny"
local cal = mix { seqlen = 256, grad_windows = 64, text "data/kjv-train.txt" }

local heldout = text "data/kjv-heldout.txt"
local check = metrics {
  ppl { heldout, protocol = "llama", window = 256, limit = 32 },
  kld { heldout, protocol = "llama", window = 256, limit = 32 },
}

artifact "tiny" {
  base,
  track.a { bpw = param("bpw", 4) },
  calibrate = cal,
  check = check,
}
