#!/usr/bin/env python3
"""Gets what the tests need beyond the repo into build-data/: the real model SmolLM2-135M-Instruct and a
Python environment with independent readers (safetensors, tokenizers, gguf, numpy).

Both are optional: what cannot be had is said, and the tests that need it skip with that reason.
"""
import os
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
DATA = os.path.join(ROOT, "build-data")
PACKAGES = ["numpy", "safetensors", "tokenizers", "gguf"]


def ok(cmd, **kw):
    return subprocess.run(cmd, cwd=ROOT, **kw).returncode == 0


def oracle_env():
    """Virtual environment build-data/venv."""
    python = os.path.join(DATA, "venv", "bin", "python")
    if os.path.exists(python) and ok([python, "-c", "import " + ",".join(PACKAGES)], stderr=subprocess.DEVNULL):
        return True
    return ok([sys.executable, "-m", "venv", os.path.join(DATA, "venv")]) and ok(
        [python, "-m", "pip", "install", "-q", "--disable-pip-version-check", *PACKAGES])


def smollm2():
    """build-data/models/smollm2, imported by our own `uc import`."""
    folder = os.path.join(DATA, "models", "smollm2")
    if os.path.exists(os.path.join(folder, "model.safetensors")):
        return True
    os.makedirs(os.path.dirname(folder), exist_ok=True)
    path = os.path.join(DATA, "venv", "bin") + os.pathsep + os.environ["PATH"]
    return ok(["tools/get-smollm2", folder], env={**os.environ, "PATH": path, "UC": os.environ.get("UC", "build-release/uc")})


def main():
    os.makedirs(DATA, exist_ok=True)
    for what, get in (("Python readers", oracle_env), ("SmolLM2", smollm2)):
        if not get():
            print(f"{what}: cannot be had here; the tests that need it will say that they skip", flush=True)


if __name__ == "__main__":
    main()
