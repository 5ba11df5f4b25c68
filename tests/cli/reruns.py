#!/usr/bin/env python3
"""What a change makes run again: a table of changes to one real build of the tiny model, and the exact
set of actions that each may cause. The sets are read from the build's event file."""
import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

UC = os.environ["UC_BIN"]
BUMPED = os.environ.get("UC_BUMPED")  # the same program with the next version of op factor
SRC = Path(os.environ["UC_SRC"])

RECIPE = """
project {{ name = "rerun", seed = {seed}, license = "apache-2.0" }}
local cal = mix {{ seqlen = 128, grad_windows = 4, shard = "6 KB", {texts} }}
artifact "rerun" {{
  dir "{model}",
  track.a {{ bpw = {bpw}, mix = {mix} }},
  calibrate = cal,
  check = metrics {{ ppl {{ text "eval.txt", window = 128, limit = 4 }}, kld {{}} }},
  output = "{output}",
}}
"""
BASE = {"seed": 42, "bpw": 4, "mix": 0.5, "model": "model", "output": "artifact",
        "texts": 'text "a.txt", text "b.txt"'}

AFTER_ALLOCATE = {"allocate", "quantize", "land", "assemble", "verify", "bench", "manifest"}
AFTER_FACTOR = AFTER_ALLOCATE | {"factor", "rate"}
STATISTICS = {"tokenize", "embed", "capture", "capture_head", "sensitivity_head", "sensitivity",
              "sensitivity_embed"}


class Project:
    def __init__(self, root):
        self.root = Path(root)
        self.cache = self.root / "cache"
        self.dir = self.root / "project"
        self.dir.mkdir()
        shutil.copytree(SRC / "examples/models/tiny", self.dir / "model")
        train = (SRC / "examples/data/kjv-train.txt").read_text(encoding="utf-8")
        held = (SRC / "examples/data/kjv-heldout.txt").read_text(encoding="utf-8")
        for name, text in (("a.txt", train[:10000]), ("b.txt", train[10000:15000]),
                           ("c.txt", train[20000:25000]), ("eval.txt", held[:8000]),
                           ("eval2.txt", held[8000:16000])):
            (self.dir / name).write_text(text, encoding="utf-8")

    def recipe(self, **changes):
        (self.dir / "uc.lua").write_text(RECIPE.format(**{**BASE, **changes}), encoding="utf-8")

    def build(self, cwd=None, program=UC):
        """Runs a build; the actions that ran as {(op, name)}, None when the memo knew the answer."""
        before = set((self.cache / "builds").glob("*.ndjson"))
        p = subprocess.run([program, "--cache", self.cache, "-q", "build"], cwd=cwd or self.dir,
                           capture_output=True, text=True, check=False)
        if p.returncode:
            sys.exit(f"build failed with {p.returncode}:\n{p.stdout}{p.stderr}")
        new = set((self.cache / "builds").glob("*.ndjson")) - before
        if not new:
            return None
        ran = set()
        for line in new.pop().read_text(encoding="utf-8").splitlines():
            e = json.loads(line)
            if e["ev"] == "end" and e.get("outcome") == "ran":
                ran.add((e["op"], e["action"]))
        return ran


def ops(ran):
    return {op for op, _ in ran or ()}


def read_st(path):
    data = path.read_bytes()
    n = struct.unpack("<Q", data[:8])[0]
    return json.loads(data[8:8 + n]), data[8 + n:]


def write_st(path, tensors):
    """tensors: {name: (dtype, shape, bytes)}"""
    head, at = {"__metadata__": {"format": "pt"}}, 0
    for name, (dtype, shape, data) in tensors.items():
        head[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + len(data)]}
        at += len(data)
    text = json.dumps(head).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(t[2] for t in tensors.values()))


def tensors_of(path):
    head, data = read_st(path)
    return {name: (t["dtype"], t["shape"], data[t["data_offsets"][0]:t["data_offsets"][1]])
            for name, t in head.items() if name != "__metadata__"}


def reshard(model):
    all_t = tensors_of(model / "model.safetensors")
    names = sorted(all_t)
    files = [f"model-{i + 1:05}-of-00003.safetensors" for i in range(3)]
    where = {name: files[i % 3] for i, name in enumerate(names)}
    for f in files:
        write_st(model / f, {n: all_t[n] for n in names if where[n] == f})
    (model / "model.safetensors").unlink()
    (model / "model.safetensors.index.json").write_text(json.dumps({"weight_map": where}))


def change_weight(model, name):
    all_t = tensors_of(model / "model.safetensors")
    dtype, shape, data = all_t[name]
    all_t[name] = (dtype, shape, bytes([data[0] ^ 1]) + data[1:])
    write_st(model / "model.safetensors", all_t)


def edit_json(path, **fields):
    value = json.loads(path.read_text(encoding="utf-8"))
    value.update(fields)
    path.write_text(json.dumps(value), encoding="utf-8")


passed, failures = [], []


