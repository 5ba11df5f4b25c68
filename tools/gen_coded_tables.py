#!/usr/bin/env python3
"""Makes formats/coded_tables.c: frequencies of the coded-weights stream (docs/format.md).

Model of one weight in units of its step: a Gaussian whose scale is itself lognormal with spread
tau (the table family, "shape"), rms sigma on a grid of quarter octaves (the class). It is quantized
to integers by the rule that the quantizer uses: |u| is rounded down where the squared error
that this adds costs less than LAMBDA times the bits that it saves. LAMBDA = 2 ln 2 / 12 is the
slope of an entropy-coded uniform quantizer at high rate; there the integers themselves are the
best reconstruction points.

The output is a constant of the format: run this again only for a new stream version.
"""

import math
import struct

BITS = 14
K_MAX = 31
CLASSES = 32
CLASS_OF_ONE = 20  # sigma = 2 ** ((class - 20) / 4)
TAUS = (0.06, 0.12, 0.18, 0.25, 0.33, 0.43, 0.60, 0.90)
LAMBDA = 2 * math.log(2) / 12


def mixture(tau, n=61, span=4.5):
    xs = [span * (2 * i / (n - 1) - 1) for i in range(n)]
    weights = [math.exp(-x * x / 2) for x in xs]
    total = sum(weights)
    scales = [math.exp(tau * x) for x in xs]
    rms = math.sqrt(sum(w * s * s for w, s in zip(weights, scales)) / total)
    return [(w / total, s / rms) for w, s in zip(weights, scales)]


def tail(mix, sigma, a):
    """P(u > a)"""
    return sum(w * 0.5 * math.erfc(a / (s * sigma * math.sqrt(2))) for w, s in mix)


def masses(tau, sigma):
    """P(k) for k = 0..K_MAX (one sign), and P(|k| > K_MAX)."""
    mix = mixture(tau)
    t = [i - 0.5 for i in range(K_MAX + 2)]  # t[k]: |u| at which k begins
    for _ in range(8):
        q = [tail(mix, sigma, t[k]) for k in range(1, K_MAX + 2)]
        p = [1 - 2 * q[0]] + [q[i] - q[i + 1] for i in range(K_MAX)]
        bits = [-math.log2(max(x, 1e-7)) for x in p]
        for k in range(1, K_MAX + 1):
            t[k] = min(max(k - 0.5 + LAMBDA / 2 * (bits[k] - bits[k - 1]), k - 0.5), k + 0.45)
    return p, 2 * q[K_MAX]


def frequencies(tau, sigma):
    p, escape = masses(tau, sigma)
    size = 1 << BITS
    f = [round(size * x) for x in p]
    last = max([k for k in range(1, K_MAX + 1) if f[k] > 0], default=1)
    f[1] = max(f[1], 1)
    for k in range(1, last):
        f[k] = max(f[k], 1)
    lost = escape + 2 * sum(p[last + 1:])
    f.append(max(1, round(size * lost)))
    f[0] += size - (f[0] + 2 * sum(f[1:-1]) + f[-1])
    assert f[0] > 0
    return f


def main():
    print("/* Constants of the coded-weights stream: made by tools/gen_coded_tables.py. */")
    print("/* clang-format off */")
    print('#include "formats/coded_tables.h"\n')
    print("const uint16_t uc_coded_freq[UC_CODED_SHAPES][UC_CODED_CLASSES][UC_CODED_K + 2] = {")
    for tau in TAUS:
        print(f"    {{ /* spread {tau:.2f} */")
        for c in range(CLASSES):
            f = frequencies(tau, 2.0 ** ((c - CLASS_OF_ONE) / 4))
            line = "     {"
            for i, x in enumerate(f):
                word = f"{x}" + (", " if i + 1 < len(f) else "},")
                if len(line) + len(word.rstrip()) > 100:
                    print(line.rstrip())
                    line = "      "
                line += word
            print(line)
        print("    },")
    print("};\n")
    print("const uint32_t uc_coded_pow[32] = {")
    for i in range(0, 32, 8):
        powers = [2.0 ** (j / 32) for j in range(i, i + 8)]
        words = [struct.unpack("<I", struct.pack("<f", x))[0] for x in powers]
        print("    " + " ".join(f"0x{w:08x}," for w in words))
    print("};")


if __name__ == "__main__":
    main()
