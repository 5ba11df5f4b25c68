#!/bin/sh
# A source that cannot be compressed is refused from its headers: one message with a next step, exit
# code 3 (2 when it is not there), nothing written.
. "$(dirname "$0")/lib.sh"
small_project
refuse() { # CODE 'what it must say'...: builds with what model/ holds, then puts model/ back
    code=$1
    shift
    expect "$code" uc build
    says "error: "
    says "fix:"
    for text in "$@"; do says "$text"; done
    [ ! -e out ] || fail "a folder was left"
    rm -rf model
    cp -r "$UC_SRC/examples/models/tiny" model
}
config() { # 'python that changes c'
    python3 - "$1" <<'PY'
import json, sys
c = json.load(open("model/config.json"))
exec(sys.argv[1])
json.dump(c, open("model/config.json", "w"))
PY
}
tensors() { # 'python that changes t: {name: [dtype, shape, bytes]}'
    python3 - "$1" <<'PY'
import json, struct, sys
p = "model/model.safetensors"
data = open(p, "rb").read()
n = struct.unpack("<Q", data[:8])[0]
h, body = json.loads(data[8:8 + n]), data[8 + n:]
h.pop("__metadata__", None)
t = {k: [v["dtype"], v["shape"], body[v["data_offsets"][0]:v["data_offsets"][1]]] for k, v in h.items()}
exec(sys.argv[1])
head, at = {"__metadata__": {"format": "pt"}}, 0
for k, (dtype, shape, b) in t.items():
    head[k] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + len(b)]}
    at += len(b)
text = json.dumps(head).encode()
open(p, "wb").write(struct.pack("<Q", len(text)) + text + b"".join(v[2] for v in t.values()))
PY
}
header() { # 'python that changes the header's text s'
    python3 - "$1" <<'PY'
import struct, sys
p = "model/model.safetensors"
data = open(p, "rb").read()
n = struct.unpack("<Q", data[:8])[0]
s, body, size = data[8:8 + n].decode(), data[8 + n:], None
exec(sys.argv[1])
open(p, "wb").write(struct.pack("<Q", len(s) if size is None else size) + s.encode() + body)
PY
}
mv model away
expect 2 uc build
says "model"
mv away model
rm model/config.json
expect 2 uc build || true
says "config.json"
rm -rf model && cp -r "$UC_SRC/examples/models/tiny" model
config 'c.clear(); c.update(architectures=["ResNetForImageClassification"], model_type="resnet")'
refuse 3 "resnet"
config 'c.update(architectures=["T5ForConditionalGeneration"], model_type="t5", is_encoder_decoder=True)'
refuse 3 "t5"
config 'c.update(architectures=["BertForMaskedLM"], model_type="bert")'
refuse 3 "bert"
config 'c.update(architectures=["MambaForCausalLM"], model_type="mamba")'
refuse 3 "mamba"
config 'c.clear(); c.update(model_type="gcn", num_node_features=3)'
refuse 3
config 'c["quantization_config"] = {"quant_method": "awq", "bits": 4}'
refuse 3 "already quantized" "awq"
config 'c["model_type"] = "brandnew"; c["architectures"] = ["BrandnewForCausalLM"]'
refuse 3 "brandnew"
tensors 't["model.norm.weight"][2] = b"\xff\x7f" * 128'
expect 3 uc build
says "NaN"
says "model.norm.weight"
rm -rf model && cp -r "$UC_SRC/examples/models/tiny" model
tensors 'del t["model.layers.1.mlp.up_proj.weight"]'
refuse 3 "model.layers.1.mlp.up_proj.weight"
tensors 'v = t["model.layers.1.mlp.up_proj.weight"]; v[1] = v[1][::-1]'
refuse 3 "model.layers.1.mlp.up_proj.weight"
tensors 't["model.layers.0.mlp.up_proj.qweight"] = ["I32", [1], b"1234"]'
refuse 3
header 'size = 1 << 60'
refuse 3 "model.safetensors"
header 's = s.replace("[0,", "[2,", 1)'
refuse 3 "model.safetensors"
header 's = s[:-1] + s[s.index(",", 60):] if False else "{" + s[1:s.index("}}") + 2] + "," + s[1:]'
refuse 3 "model.safetensors"
python3 - <<'PY'
import json
t = json.load(open("model/tokenizer.json"))
t["model"]["type"] = "Unigram"
json.dump(t, open("model/tokenizer.json", "w"))
PY
expect 3 uc build
says "Unigram"
[ ! -e out ] || fail "a folder was left"
rm -rf model && mkdir model && cp "$UC_SRC/examples/models/tiny/config.json" model && touch model/pytorch_model.bin
expect 3 uc build
says "pickle"
