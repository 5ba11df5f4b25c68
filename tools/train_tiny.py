#!/usr/bin/env python3
"""Trains the embedded tiny model: a Llama of 0.9 million weights on the King James Bible.

It makes, from nothing but Debian's package bible-kjv (which brings bible-kjv-text):

  examples/data/kjv-heldout.txt   whole chapters that no step of the training sees
  examples/data/kjv-train.txt     an excerpt of the training chapters, for calibration
  examples/models/tiny/           config.json, tokenizer.json, tokenizer_config.json,
                                  generation_config.json, model.safetensors (bf16)

and prints the figures that examples/models/tiny/README.md quotes, as JSON.

    apt-get install bible-kjv
    pip install jax numpy tokenizers safetensors
    python3 tools/train_tiny.py --out examples/models/tiny --data examples/data

Everything drawn is drawn from --seed. The same machine and library versions give the same
weights; another machine's arithmetic gives another model of the same quality.

The text: one verse a line, without numbers; a chapter is a heading ("Genesis 1") and its verses,
an empty line between chapters; a book is a document, between <|startoftext|> and <|endoftext|>.
Held-out chapters are drawn at random among those that repeat little of any other chapter.
"""
import argparse
import json
import math
import os
import re
import subprocess
import sys
import time

import numpy as np

BOOKS = """Genesis Exodus Leviticus Numbers Deuteronomy Joshua Judges Ruth 1_Samuel 2_Samuel 1_Kings
2_Kings 1_Chronicles 2_Chronicles Ezra Nehemiah Esther Job Psalms Proverbs Ecclesiastes
Song_of_Solomon Isaiah Jeremiah Lamentations Ezekiel Daniel Hosea Joel Amos Obadiah Jonah Micah
Nahum Habakkuk Zephaniah Haggai Zechariah Malachi Matthew Mark Luke John Acts Romans
1_Corinthians 2_Corinthians Galatians Ephesians Philippians Colossians 1_Thessalonians
2_Thessalonians 1_Timothy 2_Timothy Titus Philemon Hebrews James 1_Peter 2_Peter 1_John 2_John
3_John Jude Revelation""".split()
EOS, BOS = 0, 1
SPECIAL = ["<|endoftext|>", "<|startoftext|>"]


# --- text ---------------------------------------------------------------------------------------

def read_chapters(path):
    """[(book number, chapter heading, text)] in the order of the book."""
    if path:
        with open(path, encoding="utf-8") as f:
            lines = f.read().splitlines()
    else:
        lines = subprocess.check_output(["bible", "-f", "Gen1:1-Rev22:21"], text=True).splitlines()
    book, last, chapters = -1, None, []
    for line in lines:
        m = re.match(r"^((?:[123])?[A-Za-z]+)(\d+):(\d+) (.*)$", line)
        if not m:
            sys.exit(f"not a verse as `bible -f` prints it: {line!r}")
        abbrev, chapter, verse, text = m.group(1), int(m.group(2)), int(m.group(3)), m.group(4)
        if abbrev != last:
            book, last = book + 1, abbrev
        if verse == 1:
            chapters.append((book, f"{BOOKS[book].replace('_', ' ')} {chapter}", []))
        chapters[-1][2].append(" ".join(text.split()))
    if book != len(BOOKS) - 1:
        sys.exit(f"{book + 1} books read, {len(BOOKS)} expected")
    return [(b, h, h + "\n\n" + "\n".join(v) + "\n") for b, h, v in chapters]


def grams(text, n=8):
    words = re.findall(r"[a-z]+", text.lower())
    return {tuple(words[i:i + n]) for i in range(len(words) - n + 1)}


def split(chapters, held_bytes, seed):
    """Indices of held-out chapters: random ones, of 2 to 6 kB, at most 5 % found elsewhere."""
    sets = [grams(c[2]) for c in chapters]
    count = {}
    for s in sets:
        for g in s:
            count[g] = count.get(g, 0) + 1
    held, size = [], 0
    for i in np.random.default_rng(seed).permutation(len(chapters)):
        n = len(chapters[i][2].encode())
        if not 2000 <= n <= 6000:
            continue
        if sum(count[g] > 1 for g in sets[i]) > 0.05 * len(sets[i]):
            continue
        held.append(int(i))
        size += n
        if size >= held_bytes:
            break
    return sorted(held)