def check(row, ok, got):
    print(("ok      " if ok else "FAILED  ") + row)
    if ok:
        passed.append(row)
    if not ok:
        failures.append(row)
        print("        got:", sorted(got or ()) if not isinstance(got, str) else got)


def exactly(row, ran, want):
    check(row, ops(ran) == want, f"{sorted(ops(ran))} instead of {sorted(want)}")


def within(row, ran, may, must):
    check(row, must <= ops(ran) <= may, f"{sorted(ops(ran))}: allowed {sorted(may)}, needed {sorted(must)}")


def unchanged_meaning(p):
    check("nothing", p.build() is None, "a build was run")
    for f in p.dir.rglob("*"):
        os.utime(f)
    exactly("touch", p.build(), {"fingerprint"})
    shutil.copytree(p.dir, p.root / "copy", ignore=shutil.ignore_patterns("artifact"))
    exactly("copy to another folder", p.build(p.root / "copy"), {"fingerprint"})
    same = (p.dir / "artifact/ultracompress.json").read_bytes() == \
        (p.root / "copy/artifact/ultracompress.json").read_bytes()
    check("copy to another folder: same bytes", same, "another manifest")
    p.recipe()
    text = (p.dir / "uc.lua").read_text(encoding="utf-8")
    (p.dir / "uc.lua").write_text("-- a comment\n" + text.replace(", ", ",\n    "), encoding="utf-8")
    exactly("reformat and comment the recipe", p.build(), set())
    (p.dir / "model").rename(p.dir / "renamed")
    p.recipe(model="renamed")
    within("rename the source folder", p.build(), {"fingerprint"}, set())
    (p.dir / "renamed").rename(p.dir / "model")
    shutil.copytree(p.dir / "model", p.dir / "sharded")
    reshard(p.dir / "sharded")
    p.recipe(model="sharded")
    ran = p.build()
    exactly("re-shard into 3 files", ran, {"fingerprint", "source_digests"})
    check("re-shard into 3 files: each is read once", len(ran) == 4, ran)


def options(p):
    p.recipe(bpw=3.5)
    exactly("bpw", p.build(), AFTER_ALLOCATE)
    p.recipe(mix=0.4)
    exactly("a method option", p.build(), AFTER_FACTOR)
    p.recipe(seed=7)
    exactly("seed", p.build(), {"quantize", "land", "manifest"})


def calibration(p):
    p.recipe(texts=BASE["texts"] + ', text "c.txt"')
    ran = p.build()
    new = {name for op, name in ran if op in STATISTICS}
    within("one sample appended", ran, STATISTICS | AFTER_FACTOR, {"tokenize", "capture", "factor"})
    check("one sample appended: statistics of the new shard only",
          all(name.endswith("c.txt#0") for name in new), new)
    check("one sample appended: one capture a layer",
          len([1 for op, _ in ran if op == "capture"]) == 4, ran)
    p.recipe(texts='text "b.txt", text "a.txt"')
    within("order of two texts swapped", p.build(), AFTER_FACTOR, {"factor"})


def weights(p):
    p.recipe()
    p.build()
    shutil.copytree(p.dir / "model", p.dir / "changed")
    change_weight(p.dir / "changed", "model.layers.2.mlp.up_proj.weight")
    p.recipe(model="changed")
    ran = p.build()
    captures = {name for op, name in ran if op == "capture"}
    want = {f"capture layers.{k} {s}" for k in (2, 3) for s in ("a.txt#0", "a.txt#1", "b.txt#0")}
    check("one weight of layer 2: captures from there on", captures == want, captures)
    check("one weight of layer 2: no tokenize, no embed", not ops(ran) & {"tokenize", "embed"}, ran)
    within("one weight of layer 2", ran, STATISTICS | AFTER_FACTOR |
           {"fingerprint", "source_digests", "reference"}, {"fingerprint", "capture", "quantize", "bench"})


def metadata(p):
    p.recipe()
    p.build()
    (p.dir / "eval.txt").write_bytes((p.dir / "eval2.txt").read_bytes())
    ran = p.build()
    exactly("evaluation text", ran, {"tokenize", "reference", "bench", "manifest"})
    edit_json(p.dir / "model/tokenizer_config.json", chat_template="{{ messages }}")
    exactly("a chat template", p.build(), {"manifest"})
    edit_json(p.dir / "model/config.json", transformers_version="9.9")
    exactly("a config field that does not reach the arithmetic", p.build(), {"assemble", "manifest"})


def op_version(p):
    p.recipe()
    p.build()
    if not BUMPED:
        print("SKIPPED an op's version: UC_BUMPED is not set")
        return
    exactly("an op's version: early cutoff behind it", p.build(program=BUMPED), {"factor"})


def main():
    with tempfile.TemporaryDirectory() as root:
        p = Project(root)
        p.recipe()
        ran = p.build()
        check("the first build runs everything", len(ran) > 100, ran)
        unchanged_meaning(p)
        options(p)
        calibration(p)
        weights(p)
        metadata(p)
        op_version(p)
    print(f"{len(passed)} passed, {len(failures)} failed")
    return 1 if failures else 0


sys.exit(main())
