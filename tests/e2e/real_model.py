#!/usr/bin/env python3
"""SmolLM2-135M-Instruct through the whole build, with little calibration and evaluation text: size on
the label, perplexity of the source as llama.cpp measures it, an artifact that others can read."""
import json
import math
import subprocess
import sys
import time
from pathlib import Path

import e2e

BPW, WEIGHTS = 2.798, 134515008
# Running perplexity after two windows of 512 of wikitext2-test.txt, llama.cpp's perplexity on the
# same weights in F32.
LLAMA_CPP_PPL, TOLERANCE = 14.3661, 0.003

RECIPE = """project {{ name = "smollm2-test", license = "apache-2.0" }}
artifact "smollm2" {{
  dir "{model}",
  track.a {{ bpw = {bpw} }},
  calibrate = mix {{ seqlen = 512, grad_windows = 2, shard = "16 KB", text "cal.txt" }},
  check = metrics {{ ppl {{ text "{text}", protocol = "llama", window = 512, limit = 2 }}, kld {{}} }},
  output = "out",
}}
"""

READER = """
import json, sys
import numpy as np
from safetensors import safe_open

def bf16(path, name):
    # numpy knows no bf16: the bytes of the tensor, by the header alone
    with open(path, "rb") as f:
        n = int.from_bytes(f.read(8), "little")
        t = json.loads(f.read(n))[name]
        f.seek(8 + n + t["data_offsets"][0])
        return np.frombuffer(f.read(t["data_offsets"][1] - t["data_offsets"][0]), np.uint16)

coded, dense, source = sys.argv[1:4]
with safe_open(coded, "np") as f:
    names = list(f.keys())
    streams = [n for n in names if n.endswith(".uca")]
    assert all(str(f.get_slice(n).get_dtype()) == "U8" for n in streams)
    print("coded", len(names), len(streams))
with safe_open(dense, "np") as f, safe_open(source, "np") as s:
    same = sorted(f.keys()) == sorted(s.keys()) and all(
        f.get_slice(n).get_shape() == s.get_slice(n).get_shape() for n in f.keys())
    print("dense", len(list(f.keys())), int(same))
    for n in list(f.keys()):
        if n.endswith("norm.weight"):
            assert (bf16(dense, n) == bf16(source, n)).all(), n
"""


def project(root, model, text):
    folder = Path(root) / "project"
    folder.mkdir()
    (folder / "cal.txt").write_bytes((e2e.SRC / "examples/data/kjv-train.txt").read_bytes()[:16000])
    (folder / "uc.lua").write_text(RECIPE.format(model=model, bpw=BPW, text=text))
    return folder


def uc(folder, *args):
    return subprocess.run([e2e.UC, "-C", str(folder), "--cache", str(folder.parent / "cache"), *args],
                          capture_output=True, text=True, env=e2e.clean_env(), check=False)


def check_size(checks, out):
    size = (out / "model.safetensors").stat().st_size
    most = math.floor(BPW * WEIGHTS / 8)
    manifest = json.loads((out / "ultracompress.json").read_text())
    print(f"        {size} bytes of at most {most}, bpw {manifest['bpw']:.6f}, "
          f"body {manifest['bits']['bpw_body']:.4f}")
    checks.ok(most * 0.999 < size <= most, "the file lands on its budget", f"{size}, at most {most}")
    checks.ok(abs(manifest["bits"]["bpw"] - size * 8 / WEIGHTS) < 1e-9 and
              abs(manifest["bpw"] - size * 8 / WEIGHTS) < 6e-4, "bpw is the file over the weights",
              manifest["bpw"])
    checks.ok(manifest["source"]["parameters"] == WEIGHTS, "the weights are counted once",
              manifest["source"]["parameters"])
    return manifest


