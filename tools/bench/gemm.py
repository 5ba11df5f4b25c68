#!/usr/bin/env python3
"""uc's matrix product and second moments against numpy's BLAS, one thread each, in one run.

usage: gemm.py KERNELS [--repeat N]        KERNELS: build/tests/kernels/kernels

Runs `KERNELS --bench --json --only gemm` (and moments), then numpy's sgemm on the same shapes with
one BLAS thread; prints one JSON object. CPU seconds of the thread are compared, so a busy machine
disturbs both sides alike.
"""
import argparse
import json
import os
import re
import subprocess
import sys
import time

for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"

try:
    import numpy as np
except ImportError:
    sys.exit("gemm.py: needs numpy (a virtual environment with it will do)")


def uc_rows(kernels, family):
    out = subprocess.run([kernels, "--bench", "--json", "--only", family], check=True,
                         capture_output=True, text=True).stdout
    rows = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
    return [row for row in rows if "gflops" in row]


def best_gflops(run, flops, repeat):
    best = None
    spent = 0.0
    for i in range(1000):
        start = time.thread_time()
        run()
        took = time.thread_time() - start
        best = took if best is None else min(best, took)
        spent += took
        if i + 1 >= repeat and spent > 0.5:
            break
    return flops / best / 1e9


def blas_gemm(n_tok, n, k, repeat):
    rng = np.random.default_rng(1)
    x = rng.random((n_tok, k), dtype=np.float32) - np.float32(0.5)
    w = rng.random((n, k), dtype=np.float32) - np.float32(0.5)
    y = np.empty((n_tok, n), dtype=np.float32)
    return best_gflops(lambda: np.matmul(x, w.T, out=y), 2.0 * n_tok * n * k, repeat)


def blas_moments(n_tok, n, repeat):
    """numpy calls ssyrk for x.T @ x; it fills both triangles, counted as one."""
    rng = np.random.default_rng(1)
    x = rng.random((n_tok, n), dtype=np.float32) - np.float32(0.5)
    return best_gflops(lambda: x.T @ x, n * (n + 1.0) * n_tok, repeat)


def compare(kernels, repeat):
    known = {}
    result = []
    for row in uc_rows(kernels, "gemm") + uc_rows(kernels, "moments"):
        if row["variant"] == "c":
            continue
        what = row["what"]
        numbers = [int(s) for s in re.findall(r"\d+", what)]
        if what not in known:
            run = blas_gemm if what.startswith("gemm") else blas_moments
            known[what] = run(*numbers, repeat)
        result.append({**row, "peak_frac": round(row["gflops"] / row["peak_gflops"], 3),
                       "blas_gflops": round(known[what], 2),
                       "uc_over_blas": round(row["gflops"] / known[what], 3)})
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kernels")
    parser.add_argument("--repeat", type=int, default=2)
    args = parser.parse_args()
    rows = compare(args.kernels, args.repeat)
    json.dump({"numpy": np.__version__, "threads": 1, "rows": rows}, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()
