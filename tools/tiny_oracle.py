#!/usr/bin/env python3
"""Perplexity of a Hugging Face Llama folder in plain numpy, to check the C engine against.

Independent of the engine and of every framework: its own safetensors reader, and a forward pass
written from the definition: RMSNorm with eps inside the root, half-split rotary positions, grouped
query attention, SwiGLU, tied or separate head. Everything in float64 (--float 32: in float32).

    tiny_oracle.py MODEL_DIR TEXT [--ctx N] [--limit WINDOWS] [--float 32|64] [--json]

Protocol `llama`, as llama.cpp's perplexity does it: the tokens of the whole text, no BOS, are cut
into windows of n_ctx that do not overlap, the rest dropped; in each window the logits at positions
n_ctx/2 .. n_ctx-2 are scored against the token that follows: n_ctx/2 - 1 tokens a window.
Perplexity is exp of the mean; the error is that of the mean of all scored tokens, times perplexity.

Needs numpy, and the package tokenizers unless --ids names a file of token ids.
"""
import argparse
import json
import math
import os
import sys

import numpy as np

DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}


def read_safetensors(path, into):
    with open(path, "rb") as f:
        size = int.from_bytes(f.read(8), "little")
        header = json.loads(f.read(size))
    data = np.memmap(path, dtype=np.uint8, mode="r", offset=8 + size)
    for name, e in header.items():
        if name == "__metadata__":
            continue
        a, b = e["data_offsets"]
        x = np.frombuffer(data[a:b].tobytes(), DTYPES[e["dtype"]])
        if e["dtype"] == "BF16":
            x = (x.astype("<u4") << 16).view("<f4")
        into[name] = x.reshape(e["shape"])


def read_model(folder):
    with open(os.path.join(folder, "config.json"), encoding="utf-8") as f:
        c = json.load(f)
    if c["model_type"] != "llama" or c.get("rope_scaling") or c.get("attention_bias") \
            or c.get("mlp_bias") or c.get("hidden_act", "silu") != "silu":
        sys.exit(f"{folder}: not a plain Llama without biases and rope scaling")
    index, w = os.path.join(folder, "model.safetensors.index.json"), {}
    if os.path.exists(index):
        with open(index, encoding="utf-8") as f:
            files = sorted(set(json.load(f)["weight_map"].values()))
    else:
        files = ["model.safetensors"]
    for name in files:
        read_safetensors(os.path.join(folder, name), w)
    return c, w


class Llama:
    def __init__(self, folder, dtype):
        self.c, w = read_model(folder)
        self.w = {k: v.astype(dtype) for k, v in w.items()}
        self.dtype = dtype
        c = self.c
        self.heads = c["num_attention_heads"]
        self.kv_heads = c.get("num_key_value_heads", self.heads)
        self.head_dim = c.get("head_dim") or c["hidden_size"] // self.heads
        tied = c.get("tie_word_embeddings", False)
        self.head = self.w["model.embed_tokens.weight" if tied else "lm_head.weight"]

    def norm(self, x, name):
        r = 1 / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + self.dtype(self.c["rms_norm_eps"]))
        return x * r * self.w[name + ".weight"]

    def rope(self, x):
        """x[time, head, dim]; dimension i turns with i + dim/2, by time * theta^(-2i/dim)."""
        half = self.head_dim // 2
        freq = float(self.c["rope_theta"]) ** (-np.arange(half) * 2.0 / self.head_dim)
        angle = np.outer(np.arange(len(x)), freq)[:, None, :]
        cos, sin = np.cos(angle).astype(self.dtype), np.sin(angle).astype(self.dtype)
        a, b = x[..., :half], x[..., half:]
        return np.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1)

    def attention(self, x, base):
        t, d = len(x), self.head_dim
        q = self.rope((x @ self.w[base + "q_proj.weight"].T).reshape(t, self.heads, d))
        k = self.rope((x @ self.w[base + "k_proj.weight"].T).reshape(t, self.kv_heads, d))
        v = (x @ self.w[base + "v_proj.weight"].T).reshape(t, self.kv_heads, d)
        out = np.empty((t, self.heads, d), self.dtype)
        future = np.triu(np.ones((t, t), bool), 1)
        for h in range(self.heads):
            g = h // (self.heads // self.kv_heads)
            s = q[:, h] @ k[:, g].T / self.dtype(math.sqrt(d))
            s[future] = -np.inf
            s = np.exp(s - s.max(axis=1, keepdims=True))
            out[:, h] = s / s.sum(axis=1, keepdims=True) @ v[:, g]
        return out.reshape(t, self.heads * d) @ self.w[base + "o_proj.weight"].T

    def mlp(self, x, base):
        g = x @ self.w[base + "gate_proj.weight"].T
        u = x @ self.w[base + "up_proj.weight"].T
        with np.errstate(over="ignore"):
            return (g / (1 + np.exp(-g)) * u) @ self.w[base + "down_proj.weight"].T

    def logits(self, ids):
        x = self.w["model.embed_tokens.weight"][ids]
        for i in range(self.c["num_hidden_layers"]):
            base = f"model.layers.{i}."
            x = x + self.attention(self.norm(x, base + "input_layernorm"), base + "self_attn.")
            x = x + self.mlp(self.norm(x, base + "post_attention_layernorm"), base + "mlp.")
        return self.norm(x, "model.norm") @ self.head.T