def excerpt(chapters, held, want_bytes):
    """Training chapters spread evenly over the book, about want_bytes of them."""
    left = [i for i in range(len(chapters)) if i not in set(held)]
    total = sum(len(chapters[i][2].encode()) for i in left)
    step = total / want_bytes
    return [left[int(k * step)] for k in range(int(len(left) / step))]


def write_text(path, chapters, which):
    with open(path, "w", encoding="utf-8", newline="\n") as f:
        f.write("\n".join(chapters[i][2] for i in which))
    return os.path.getsize(path)


# --- tokenizer ----------------------------------------------------------------------------------

def train_tokenizer(texts, vocab):
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    tok = Tokenizer(models.BPE())
    tok.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tok.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=vocab, special_tokens=SPECIAL, show_progress=False,
                                  initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()))
    tok.train_from_iterator(texts, trainer)
    assert tok.get_vocab_size() == vocab
    return tok


# --- model --------------------------------------------------------------------------------------

def make_config(a):
    return {
        "architectures": ["LlamaForCausalLM"], "attention_bias": False, "attention_dropout": 0.0,
        "bos_token_id": BOS, "eos_token_id": EOS, "head_dim": a.hidden // a.heads,
        "hidden_act": "silu", "hidden_size": a.hidden, "initializer_range": 0.02,
        "intermediate_size": a.intermediate, "max_position_embeddings": 512, "mlp_bias": False,
        "model_type": "llama", "num_attention_heads": a.heads, "num_hidden_layers": a.layers,
        "num_key_value_heads": a.kv_heads, "pad_token_id": EOS, "pretraining_tp": 1,
        "rms_norm_eps": 1e-05, "rope_scaling": None, "rope_theta": 10000.0,
        "tie_word_embeddings": True, "torch_dtype": "bfloat16", "transformers_version": "4.46.0",
        "use_cache": True, "vocab_size": a.vocab,
    }


def init_params(c, seed):
    rng = np.random.default_rng(seed)
    h, f, hd = c["hidden_size"], c["intermediate_size"], c["head_dim"]
    q, kv, n = c["num_attention_heads"] * hd, c["num_key_value_heads"] * hd, c["num_hidden_layers"]
    out = 1 / math.sqrt(2 * n)

    def mat(rows, cols, gain=1.0):
        return (rng.standard_normal((rows, cols)) * (0.6 * gain / math.sqrt(cols))).astype("f4")

    p = {"model.embed_tokens.weight": (rng.standard_normal((c["vocab_size"], h)) * .02).astype("f4"),
         "model.norm.weight": np.ones(h, "f4")}
    for i in range(n):
        b = f"model.layers.{i}."
        p[b + "input_layernorm.weight"] = np.ones(h, "f4")
        p[b + "post_attention_layernorm.weight"] = np.ones(h, "f4")
        p[b + "self_attn.q_proj.weight"] = mat(q, h)
        p[b + "self_attn.k_proj.weight"] = mat(kv, h)
        p[b + "self_attn.v_proj.weight"] = mat(kv, h)
        p[b + "self_attn.o_proj.weight"] = mat(h, q, out)
        p[b + "mlp.gate_proj.weight"] = mat(f, h)
        p[b + "mlp.up_proj.weight"] = mat(f, h)
        p[b + "mlp.down_proj.weight"] = mat(h, f, out)
    return p


