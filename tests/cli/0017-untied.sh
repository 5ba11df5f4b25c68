#!/bin/sh
# A model whose head is a tensor of its own: both tables are coded, within the budget, and verify.
. "$(dirname "$0")/lib.sh"
small_project
python3 - <<'PY'
import json, struct
p = "model/model.safetensors"
data = open(p, "rb").read()
n = struct.unpack("<Q", data[:8])[0]
h, body = json.loads(data[8:8 + n]), data[8 + n:]
e = h["model.embed_tokens.weight"]
h["lm_head.weight"] = dict(e, data_offsets=[len(body), len(body) + e["data_offsets"][1] - e["data_offsets"][0]])
text = json.dumps(h).encode()
open(p, "wb").write(struct.pack("<Q", len(text)) + text + body + body[slice(*e["data_offsets"])])
c = json.load(open("model/config.json"))
json.dump(dict(c, tie_word_embeddings=False), open("model/config.json", "w"))
PY
expect 0 uc build
expect 0 uc verify out
bytes=$(stat -c %s out/model.safetensors)
[ "$bytes" -le $(((918656 + 1024 * 128) * 4 / 8)) ] || fail "model.safetensors has $bytes bytes"
python3 - <<'PY'
import json
t = json.load(open("out/report/tensors.json"))["coded"]
assert {"model.embed_tokens.weight", "lm_head.weight"} <= set(t), sorted(t)
assert json.load(open("out/report/bench.json"))["kld_mean"] < 0.1
PY
