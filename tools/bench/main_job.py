#!/usr/bin/env python3
"""Times the main job: `uc build RECIPE` with an empty cache, then again with nothing to do.

usage: main_job.py [--uc build/uc] [--jobs 2] [--runs 1] [--noop-runs 20] RECIPE [uc build options...]

Prints one JSON object: wall and CPU seconds and peak memory of the whole build, seconds by kind of action (from the
build's event file), seconds of the no-op build (median), and the closing figures of the artifact.
"""
import argparse
import glob
import json
import os
import resource
import shutil
import statistics
import subprocess
import tempfile
import time


def events(cache):
    path = max(glob.glob(os.path.join(cache, "builds", "*.ndjson")), key=os.path.getmtime)
    with open(path, encoding="utf-8") as f:
        return [json.loads(line) for line in f]


def by_op(evs):
    ops = {}
    for e in evs:
        if e.get("ev") == "end" and e.get("outcome") == "ran":
            op = ops.setdefault(e.get("op", "?"), {"n": 0, "seconds": 0.0, "cpu": 0.0, "peak_rss": 0})
            op["n"] += 1
            op["seconds"] += e.get("seconds", 0)
            op["cpu"] += e.get("cpu", 0)
            op["peak_rss"] = max(op["peak_rss"], e.get("peak_rss", 0))
    return {k: {x: round(y, 3) if isinstance(y, float) else y for x, y in v.items()} for k, v in sorted(ops.items())}


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--uc", default="build/uc")
    ap.add_argument("--jobs", type=int, default=2)
    ap.add_argument("--runs", type=int, default=1)
    ap.add_argument("--noop-runs", type=int, default=20)
    ap.add_argument("recipe")
    args, rest = ap.parse_known_args()
    walls, cpus, ops, summary, noop = [], [], {}, None, []
    for _ in range(args.runs):
        cache = tempfile.mkdtemp(prefix="uc-bench-")
        try:
            cmd = [args.uc, "build", args.recipe, "-j", str(args.jobs), "--cache", cache, "--json", *rest]
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            start = time.monotonic()
            out = subprocess.run(cmd, check=True, stdout=subprocess.PIPE).stdout
            walls.append(time.monotonic() - start)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            cpus.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
            summary = json.loads(out)
            ops = by_op(events(cache))
            for _ in range(args.noop_runs):
                start = time.monotonic()
                subprocess.run(cmd, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                noop.append(time.monotonic() - start)
        finally:
            shutil.rmtree(cache, ignore_errors=True)
    print(json.dumps({
        "build_seconds": statistics.median(walls), "build_cpu_seconds": statistics.median(cpus),
        "largest_process_bytes": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024,
        "noop_seconds": statistics.median(noop) if noop else None, "ops": ops, "summary": summary}, indent=2))


if __name__ == "__main__":
    main()