def window_nll(model, ids):
    """Nats of the scored tokens of one window."""
    first = len(ids) // 2
    z = model.logits(ids)[first:-1].astype(np.float64)
    top = z.max(axis=1)
    total = top + np.log(np.exp(z - top[:, None]).sum(axis=1))
    return total - z[np.arange(len(z)), ids[first + 1:]]


def main():
    ap = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ap.add_argument("model")
    ap.add_argument("text", nargs="?")
    ap.add_argument("--ids", help="file of token ids separated by white space, instead of TEXT")
    ap.add_argument("--ctx", type=int, default=512)
    ap.add_argument("--limit", type=int, default=0, help="score the first windows only")
    ap.add_argument("--float", type=int, choices=(32, 64), default=64)
    ap.add_argument("--logits", help="write the first window's logits to this .npy file")
    ap.add_argument("--json", action="store_true")
    a = ap.parse_args()

    if a.ids:
        with open(a.ids, encoding="ascii") as f:
            ids = [int(x) for x in f.read().split()]
    elif a.text:
        from tokenizers import Tokenizer
        tok = Tokenizer.from_file(os.path.join(a.model, "tokenizer.json"))
        with open(a.text, encoding="utf-8", newline="") as f:
            ids = tok.encode(f.read(), add_special_tokens=False).ids
    else:
        ap.error("TEXT or --ids is needed")
    ids = np.array(ids, np.int64)
    count = len(ids) // a.ctx
    if a.limit:
        count = min(count, a.limit)
    if not count:
        sys.exit(f"{len(ids)} tokens: fewer than one window of {a.ctx}")

    model, nll = Llama(a.model, np.float64 if a.float == 64 else np.float32), []
    if a.logits:
        np.save(a.logits, model.logits(ids[:a.ctx]))
    for w in range(count):
        nll.append(window_nll(model, ids[w * a.ctx:(w + 1) * a.ctx]))
        if not a.json:
            mean = np.mean(np.concatenate(nll))
            print(f"window {w + 1}  nll {nll[-1].sum():.6f}  mean {nll[-1].mean():.6f}"
                  f"  perplexity so far {math.exp(mean):.6f}", flush=True)
    each = np.concatenate(nll)
    ppl = math.exp(each.mean())
    err = ppl * each.std() / math.sqrt(len(each) - 1)
    if a.json:
        print(json.dumps({"protocol": "llama", "n_ctx": a.ctx, "windows": count,
                          "tokens": len(ids), "scored": len(each), "float": a.float,
                          "nll": each.mean(), "perplexity": ppl, "perplexity_error": err,
                          "window_nll": [float(x.sum()) for x in nll]}, indent=2))
    else:
        print(f"protocol llama  n_ctx {a.ctx}  windows {count}  scored tokens {len(each)}"
              f"  nll {each.mean():.8f}  perplexity {ppl:.6f} +/- {err:.6f}")


if __name__ == "__main__":
    main()
