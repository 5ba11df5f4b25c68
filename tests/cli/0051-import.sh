#!/bin/sh
# import makes a Hugging Face folder of a GGUF file, whole or not at all, and says what it cannot read.
. "$(dirname "$0")/lib.sh"
python3 - <<'PY'
# a Llama of one layer, 8 wide, two heads of 4, 6 tokens; F16 weights
import struct
def s(t): return struct.pack("<Q", len(t.encode())) + t.encode()
def u32(k, v): return s(k) + struct.pack("<II", 4, v)
def f32(k, v): return s(k) + struct.pack("<If", 6, v)
def text(k, v): return s(k) + struct.pack("<I", 8) + s(v)
def strings(k, v): return s(k) + struct.pack("<IIQ", 9, 8, len(v)) + b"".join(map(s, v))
def make(name, arch):
    kv = [text("general.architecture", arch), u32("llama.block_count", 1), u32("llama.embedding_length", 8),
          u32("llama.feed_forward_length", 16), u32("llama.attention.head_count", 2), u32("llama.attention.head_count_kv", 1),
          u32("llama.context_length", 64), f32("llama.attention.layer_norm_rms_epsilon", 1e-5), text("tokenizer.ggml.model", "gpt2"),
          text("tokenizer.ggml.pre", "gpt-2"), strings("tokenizer.ggml.tokens", ["<e>", "a", "b", "ab", "c", "d"]),
          strings("tokenizer.ggml.merges", ["a b"]), s("tokenizer.ggml.token_type") + struct.pack("<IIQ6i", 9, 5, 6, 3, 1, 1, 1, 1, 1)]
    shapes = {"token_embd": (8, 6), "output_norm": (8,), "blk.0.attn_norm": (8,), "blk.0.ffn_norm": (8,), "blk.0.attn_q": (8, 8),
              "blk.0.attn_k": (8, 4), "blk.0.attn_v": (8, 4), "blk.0.attn_output": (8, 8), "blk.0.ffn_gate": (8, 16),
              "blk.0.ffn_up": (8, 16), "blk.0.ffn_down": (16, 8)}
    info, data = b"", b""
    for n, d in shapes.items():
        info += s(n + ".weight") + struct.pack(f"<I{len(d)}QIQ", len(d), *d, 1, len(data))
        count = d[0] * (d[1] if len(d) > 1 else 1)
        data += b"".join(struct.pack("<e", i % 7 / 8) for i in range(count))
        data += bytes(-len(data) % 32)
    head = b"GGUF" + struct.pack("<IQQ", 3, len(shapes), len(kv)) + b"".join(kv) + info
    open(name, "wb").write(head + bytes(-len(head) % 32) + data)
make("good.gguf", "llama")
make("gemma.gguf", "gemma")
PY
expect 0 uc import good.gguf deep/down/model
says "11 tensors, 648 weights"
[ "$(printf 'ab<e>c' | uc tokenize deep/down/model)" = "3 0 4" ] || fail "the tokenizer differs"
expect 0 uc import --json good.gguf second
python3 - <<'PY'
import hashlib, json
a, b = json.load(open(".out")), open("second/model.safetensors", "rb").read()
m = a["model.safetensors"]
assert a["weights"] == 648 and m["size_bytes"] == len(b) and m["sha256"] == hashlib.sha256(b).hexdigest()
c = json.load(open("second/config.json"))
assert c["model_type"] == "llama" and c["tie_word_embeddings"] and c["rms_norm_eps"] == 1e-5 and c["vocab_size"] == 6
PY
cmp -s deep/down/model/model.safetensors second/model.safetensors || fail "two imports differ"
expect 2 uc import good.gguf second
says "exists already"
expect 3 uc import gemma.gguf third
says 'architecture "gemma" is not supported'
echo rubbish >bad.gguf
expect 3 uc import bad.gguf third
says "not a GGUF file"
head -c 900 good.gguf >cut.gguf
expect 3 uc import cut.gguf third
says "cut.gguf"
expect 1 uc import nowhere.gguf third
expect 2 uc import good.gguf
ls -d third* >/dev/null 2>&1 && fail "something was left behind"
exit 0
