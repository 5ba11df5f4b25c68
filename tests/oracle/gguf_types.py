#!/usr/bin/env python3
"""The digests of tests/unit/test_gguf.c, computed by the Python package `gguf`.

For every block type 64 blocks of fixed pseudo-random bytes are dequantized (with scales made finite);
the SHA-256 of the f32 result must be the one in the C test. Exit 77 when the package is not there.
"""
import hashlib
import os
import re
import sys

try:
    import numpy as np
    from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType as T
    from gguf.quants import dequantize
except ImportError as e:
    print(f"SKIP: {e} (pip install numpy gguf)")
    sys.exit(77)

# where the half-precision scales of a block are
HALVES = {"F16": [0], "Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0], "Q2_K": [80, 82], "Q3_K": [108],
          "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208], "BF16": [0], "F32": [2]}


def blocks(name):
    size = GGML_QUANT_SIZES[T[name]][1]
    state, out = 1, bytearray()
    for i in range(64 * size):
        state = (state * 1103515245 + 12345) & 0xffffffff
        b = state >> 16 & 0xff
        if any(i % size == at + 1 for at in HALVES[name]):
            b &= 0xbf  # a smaller exponent: neither NaN nor infinite
        out.append(b)
    return np.frombuffer(bytes(out), np.uint8)


source = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../unit/test_gguf.c")
with open(source, encoding="utf-8") as f:
    text = f.read()
bad = 0
for name in HALVES:
    raw = blocks(name)
    if name == "F32":
        y = raw.view(np.float32)
    elif name == "F16":
        y = raw.view(np.float16).astype(np.float32)
    else:
        y = dequantize(raw.reshape(64, -1), T[name]).astype(np.float32)
    digest = hashlib.sha256(np.ascontiguousarray(y).tobytes()).hexdigest()
    m = re.search(r'\{"' + name + r'", \d+, \{[^}]*\},\s*"([0-9a-f@]*)"\}', text)
    if len(sys.argv) > 1 and sys.argv[1] == "--write" and m:
        text = text[:m.start(1)] + digest + text[m.end(1):]
    elif not m or m[1] != digest:
        bad += 1
        print(f"{name}: the package gives {digest}, the test has {m[1] if m else 'nothing'}")
if len(sys.argv) > 1 and sys.argv[1] == "--write":
    with open(source, "w", encoding="utf-8") as f:
        f.write(text)
print(f"{len(HALVES)} types, {bad} differ")
sys.exit(1 if bad else 0)
