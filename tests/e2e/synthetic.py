"""A Llama-architecture checkpoint with random weights of a given size, made in a moment and without
any package: for what depends on sizes only."""
import json
import random
import shutil

import e2e


def random_bf16(rng, n, high=0x3C):
    """n numbers of random sign and mantissa, of magnitude 2^-7 to 2^-5 (high 0x3C)."""
    signs = bytes((b & 0x80) | high for b in range(256))
    out = bytearray(2 * n)
    out[0::2] = rng.randbytes(n)
    out[1::2] = rng.randbytes(n).translate(signs)
    return bytes(out)


def make(folder, layers, hidden, intermediate, heads=4, kv_heads=2, seed=1):
    """The tokenizer of the tiny model (1,024 tokens), tied embeddings. Layer k is the same whatever
    the depth."""
    tiny = e2e.SRC / "examples/models/tiny"
    folder.mkdir(parents=True)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(tiny / name, folder / name)
    config = json.loads((tiny / "config.json").read_text(encoding="utf-8"))
    config.update(hidden_size=hidden, intermediate_size=intermediate, num_hidden_layers=layers,
                  num_attention_heads=heads, num_key_value_heads=kv_heads, head_dim=hidden // heads)
    (folder / "config.json").write_text(json.dumps(config, indent=1), encoding="utf-8")
    head_dim = hidden // heads
    shapes = {"self_attn.q_proj": (hidden, hidden), "self_attn.k_proj": (kv_heads * head_dim, hidden),
              "self_attn.v_proj": (kv_heads * head_dim, hidden), "self_attn.o_proj": (hidden, hidden),
              "mlp.gate_proj": (intermediate, hidden), "mlp.up_proj": (intermediate, hidden),
              "mlp.down_proj": (hidden, intermediate)}
    one = ("BF16", [hidden], b"\x80\x3f" * hidden)
    rng = random.Random(seed)
    tensors = {"model.embed_tokens.weight":
               ("BF16", [config["vocab_size"], hidden],
                random_bf16(rng, config["vocab_size"] * hidden)), "model.norm.weight": one}
    for i in range(layers):
        at = f"model.layers.{i}."
        tensors[at + "input_layernorm.weight"] = tensors[at + "post_attention_layernorm.weight"] = one
        for name, (rows, cols) in shapes.items():
            tensors[f"{at}{name}.weight"] = ("BF16", [rows, cols], random_bf16(rng, rows * cols))
    e2e.write_safetensors(folder / "model.safetensors", tensors)
    return sum(len(data) for _, _, data in tensors.values())
