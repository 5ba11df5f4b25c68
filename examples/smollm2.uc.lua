-- Compresses SmolLM2-135M-Instruct to 2.798 bits a weight, everything counted.
-- get the model: tools/get-smollm2 models/smollm2
-- run:           uc build examples/smollm2.uc.lua --set calibration='t/*.txt' --set eval=test.txt
-- The defaults are the texts that come with uc; give texts of the kind the model will work on.
project { name = "smollm2-135m", seed = 42, license = "apache-2.0" }

local base = dir(param("model", "../models/smollm2"))

-- About 110 KB of each text, some 190,000 tokens of six.
local cal = mix {
  tokens = param("tokens", "165k"), -- uc counts 4 bytes a token here
  shard = param("shard", "110 KB"),
  text(param("calibration", "data/kjv-train.txt")),
}

local heldout = text(param("eval", "data/kjv-heldout.txt"))
local check = metrics {
  ppl { heldout, protocol = "llama", window = 512, limit = 32 },
  kld { heldout, protocol = "llama", window = 512, limit = 32 },
}

artifact "smollm2" {
  base,
  track.a { bpw = param("bpw", 2.798) },
  calibrate = cal,
  check = check,
}
