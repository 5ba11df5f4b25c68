#!/usr/bin/env python3
"""Recipes of tests/lua/plans against the plans in tests/golden. golden.py --update writes them anew.

A plan is printed without digests, sizes and predictions, so that it changes only when its meaning does."""
import difflib
import json
import os
import subprocess
import sys
from pathlib import Path

SRC = Path(os.environ["UC_SRC"])
UC = os.environ["UC_BIN"]


def graph(path):
    cmd = [UC, "graph", "--json", "--cache", os.environ["UC_CACHE"], str(path)]
    return subprocess.run(cmd, cwd=SRC, capture_output=True, check=True).stdout


def source_of(ref):
    if "output" in ref:
        return f"{ref['action']} / {ref['output']}"
    if "tensor" in ref:
        return f"{ref['tensor']} of {ref['action']}"
    return f"{ref['path']} at {ref['offset']}" if "path" in ref else "inline"


def readable(data):
    g = json.loads(data)
    for a in g["actions"]:
        params = {k: v for k, v in a["params"].items() if k not in ("arch", "names", "calibration", "created")}
        yield f"{a['op']}: {a['name']}"
        if params:
            yield "  params " + json.dumps(params, sort_keys=True)
        for name, ref in sorted(a["inputs"].items()):
            yield f"  {name} <- {source_of(ref)}"
        for name, out in sorted(a["outputs"].items()):
            yield f"  -> {name} ({out['retention']})"
    for t in g["targets"]:
        yield f"target {t['name']} in {t['dir']}"
        for name, ref in sorted(t["files"].items()):
            yield f"  {name} <- {source_of(ref)}"


def main():
    good = bad = 0
    for recipe in sorted((SRC / "tests/lua/plans").glob("*.lua")):
        path = recipe.relative_to(SRC)
        data = graph(path)
        if graph(path) != data:
            print(f"FAILED  {path}: two evaluations gave two plans")
            bad += 1
        golden = SRC / "tests/golden" / f"plan_{recipe.stem}.txt"
        text = "\n".join(readable(data)) + "\n"
        if "--update" in sys.argv:
            golden.write_text(text, encoding="utf-8")
            continue
        want = golden.read_text(encoding="utf-8")
        if text != want:
            bad += 1
            print(f"FAILED  {path} means another plan (golden.py --update when that is right)")
            diff = difflib.unified_diff(want.splitlines(), text.splitlines(), "golden", "now", lineterm="", n=1)
            print("\n".join(list(diff)[:60]))
        else:
            good += 1
            print(f"ok      {path}")
    print(f"{good} passed, {bad} failed")
    return 1 if bad else 0


sys.exit(main())
