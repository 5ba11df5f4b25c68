#!/usr/bin/env python3
"""What llama.cpp needs for the same job as a whole `uc build`: time, memory, perplexity, KLD.

    peers.py --bin DIR --model F32.gguf --calibration CAL.txt --eval EVAL.txt

runs, one after the other, each timed by the kernel's own accounting of that process:

  imatrix           llama-imatrix over the calibration text
  quantize          llama-quantize with that imatrix to --type
  perplexity-base   llama-perplexity of the F32 model, which saves its logits
  perplexity-quant  llama-perplexity of the quantized model against them (KLD)

and prints JSON. --bin holds llama-imatrix, llama-quantize and llama-perplexity, as cmake builds
them (Release) from the llama.cpp in llama-cpp-python's source distribution.

--type Q2_K is the type nearest 2.8 bits a weight where the widths are multiples of 256. Where they
are not, as in SmolLM2 (576 wide), llama-quantize falls back to wider types, and the model comes out
at 5.1 bits: its time can be compared, its quality not. The bits that came out are in the JSON.

The run is only worth quoting when nothing else runs on the machine.
"""
import argparse
import json
import os
import platform
import re
import shlex
import subprocess
import sys
import tempfile
import time


def step(name, argv, log_dir, results):
    """Runs argv; records wall and CPU seconds and peak memory; returns what it printed."""
    path = os.path.join(log_dir, name + ".log")
    with open(path, "wb") as log:
        start = time.monotonic()
        child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        _, status, use = os.wait4(child.pid, 0)
        wall = time.monotonic() - start
    code = child.returncode = os.waitstatus_to_exitcode(status)
    results[name] = {"wall_s": round(wall, 3), "cpu_s": round(use.ru_utime + use.ru_stime, 3),
                     "peak_mib": round(use.ru_maxrss / 1024, 1)}
    with open(path, encoding="utf-8", errors="replace") as f:
        text = f.read()
    print(f"{name}: {wall:.1f} s wall, {use.ru_utime + use.ru_stime:.1f} s CPU", file=sys.stderr)
    if code:
        sys.exit(f"{name} ended with {code}; its last lines:\n" + text[-2000:])
    return text


def number(pattern, text):
    """The value and, where there is one, its error, of the last line that matches."""
    found = re.findall(pattern + r"\s*([-+0-9.eE]+|nan)\s*(?:%\s*)?(?:(?:±|\+/-)\s*([0-9.eE+-]+))?",
                       text)
    if not found:
        return None
    value, error = found[-1]
    return {"value": float(value), "error": float(error)} if error else {"value": float(value)}


def main():
    ap = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ap.add_argument("--bin", required=True, help="folder of the three programs")
    ap.add_argument("--model", required=True, help="F32 GGUF")
    ap.add_argument("--calibration", required=True)
    ap.add_argument("--eval", required=True)
    ap.add_argument("--type", default="Q2_K")
    ap.add_argument("--quantize-args", default="", help="more options for llama-quantize")
    ap.add_argument("--ctx", type=int, default=512)
    ap.add_argument("--chunks", type=int, default=32, help="windows of the evaluation text")
    ap.add_argument("--calibration-chunks", type=int, default=0, help="0: all of the text")
    ap.add_argument("-t", "--threads", type=int, default=2)
    ap.add_argument("--work", help="keep imatrix, model, logits and logs in this folder")
    a = ap.parse_args()

    tmp = None if a.work else tempfile.TemporaryDirectory(prefix="uc-peers-")
    work = a.work or tmp.name
    os.makedirs(work, exist_ok=True)
    imatrix, quant, logits = (os.path.join(work, x)
                              for x in ("imatrix.gguf", "quant.gguf", "base.logits"))
    for old in (imatrix, quant, logits):
        if os.path.exists(old):
            os.remove(old)

    def program(name):
        return os.path.join(a.bin, name)

    threads, steps = str(a.threads), {}
    argv = [program("llama-imatrix"), "-m", a.model, "-f", a.calibration, "-o", imatrix,
            "-c", str(a.ctx), "-t", threads, "--no-ppl"]
    if a.calibration_chunks:
        argv += ["--chunks", str(a.calibration_chunks)]
    step("imatrix", argv, work, steps)
    out = step("quantize", [program("llama-quantize"), "--imatrix", imatrix,
                            *shlex.split(a.quantize_args), a.model, quant, a.type, threads],
               work, steps)
    bits = re.findall(r"quant size\s*=.*\(([0-9.]+) BPW\)", out)
    fell_back = re.findall(r"WARNING: (\d+) of \d+ tensor", out)

    text = ["-c", str(a.ctx), "--chunks", str(a.chunks), "-t", threads]
    base = step("perplexity-base", [program("llama-perplexity"), "-m", a.model, "-f", a.eval,
                                    "--kl-divergence-base", logits, *text], work, steps)
    kld = step("perplexity-quant", [program("llama-perplexity"), "-m", quant,
                                    "--kl-divergence-base", logits, "--kl-divergence", *text],
               work, steps)
    total = {k: round(sum(s[k] for s in steps.values()), 3) for k in ("wall_s", "cpu_s")}
    total["peak_mib"] = max(s["peak_mib"] for s in steps.values())
    print(json.dumps({
        "peer": "llama.cpp", "type": a.type, "quantize_args": a.quantize_args,
        "machine": {"cores": os.cpu_count(), "arch": platform.machine()},
        "threads": a.threads, "n_ctx": a.ctx, "windows": a.chunks,
        "calibration_bytes": os.path.getsize(a.calibration),
        "calibration_chunks": a.calibration_chunks or "all",
        "quantized_bytes": os.path.getsize(quant),
        "bits_per_weight": float(bits[-1]) if bits else None,
        "tensors_fallen_back": int(fell_back[-1]) if fell_back else 0,
        "steps": steps, "total": total,
        "ppl_base": number(r"Final estimate: PPL =", base),
        "ppl_quant": number(r"Mean PPL\(Q\)\s*:", kld),
        "kld_mean": number(r"Mean\s+KLD:", kld), "kld_median": number(r"Median\s+KLD:", kld),
        "kld_p99": number(r"99\.0%\s+KLD:", kld),
        "same_top_percent": number(r"Same top p:", kld),
    }, indent=2))


if __name__ == "__main__":
    main()
