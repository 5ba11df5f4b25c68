#!/usr/bin/env python3
"""Ids of real texts by real tokenizers: equal to the digests in tests/golden/tokenizer_ids.json, and, when
the package is there, to what the `tokenizers` package gives now.

The data lie under $UC_TEST_DATA (default ../shared/data beside the repository): calibration/*, text/*,
tokenizers/*.json.xz; SmolLM2 under its models/ or $UC_DATA/models. What is not there is skipped, and said.
usage: tokenizer_data.py [--write]     UC_BIN: the binary
"""
import array
import glob
import hashlib
import json
import lzma
import os
import subprocess
import sys
import tempfile

try:
    import tokenizers
except ImportError:
    tokenizers = None

HERE = os.path.dirname(os.path.abspath(__file__))
SRC = os.path.dirname(os.path.dirname(HERE))
GOLDEN = os.path.join(SRC, "tests/golden/tokenizer_ids.json")
DATA = os.environ.get("UC_TEST_DATA") or os.path.join(SRC, "../shared/data")
UC = os.environ.get("UC_BIN", os.path.join(SRC, "build/uc"))


def tokenizer_files(tmp):
    out = {"tiny": os.path.join(SRC, "examples/models/tiny/tokenizer.json")}
    for packed in sorted(glob.glob(os.path.join(DATA, "tokenizers/*.tokenizer.json.xz"))):
        name = os.path.basename(packed).split(".")[0]
        out[name] = os.path.join(tmp, name + ".json")
        with lzma.open(packed) as f, open(out[name], "wb") as g:
            g.write(f.read())
    for root in (DATA, os.environ.get("UC_DATA", os.path.join(SRC, "build-data"))):
        path = os.path.join(root, "models/smollm2/tokenizer.json")
        if os.path.exists(path):
            out["smollm2"] = path
    return out


def texts():
    out = {n: os.path.join(SRC, "examples/data", n) for n in ("kjv-train.txt", "kjv-heldout.txt")}
    for path in sorted(glob.glob(os.path.join(DATA, "calibration/*")) + glob.glob(os.path.join(DATA, "text/*"))):
        out[os.path.basename(path)] = path
    return out


def main():
    write = "--write" in sys.argv
    golden = {} if write else json.load(open(GOLDEN, encoding="utf-8"))
    oracle, checked, bad = None, set(), 0
    with tempfile.TemporaryDirectory() as tmp:
        for name, tokenizer in tokenizer_files(tmp).items():
            if tokenizers:
                oracle = tokenizers.Tokenizer.from_file(tokenizer)
                oracle.no_truncation()
            for text, path in texts().items():
                r = subprocess.run([UC, "tokenize", tokenizer, path], capture_output=True)
                if r.returncode:
                    raise SystemExit(r.stderr.decode())
                ids = array.array("I", map(int, r.stdout.split()))
                got = {"ids": len(ids), "sha256": hashlib.sha256(ids.tobytes()).hexdigest()}
                if oracle:
                    with open(path, encoding="utf-8", newline="") as f:
                        want = array.array("I", oracle.encode(f.read(), add_special_tokens=False).ids)
                    if want != ids:
                        at = next((i for i, (a, b) in enumerate(zip(ids, want)) if a != b), min(len(ids), len(want)))
                        print(f"{name} on {text}: {len(ids)} ids, the package gives {len(want)}; first difference at {at}")
                        bad += 1
                if write:
                    golden.setdefault(name, {})[text] = got
                elif golden.get(name, {}).get(text) not in (None, got):
                    print(f"{name} on {text}: {got}, expected {golden[name][text]}")
                    bad += 1
                checked.add((name, text))
    if write:
        with open(GOLDEN, "w", encoding="utf-8") as f:
            json.dump(golden, f, indent=1, sort_keys=True)
            f.write("\n")
    absent = [f"{n} on {t}" for n in golden for t in golden[n] if (n, t) not in checked]
    if absent:
        print(f"SKIPPED {len(absent)} pairs whose data are not there (set UC_TEST_DATA), such as {absent[0]}")
    if not tokenizers:
        print("SKIPPED the comparison with the package `tokenizers`, which is not installed; digests are checked")
    print(f"{len(checked) - bad} passed, {bad} failed, {len(absent)} skipped")
    return 1 if bad else 0


sys.exit(main())