def forward(c, p, ids):
    """Logits of ids[batch, time], in float32."""
    import jax
    import jax.numpy as jnp
    nb, t = ids.shape
    nh, nkv, hd = c["num_attention_heads"], c["num_key_value_heads"], c["head_dim"]
    freq = c["rope_theta"] ** (-np.arange(0, hd, 2) / hd)
    angle = np.concatenate([np.outer(np.arange(t), freq)] * 2, axis=1)
    cos, sin = np.cos(angle).astype("f4"), np.sin(angle).astype("f4")
    mask = np.where(np.tril(np.ones((t, t), bool)), 0.0, -1e30).astype("f4")

    def norm(x, name):
        r = jax.lax.rsqrt(jnp.mean(x * x, -1, keepdims=True) + c["rms_norm_eps"])
        return x * r * p[name + ".weight"]

    def rope(x):                                                  # [batch, head, time, hd]
        rot = jnp.concatenate([-x[..., hd // 2:], x[..., :hd // 2]], -1)
        return x * cos + rot * sin

    def lin(x, name):
        return x @ p[name + ".weight"].T

    x = p["model.embed_tokens.weight"][ids]
    for i in range(c["num_hidden_layers"]):
        b = f"model.layers.{i}."
        y = norm(x, b + "input_layernorm")
        q = lin(y, b + "self_attn.q_proj").reshape(nb, t, nh, hd).transpose(0, 2, 1, 3)
        k = lin(y, b + "self_attn.k_proj").reshape(nb, t, nkv, hd).transpose(0, 2, 1, 3)
        v = lin(y, b + "self_attn.v_proj").reshape(nb, t, nkv, hd).transpose(0, 2, 1, 3)
        q, k = rope(q).reshape(nb, nkv, nh // nkv * t, hd), rope(k)
        s = (q @ k.transpose(0, 1, 3, 2)).reshape(nb, nkv, nh // nkv, t, t) / math.sqrt(hd) + mask
        w = jax.nn.softmax(s, -1).reshape(nb, nkv, nh // nkv * t, t)
        o = (w @ v).reshape(nb, nh, t, hd).transpose(0, 2, 1, 3).reshape(nb, t, nh * hd)
        x = x + lin(o, b + "self_attn.o_proj")
        y = norm(x, b + "post_attention_layernorm")
        y = jax.nn.silu(lin(y, b + "mlp.gate_proj")) * lin(y, b + "mlp.up_proj")
        x = x + lin(y, b + "mlp.down_proj")
    return norm(x, "model.norm") @ p["model.embed_tokens.weight"].T


def nll(c, p, ids):
    """Negative log likelihood of ids[:, 1:] given what is before: [batch, time - 1]."""
    import jax
    import jax.numpy as jnp
    logits = forward(c, p, ids[:, :-1])
    top = jnp.take_along_axis(logits, ids[:, 1:, None], -1)[..., 0]
    return jax.nn.logsumexp(logits, -1) - top


def train(c, p, stream, a):
    import jax
    import jax.numpy as jnp
    decay = {k: v.ndim == 2 for k, v in p.items()}

    def rate(step):
        warm = jnp.minimum(1.0, (step + 1) / a.warmup)
        x = jnp.clip((step - a.warmup) / max(1, a.steps - a.warmup), 0.0, 1.0)
        return a.lr * warm * (0.02 + 0.98 * 0.5 * (1 + jnp.cos(math.pi * x)))

    @jax.jit
    def update(p, m, v, ids, step):
        loss, g = jax.value_and_grad(lambda p: jnp.mean(nll(c, p, ids)))(p)
        size = jnp.sqrt(sum(jnp.sum(x * x) for x in g.values()))
        scale = jnp.minimum(1.0, 1.0 / (size + 1e-6))
        lr, t = rate(step), step + 1
        np_, nm, nv = {}, {}, {}
        for k in p:
            d = g[k] * scale
            nm[k] = 0.9 * m[k] + 0.1 * d
            nv[k] = 0.95 * v[k] + 0.05 * d * d
            u = (nm[k] / (1 - 0.9 ** t)) / (jnp.sqrt(nv[k] / (1 - 0.95 ** t)) + 1e-8)
            np_[k] = p[k] - lr * (u + (a.decay * p[k] if decay[k] else 0.0))
        return np_, nm, nv, loss

    p = {k: jnp.asarray(x) for k, x in p.items()}
    m = {k: jnp.zeros_like(x) for k, x in p.items()}
    v = {k: jnp.zeros_like(x) for k, x in p.items()}
    rng = np.random.default_rng(a.seed + 1)
    start, mean, long_from = time.time(), 0.0, int(a.steps * a.short_share)
    for step in range(a.steps):
        t = a.context if step >= long_from else a.context // 2
        at = rng.integers(0, len(stream) - t - 1, a.batch_tokens // t)
        ids = np.stack([stream[i:i + t + 1] for i in at])
        p, m, v, loss = update(p, m, v, ids, jnp.float32(step))
        mean = mean + (float(loss) - mean) / (step % a.log + 1) if step % a.log else float(loss)
        if (step + 1) % a.log == 0 or step + 1 == a.steps:
            print(f"step {step + 1}/{a.steps}  loss {mean:.4f}  {time.time() - start:.0f} s",
                  file=sys.stderr, flush=True)
    return {k: np.asarray(x) for k, x in p.items()}


# --- files --------------------------------------------------------------------------------------

def to_bf16(x):
    """Nearest, ties to even; the values used here are finite."""
    u = np.ascontiguousarray(x, dtype="<f4").view("<u4")
    return ((u + 0x7FFF + ((u >> 16) & 1)) >> 16).astype("<u2")


def from_bf16(x):
    return (x.astype("<u4") << 16).view("<f4")


def write_safetensors(path, tensors):
    header, off = {"__metadata__": {"format": "pt"}}, 0
    for name in sorted(tensors):
        n = tensors[name].nbytes
        header[name] = {"dtype": "BF16", "shape": list(tensors[name].shape),
                        "data_offsets": [off, off + n]}
        off += n
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path + ".tmp", "wb") as f:
        f.write(len(text).to_bytes(8, "little") + text)
        for name in sorted(tensors):
            f.write(tensors[name].tobytes())
    os.replace(path + ".tmp", path)


def write_json(path, value):
    with open(path, "w", encoding="utf-8") as f:
        json.dump(value, f, indent=2)
        f.write("\n")


# --- figures ------------------------------------------------------------------------------------

def evaluate(c, p, ids, context):
    """Total nats over ids[1:]: windows that overlap by half, each token scored once, late."""
    import jax
    f = jax.jit(lambda p, x: nll(c, p, x))
    total, done, half = 0.0, 1, context // 2
    for start in range(0, len(ids), half):
        x = ids[start:start + context + 1]
        if start + len(x) <= done:
            break
        pad = np.concatenate([x, np.zeros(context + 1 - len(x), x.dtype)])[None]
        each = np.asarray(f(p, pad), np.float64)[0][:len(x) - 1]
        total += each[done - start - 1:].sum()
        done = start + len(x)
    assert done == len(ids)
    return total


def unigram(train_symbols, eval_symbols, size):
    """Total nats of eval_symbols under add-one counts of train_symbols."""
    n = np.bincount(train_symbols, minlength=size) + 1.0
    return float(-np.log(n / n.sum())[eval_symbols].sum())


def sample(c, p, tok, prompt, count, temperature, seed):
    import jax
    rng, window = np.random.default_rng(seed), 256
    f = jax.jit(lambda p, x: forward(c, p, x))
    ids = [BOS] + tok.encode(prompt).ids
    for _ in range(count):
        x = ids[-window:]
        pad = np.array(x + [0] * (window - len(x)), np.int32)[None]
        z = np.asarray(f(p, pad), np.float64)[0, len(x) - 1] / temperature
        w = np.exp(z - z.max())
        w[[EOS, BOS]] = 0
        ids.append(int(rng.choice(len(w), p=w / w.sum())))
    return tok.decode(ids[1:])


def main():
    ap = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ap.add_argument("--out", default="examples/models/tiny", help="folder of the model")
    ap.add_argument("--data", default="examples/data", help="folder of the two texts")
    ap.add_argument("--text", help="file with what `bible -f Gen1:1-Rev22:21` prints")
    ap.add_argument("--keep-tokenizer", action="store_true", help="use OUT/tokenizer.json as it is")
    ap.add_argument("--steps", type=int, default=5000)
    ap.add_argument("--batch-tokens", type=int, default=2048)
    ap.add_argument("--context", type=int, default=512)
    ap.add_argument("--short-share", type=float, default=0.7,
                    help="share of the steps, from the first, on windows of half the context")
    ap.add_argument("--lr", type=float, default=3e-3)
    ap.add_argument("--decay", type=float, default=0.1)
    ap.add_argument("--warmup", type=int, default=100)
    ap.add_argument("--hidden", type=int, default=128)
    ap.add_argument("--intermediate", type=int, default=384)
    ap.add_argument("--layers", type=int, default=4)
    ap.add_argument("--heads", type=int, default=4)
    ap.add_argument("--kv-heads", type=int, default=2)
    ap.add_argument("--vocab", type=int, default=1024)
    ap.add_argument("--held-bytes", type=int, default=58000)
    ap.add_argument("--excerpt-bytes", type=int, default=120000)
    ap.add_argument("--seed", type=int, default=1611)
    ap.add_argument("--log", type=int, default=100, help="steps between two lines of progress")
    a = ap.parse_args()

    os.makedirs(a.out, exist_ok=True)
    os.makedirs(a.data, exist_ok=True)
    chapters = read_chapters(a.text)
    held = split(chapters, a.held_bytes, a.seed)
    kept = [i for i in range(len(chapters)) if i not in set(held)]
    held_path = os.path.join(a.data, "kjv-heldout.txt")
    held_bytes = write_text(held_path, chapters, held)
    write_text(os.path.join(a.data, "kjv-train.txt"), chapters,
               excerpt(chapters, held, a.excerpt_bytes))

    tok_path = os.path.join(a.out, "tokenizer.json")
    if a.keep_tokenizer:
        from tokenizers import Tokenizer
        tok = Tokenizer.from_file(tok_path)
    else:
        tok = train_tokenizer([chapters[i][2] for i in kept], a.vocab)
        tok.save(tok_path)
    config = make_config(a)
    write_json(os.path.join(a.out, "config.json"), config)
    write_json(os.path.join(a.out, "generation_config.json"),
               {"_from_model_config": True, "bos_token_id": BOS, "eos_token_id": EOS,
                "pad_token_id": EOS, "transformers_version": "4.46.0"})
    write_json(os.path.join(a.out, "tokenizer_config.json"), {
        "add_prefix_space": False,
        "added_tokens_decoder": {str(i): {
            "content": s, "lstrip": False, "normalized": False, "rstrip": False,
            "single_word": False, "special": True} for i, s in enumerate(SPECIAL)},
        "bos_token": SPECIAL[BOS], "clean_up_tokenization_spaces": False,
        "eos_token": SPECIAL[EOS], "model_max_length": 512, "pad_token": SPECIAL[EOS],
        "tokenizer_class": "PreTrainedTokenizerFast", "unk_token": None})

    books = [[] for _ in BOOKS]
    for i in kept:
        books[chapters[i][0]].append(chapters[i][2])
    stream = []
    for book in books:
        stream += [BOS] + (tok.encode("\n".join(book)).ids if book else []) + [EOS]
    stream = np.array(stream, np.int32)
    held_text = open(held_path, encoding="utf-8").read()
    held_ids = np.array(tok.encode(held_text).ids, np.int32)
    print(f"training tokens {len(stream)}, held-out tokens {len(held_ids)}", file=sys.stderr)

    start = time.time()
    p = train(config, init_params(config, a.seed), stream, a)
    bf = {k: to_bf16(v) for k, v in p.items()}
    write_safetensors(os.path.join(a.out, "model.safetensors"), bf)
    q = {k: from_bf16(v) for k, v in bf.items()}

    raw = np.frombuffer("\n".join(chapters[i][2] for i in kept).encode(), np.uint8)
    nats32, nats = (evaluate(config, x, held_ids, a.context) for x in (p, q))
    part = stream[:len(held_ids)]
    bits = 1 / (math.log(2) * held_bytes)
    print(json.dumps({
        "weights": sum(v.size for v in p.values()), "steps": a.steps,
        "seconds": round(time.time() - start), "training_bytes": int(raw.size),
        "training_tokens": len(stream), "tokens_seen": a.steps * a.batch_tokens,
        "heldout_bytes": held_bytes, "heldout_tokens": len(held_ids),
        "heldout_chapters": [chapters[i][1] for i in held],
        "perplexity_per_token": math.exp(nats / (len(held_ids) - 1)),
        "bits_per_byte": nats * bits, "bits_per_byte_before_rounding": nats32 * bits,
        "training_text_nats_per_token": evaluate(config, q, part, a.context) / (len(part) - 1),
        "heldout_nats_per_token": nats / (len(held_ids) - 1),
        "unigram_token_bits_per_byte": unigram(stream, held_ids, a.vocab) * bits,
        "unigram_token_perplexity": math.exp(unigram(stream, held_ids, a.vocab) / len(held_ids)),
        "unigram_byte_bits_per_byte": unigram(
            raw, np.frombuffer(held_text.encode(), np.uint8), 256) * bits,
        "sample": sample(config, q, tok, "And it came to pass", 160, 0.8, a.seed),
    }, indent=2))


if __name__ == "__main__":
    main()
