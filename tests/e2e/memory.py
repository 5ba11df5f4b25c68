#!/usr/bin/env python3
"""Memory is bounded by a layer, not by the model: a synthetic model of twice the depth needs the same,
in the engine and in every kind of action."""
import os
import subprocess
import sys
import time
from pathlib import Path

import e2e
import synthetic

HIDDEN, INTERMEDIATE = 512, 1536
MORE, SLACK = 1.10, 12 << 20  # the weights grow by 25 MB


def peak_of(pid):
    """High-water mark of a process's memory in bytes; 0 when it is gone."""
    try:
        for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


def build(root, layers):
    """(peak of the engine, {op: peak of its workers}, bytes of weights)"""
    source = Path(root) / f"source-{layers}"
    weights = synthetic.make(source, layers, HIDDEN, INTERMEDIATE)
    p = e2e.Project(root, name=f"depth-{layers}", source=source, cal_bytes=4000, shard="4 KB")
    p.cache = Path(root) / f"cache-{layers}"
    start, engine_peak = time.monotonic(), 0
    engine = subprocess.Popen(p.args("build", "-q", "-j2"), env=e2e.clean_env(),
                              stdout=subprocess.DEVNULL)
    while engine.poll() is None:
        engine_peak = max(engine_peak, peak_of(engine.pid))
        time.sleep(0.005)
    if engine.returncode:
        raise RuntimeError(f"uc build ended with {engine.returncode}")
    workers = {}
    for e in e2e.events(p.cache)[-1]:
        if e["ev"] == "end" and e.get("outcome") == "ran":
            workers[e["op"]] = max(workers.get(e["op"], 0), e.get("peak_rss", 0))
    print(f"        {layers} layers, {weights / 1e6:.1f} MB of weights: "
          f"{time.monotonic() - start:.1f} s", flush=True)
    return engine_peak, workers, weights


def main():
    checks = e2e.Checks()
    with e2e.temp() as root:
        engine, workers, size = build(root, 4)
        engine2, workers2, size2 = build(root, 8)
        print(f"        {'peak in MB of':24}{'4 layers':>10}{'8 layers':>10}")
        print(f"        {'the engine':24}{engine / 1e6:10.1f}{engine2 / 1e6:10.1f}")
        for op in sorted(workers):
            print(f"        {op:24}{workers[op] / 1e6:10.1f}{workers2[op] / 1e6:10.1f}")
        checks.ok(size2 > 1.9 * size, "the second model is twice as large", f"{size} {size2}")
        a, b = max(workers.values()), max(workers2.values())
        checks.ok(b <= MORE * a, "the largest worker needs the same", f"{a} bytes, then {b}")
        checks.ok(engine2 <= MORE * engine, "the engine needs the same", f"{engine}, then {engine2}")
        grown = {op: (workers[op], workers2[op]) for op in workers
                 if workers2[op] > MORE * workers[op] + SLACK}
        checks.ok(not grown, "no kind of action needs more for more layers", grown)
    checks.finish()


sys.exit(main())
