"""Shared by the end-to-end tests of this folder: an own folder and cache each, the program run as a
user runs it, and whole artifacts compared byte for byte.

UC_BIN: the program; UC_SRC: the sources; UC_DATA: real models and Python readers (tools/test_data.py).
"""
import hashlib
import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

UC = os.environ["UC_BIN"]
SRC = Path(os.environ["UC_SRC"])
DATA = Path(os.environ.get("UC_DATA", SRC / "build-data"))
SHARED = Path(os.environ.get("UC_TEST_DATA", SRC.parent / "shared" / "data"))

RECIPE = """project {{ name = "small", seed = 42, license = "apache-2.0" }}
artifact "small" {{
  dir "{model}",
  track.a {{ bpw = param("bpw", {bpw}) }},
  calibrate = mix {{ seqlen = 128, grad_windows = 2, shard = "{shard}", text "cal.txt" }},
  check = metrics {{ ppl {{ text "eval.txt", window = 128, limit = {limit} }}, kld {{}} }},
  output = param("output", "{output}"),
}}
"""


def clean_env(**more):
    """The environment without what would change a build, plus more (None removes)."""
    env = {k: v for k, v in os.environ.items()
           if k not in ("UC_CACHE", "UC_CPU", "SOURCE_DATE_EPOCH", "NO_COLOR")}
    for k, v in more.items():
        env.pop(k, None)
        if v is not None:
            env[k] = v
    return env


class Checks:
    """Counts what holds, prints what does not, and ends with the line of totals."""

    def __init__(self):
        self.passed = self.failed = self.skipped = 0

    def ok(self, holds, what, detail=""):
        if holds:
            self.passed += 1
            print(f"ok      {what}", flush=True)
        else:
            self.failed += 1
            print(f"FAILED  {what}: {detail}", flush=True)
        return bool(holds)

    def skip(self, why):
        self.skipped += 1
        print(f"SKIPPED {why}", flush=True)

    def finish(self):
        tail = f", {self.skipped} skipped" if self.skipped else ""
        print(f"{self.passed} passed, {self.failed} failed{tail}", flush=True)
        nothing = not self.passed and not self.failed
        sys.exit(1 if self.failed else 77 if nothing else 0)


def skip_all(why):
    print(f"SKIPPED {why}")
    sys.exit(77)


def file_digest(path):
    h = hashlib.sha256()
    with open(path, "rb") as f:
        while block := f.read(1 << 20):
            h.update(block)
    return h.hexdigest()


def tree(folder):
    """{relative path: SHA-256} of every file below the folder; None when there is no folder."""
    folder = Path(folder)
    if not folder.exists():
        return None
    return {str(p.relative_to(folder)): file_digest(p) for p in sorted(folder.rglob("*"))
            if not p.is_dir()}


def differing(a, b):
    """What tells two trees apart, in words; empty when nothing does."""
    a, b = a or {}, b or {}
    return ", ".join(sorted(n for n in a.keys() | b.keys() if a.get(n) != b.get(n)))


class Project:
    """The tiny model (or another), short texts and a recipe in a folder of its own; the cache is
    beside it. Use as a context manager, or through temp()."""

    def __init__(self, root, name="project", model=None, cal_bytes=6000, shard="3 KB", limit=2,
                 bpw=4, source=None):
        self.root = Path(root)
        self.dir = self.root / name
        self.cache = self.root / "cache"
        self.dir.mkdir(parents=True)
        shutil.copytree(source or SRC / "examples/models/tiny", self.dir / (model or "model"))
        train = (SRC / "examples/data/kjv-train.txt").read_bytes()
        held = (SRC / "examples/data/kjv-heldout.txt").read_bytes()
        (self.dir / "cal.txt").write_bytes(train[:cal_bytes])
        (self.dir / "eval.txt").write_bytes(held[:4000])
        (self.dir / "uc.lua").write_text(RECIPE.format(
            model=model or "model", bpw=bpw, shard=shard, limit=limit, output="out"))
        self.out = self.dir / "out"

    def args(self, *more, program=UC, cache=None):
        return [program, "-C", str(self.dir), "--cache", str(cache or self.cache), *more]

    def run(self, *more, program=UC, cache=None, env=None, timeout=None):
        """A finished process; its output is text."""
        return subprocess.run(self.args(*more, program=program, cache=cache), capture_output=True,
                              text=True, env=env or clean_env(), timeout=timeout, check=False)

    def build(self, *more, **kw):
        """A build that must succeed; the tree of its folder."""
        p = self.run("build", "-q", *more, **kw)
        if p.returncode:
            raise RuntimeError(f"uc build ended with {p.returncode}:\n{p.stdout}{p.stderr}")
        return tree(self.out)

    def forget(self):
        """No artifact, no cache."""
        shutil.rmtree(self.out, ignore_errors=True)
        shutil.rmtree(self.cache, ignore_errors=True)


def temp():
    """A temporary folder (context manager); $TMPDIR decides where."""
    return tempfile.TemporaryDirectory(prefix="uc-e2e-")


def events(cache):
    """The events of all builds in a cache, one list a build, in order of time."""
    out = []
    for path in sorted(Path(cache, "builds").glob("*.ndjson")):
        lines = path.read_text(encoding="utf-8").splitlines()
        out.append([json.loads(line) for line in lines if line.endswith("}")])
    return out


def ended(build, outcome):
    """Names of the actions of one build's events that ended so."""
    return [e["action"] for e in build if e["ev"] == "end" and e.get("outcome") == outcome]


def processes_of(mark):
    """Processes whose environment holds the mark, as {pid: command line}."""
    found = {}
    for p in Path("/proc").iterdir():
        if not p.name.isdigit() or int(p.name) == os.getpid():
            continue
        try:
            if mark.encode() in (p / "environ").read_bytes():
                found[int(p.name)] = (p / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
    return found


def wait_until(holds, seconds):
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


def scratch_left(cache):
    return sorted(str(p) for p in Path(cache, "scratch").glob("*"))


def read_safetensors(path):
    """{name: (dtype, shape, bytes)} of a safetensors file."""
    data = Path(path).read_bytes()
    n = struct.unpack("<Q", data[:8])[0]
    head = json.loads(data[8:8 + n])
    head.pop("__metadata__", None)
    body = memoryview(data)[8 + n:]
    return {name: (t["dtype"], t["shape"], body[t["data_offsets"][0]:t["data_offsets"][1]])
            for name, t in head.items()}


def write_safetensors(path, tensors):
    """tensors: {name: (dtype, shape, bytes)}, written in that order."""
    head, at = {"__metadata__": {"format": "pt"}}, 0
    for name, (dtype, shape, data) in tensors.items():
        head[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + len(data)]}
        at += len(data)
    text = json.dumps(head).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for _, _, data in tensors.values():
            f.write(data)
