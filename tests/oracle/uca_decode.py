#!/usr/bin/env python3
"""Decodes a UCA1 stream as docs/format.md defines it, and nothing else: a second implementation.

    uca_decode.py STREAM OUT      bf16 rows of the whole matrix
    uca_decode.py --self-test     needs the `uca_sample` program (first argument after it)
"""

import pathlib
import re
import struct
import subprocess
import sys
import tempfile
import zlib


def constants():
    source = pathlib.Path(__file__).resolve().parents[2] / "formats/coded_tables.c"
    text = re.sub(r"/\*.*?\*/", "", source.read_text(), flags=re.S)
    freq, power = text.split("uc_coded_pow")
    numbers = [int(x) for x in re.findall(r"\b\d+\b", freq[freq.index("= {"):])]
    assert len(numbers) == 8 * 32 * 33
    rows = [numbers[i:i + 33] for i in range(0, len(numbers), 33)]
    tables = [rows[s * 32:s * 32 + 32] for s in range(8)]
    return tables, [int(x, 16) for x in re.findall(r"0x[0-9a-f]+", power)]


TABLES, POW = constants()


class Unit:
    """A coded unit: states, then words."""

    def __init__(self, data, lanes):
        self.x = list(struct.unpack_from(f"<{lanes}I", data))
        self.words = struct.unpack(f"<{(len(data) - 4 * lanes) // 2}H", data[4 * lanes:])
        self.next, self.lanes, self.i = 0, lanes, 0

    def leave(self, lane, start, freq):
        x = self.x[lane]
        x = freq * (x >> 14) + (x & 16383) - start
        if x < 65536:
            x = x << 16 | self.words[self.next]
            self.next += 1
        self.x[lane] = x

    def raw(self, lane, bits):
        value, done = 0, 0
        while done < bits:
            c = min(12, bits - done)
            v = (self.x[lane] & 16383) >> (14 - c)
            self.leave(lane, v << (14 - c), 1 << (14 - c))
            value |= v << done
            done += c
        return value

    def symbol(self, lane, f):
        slot, start = self.x[lane] & 16383, 0
        for k in list(range(-31, 32)) + [None]:
            freq = f[32] if k is None else f[abs(k)]
            if slot < start + freq:
                self.leave(lane, start, freq)
                return k
            start += freq
        raise ValueError("frequencies do not add up")

    def integer(self, shape, s):
        lane = self.i % self.lanes
        self.i += 1
        c, shift = max(s, 0), 0
        if s > 31:
            shift = min((s - 28) // 4, 20)
            c = min(s - 4 * shift, 31)
        f = TABLES[shape][c]
        q = self.symbol(lane, f)
        if q is None:
            b = self.raw(lane, 5)
            q = max(k for k in range(32) if f[k]) + (1 << b) + self.raw(lane, b)
            if self.raw(lane, 1):
                q = -q
        return (q << shift) + self.raw(lane, shift) - (1 << (shift - 1)) if shift else q

    def end(self):
        assert self.next == len(self.words) and all(x == 65536 for x in self.x), "unit does not end"


def f32(x):
    return struct.unpack("<f", struct.pack("<f", x))[0]


def power(e):
    return struct.unpack("<f", struct.pack("<I", POW[e % 32] + (e // 32) * (1 << 23)))[0]


def bf16(x):
    bits = struct.unpack("<I", struct.pack("<f", x))[0]
    return (bits + 0x7FFF + (bits >> 16 & 1)) >> 16


def side_information(data, m, n):
    unit, arrays = Unit(data[16:], 1), []
    for a, count in enumerate((n, n, m, m)):
        flags, table, base = struct.unpack_from("<BBh", data, 4 * a)
        last, values = base, []
        for i in range(count):
            z = last + unit.integer(table >> 5, table & 31)
            steps = (z << (flags >> 2 & 7)) + (flags >> 5)
            values.append(z - (arrays[-1][i] + 4) // 8 if flags & 2 else steps)
            if flags & 1:
                last = z
        arrays.append(values)
    unit.end()
    return arrays


def decode(s):
    head = struct.unpack_from("<4sHBBIIIiII", s)
    magic, version, mode, shape, m, n, chunk_rows, _, side_len, crc = head
    assert magic == b"UCA1" and version == 1 and mode in (0, 255)
    n_chunks = -(-m // chunk_rows)
    side = 32 + 8 * n_chunks
    assert zlib.crc32(s[32:side + side_len], zlib.crc32(s[:28])) == crc
    chunks, at = [], side + side_len
    for k in range(n_chunks):
        size, crc = struct.unpack_from("<II", s, 32 + 8 * k)
        chunks.append(s[at:at + size])
        assert zlib.crc32(chunks[-1]) == crc
        at += size
    assert at == len(s)
    if mode == 255:
        return m, n, b"".join(chunks)
    col_step, col_class, row_step, row_class = side_information(s[side:side + side_len], m, n)
    columns, out = [power(e) for e in col_step], []
    for k, chunk in enumerate(chunks):
        unit = Unit(chunk, 4)
        for o in range(k * chunk_rows, min(m, (k + 1) * chunk_rows)):
            row = power(row_step[o])
            for j in range(n):
                code = unit.integer(shape, row_class[o] + col_class[j])
                out.append(bf16(f32(code * f32(row * columns[j]))))
        unit.end()
    return m, n, struct.pack(f"<{len(out)}H", *out)


def self_test(program):
    """The program writes streams of made-up matrices and what its own reader makes of them."""
    with tempfile.TemporaryDirectory() as d:
        subprocess.run([program, d], check=True)
        streams = sorted(pathlib.Path(d).glob("*.uca"))
        assert streams, "no streams were written"
        for path in streams:
            m, n, rows = decode(path.read_bytes())
            if rows != path.with_suffix(".bf16").read_bytes():
                sys.exit(f"{path.name}: {m} x {n}: the two decoders differ")
            print(f"{path.name}: {m} x {n} weights, equal")


if __name__ == "__main__":
    if len(sys.argv) == 3 and sys.argv[1] == "--self-test":
        self_test(sys.argv[2])
    elif len(sys.argv) == 3:
        pathlib.Path(sys.argv[2]).write_bytes(decode(pathlib.Path(sys.argv[1]).read_bytes())[2])
    else:
        sys.exit(__doc__)
