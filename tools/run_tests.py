#!/usr/bin/env python3
"""Runs the whole test suite and prints one line of totals.

usage: run_tests.py [--slow] [--only SETUP] [TEST...]

Setups, each a build folder of its own:
  release  gcc -O3: every suite, with the real model where it can be had
  san      gcc, AddressSanitizer + UBSan: unit, lua, fuzz and cli suites
  tsan     gcc, ThreadSanitizer: the suites that start threads
  clang    clang -O3: the program only; the release suite compares whole artifacts with it
"""
import argparse
import json
import os
import re
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SETUPS = {
    "clang": dict(env={"CC": "clang"}, opts=["--buildtype=release", "-Dtests=disabled"], suites=[], targets=["uc"]),
    "release": dict(opts=["--buildtype=release", "-Dtests=enabled"], suites=None),
    "san": dict(opts=["--buildtype=debugoptimized", "-Db_sanitize=address,undefined", "-Dtests=enabled"],
                suites=["unit", "lua", "fuzz", "cli"]),
    "tsan": dict(opts=["--buildtype=debugoptimized", "-Db_sanitize=thread", "-Dtests=enabled"],
                 suites=["threads"],
                 targets=["tests/unit/test_" + t for t in ("base", "exact", "model", "quantize")]),
}
SAN_ENV = {
    "ASAN_OPTIONS": "abort_on_error=1:allocator_may_return_null=1",
    "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
    "TSAN_OPTIONS": "halt_on_error=1",
}


def run(cmd, env=None):
    return subprocess.run(cmd, cwd=ROOT, env={**os.environ, **(env or {})})


def build(name):
    """Configures and builds build-<name>; returns the folder."""
    setup = SETUPS[name]
    folder = "build-" + name
    if not os.path.exists(os.path.join(ROOT, folder, "build.ninja")):
        cmd = ["meson", "setup", folder, *setup["opts"]]
        if run(cmd, setup.get("env")).returncode:
            sys.exit(f"configuring {folder} failed")
    if run(["ninja", "-C", folder, "--quiet", *setup.get("targets", [])]).returncode:
        sys.exit(f"building {folder} failed")
    return folder


def counts(entry):
    """(passed, failed, skipped) of one test program, from what it printed and how it ended."""
    out = (entry.get("stdout") or "") + (entry.get("stderr") or "")
    result = entry["result"]
    if result == "SKIP":
        return 0, 0, 1
    passed = failed = skipped = 0
    for m in re.finditer(r"^(?:\w+: )?(\d+) passed, (\d+) failed(?:, (\d+) skipped)?", out, re.M):
        passed, failed, skipped = passed + int(m[1]), failed + int(m[2]), skipped + int(m[3] or 0)
    passed += len(re.findall(r"^\[       OK \]", out, re.M))
    failed += len(re.findall(r"^\[  FAILED  \] \w+$", out, re.M)) if not failed else 0
    skipped += len(re.findall(r"^\[  SKIPPED \] \w+$", out, re.M))
    if result == "OK":
        return max(passed, 1), failed, skipped
    return passed, max(failed, 1), skipped


def test(name, only, slow):
    folder = build(name)
    setup = SETUPS[name]
    if setup["suites"] == []:
        return 0, 0, 0
    cmd = ["meson", "test", "-C", folder, "--no-rebuild", "--print-errorlogs", "--num-processes", "2"]
    if only:
        cmd += only
    else:
        for s in setup["suites"] or []:
            cmd += ["--suite", s]
        if not slow:
            cmd += ["--no-suite", "slow"]
    log = os.path.join(ROOT, folder, "meson-logs", "testlog.json")
    if os.path.exists(log):
        os.unlink(log)
    env = dict(SAN_ENV)
    env["UC_CLANG"] = os.path.join(ROOT, "build-clang", "uc")
    rc = run(cmd, env).returncode
    total = [0, 0, 0]
    if not os.path.exists(log):
        return 0, 1, 0
    with open(log, encoding="utf-8") as f:
        for line in f:
            entry = json.loads(line)
            got = counts(entry)
            total = [a + b for a, b in zip(total, got)]
            if got[2]:
                out = (entry.get("stdout") or "") + (entry.get("stderr") or "")
                for why in re.findall(r"^(?:SKIP|skipped?)\b.*$", out, re.M | re.I)[:5]:
                    print(f"  {entry['name']}: {why}")
    if rc and not total[1]:
        total[1] = 1
    return tuple(total)


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    ap.add_argument("--slow", action="store_true", help="run the long suites too")
    ap.add_argument("--only", choices=SETUPS, action="append", help="only these setups")
    ap.add_argument("tests", nargs="*", help="names of tests; all by default")
    args = ap.parse_args()
    sum_all = [0, 0, 0]
    if not args.only or "release" in args.only:
        build("release")  # its `uc import` makes the real model
        run([sys.executable, "tools/test_data.py"])
    for name in SETUPS:
        if args.only and name not in args.only:
            continue
        start = time.monotonic()
        got = test(name, args.tests, args.slow)
        print(f"== {name}: {got[0]} ok, {got[1]} bad, {got[2]} left out, {time.monotonic() - start:.0f} s", flush=True)
        sum_all = [a + b for a, b in zip(sum_all, got)]
    print(f"{sum_all[0]} passed, {sum_all[1]} failed, {sum_all[2]} skipped")
    sys.exit(1 if sum_all[1] or not sum_all[0] else 0)


if __name__ == "__main__":
    main()