def check_quality(checks, manifest, anchored):
    q = manifest["quality"][0]
    print(f"        perplexity {q['ppl_source']:.4f} -> {q['ppl']:.4f}, mean KLD {q['kld_mean']:.4f} "
          f"on {q['n_tokens']} tokens of {q['text']}")
    if anchored:
        off = q["ppl_source"] / LLAMA_CPP_PPL - 1
        checks.ok(abs(off) <= TOLERANCE, f"the source's perplexity is llama.cpp's {LLAMA_CPP_PPL}",
                  f"{q['ppl_source']}, {100 * off:+.2f} %")
    # The tokens are few and the text another one than it was calibrated on.
    checks.ok(0.01 < q["kld_mean"] < 2.5 and 1 < q["ppl_ratio"] < 8 and q["kld_p99"] > q["kld_mean"],
              "divergence is that of a working model", q)


def check_readers(checks, folder, model, python):
    out, dense = folder / "out", folder / "dense"
    run = uc(folder, "export", "out", "--format", "dense", "-o", "dense")
    checks.ok(run.returncode == 0, "export to a dense folder", run.stderr)
    if not python.exists():
        checks.skip(f"independent readers: {python} is missing (tools/test_data.py makes it)")
        return
    got = subprocess.run([python, "-c", READER, out / "model.safetensors", dense / "model.safetensors",
                          model / "model.safetensors"], capture_output=True, text=True, check=False)
    said = dict(line.split(" ", 1) for line in got.stdout.splitlines())
    checks.ok(got.returncode == 0, "the Python package safetensors opens both files", got.stderr)
    checks.ok(said.get("coded", "").endswith(" 211"), "211 coded tensors", said)
    checks.ok(said.get("dense", "").endswith(" 1"), "the export has the source's names and shapes", said)


def check_decoder(checks, folder):
    """One tensor through the decoder that was written from docs/format.md alone."""
    name = "model.layers.7.self_attn.k_proj.weight"
    stream, want = folder / "stream", folder / "want"
    stream.write_bytes(e2e.read_safetensors(folder / "out/model.safetensors")[name + ".uca"][2])
    want.write_bytes(e2e.read_safetensors(folder / "dense/model.safetensors")[name][2])
    run = subprocess.run([sys.executable, e2e.SRC / "tests/oracle/uca_decode.py", stream, folder / "got"],
                         capture_output=True, text=True, check=False)
    same = run.returncode == 0 and (folder / "got").read_bytes() == want.read_bytes()
    checks.ok(same, f"a second decoder finds the same {name}", run.stderr or "other bytes")


def main():
    model = e2e.DATA / "models/smollm2"
    if not (model / "model.safetensors").exists():
        e2e.skip_all(f"{model} is missing: tools/test_data.py could not get SmolLM2")
    checks = e2e.Checks()
    text = e2e.SHARED / "text/wikitext2-test.txt"
    anchored = text.exists()
    if not anchored:
        checks.skip(f"llama.cpp's perplexity: {text} is missing")
        text = e2e.SRC / "examples/data/kjv-heldout.txt"
    with e2e.temp() as root:
        folder = project(root, model, text)
        start = time.monotonic()
        run = uc(folder, "build", "-q")
        print(f"        {time.monotonic() - start:.1f} s", flush=True)
        if checks.ok(run.returncode == 0, "the build succeeds", run.stdout + run.stderr):
            manifest = check_size(checks, folder / "out")
            check_quality(checks, manifest, anchored)
            start = time.monotonic()
            again = uc(folder, "build")
            took = time.monotonic() - start
            checks.ok("nothing had to be done" in again.stdout, "a second time there is nothing to do",
                      again.stdout + again.stderr)
            print(f"        in {1000 * took:.0f} ms")
            verified = uc(folder, "verify", "out")
            checks.ok(verified.returncode == 0 and "PASS" in verified.stdout, "uc verify",
                      verified.stdout + verified.stderr)
            check_readers(checks, folder, model, e2e.DATA / "venv/bin/python")
            check_decoder(checks, folder)
    checks.finish()


sys.exit(main())
