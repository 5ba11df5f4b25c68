#!/usr/bin/env python3
"""The artifact of a recipe is the same to the last byte, manifest and created_at included, whatever
the machine does: threads and workers, instruction set, compiler, place, and what the cache holds."""
import os
import shutil
import sys
import time
from pathlib import Path

import e2e


def cpu_variants():
    """Masks that this machine can run; the plain C one always."""
    flags = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").split()
    out = ["c"]
    if "avx2" in flags and "fma" in flags and "f16c" in flags:
        out.append("avx2")
    if all(f in flags for f in ("avx512f", "avx512bw", "avx512dq", "avx512vl")):
        out.append("avx512")
    return out


def main():
    checks = e2e.Checks()
    with e2e.temp() as root:
        p = e2e.Project(root)
        want = p.build("-j1")
        print(f"        {len(want)} files; model.safetensors {want['model.safetensors'][:16]}, "
              f"ultracompress.json {want['ultracompress.json'][:16]}")

        def same(what, got):
            checks.ok(got == want, what, f"differs: {e2e.differing(want, got)}")

        def fresh(what, *args, **kw):
            p.forget()
            start = time.monotonic()
            same(what, p.build(*args, **kw))
            print(f"        {time.monotonic() - start:.1f} s")

        for jobs in (2, 3, 4):
            fresh(f"-j{jobs}: {jobs} threads, up to {jobs} workers", f"-j{jobs}")
        for cpu in cpu_variants():
            fresh(f"UC_CPU={cpu}", env=e2e.clean_env(UC_CPU=cpu))
        for cpu in {"avx2", "avx512"} - set(cpu_variants()):
            checks.skip(f"this machine has no {cpu}")
        clang = os.environ.get("UC_CLANG", "")
        if clang and os.access(clang, os.X_OK):
            fresh("the program that clang built", program=clang)
        else:
            checks.skip("UC_CLANG names no program that clang built")

        p.forget()
        p.build("--set", "bpw=3")
        p.build("--set", "bpw=4.5")
        same("a cache that other budgets have warmed", p.build())
        shutil.rmtree(p.out)
        same("a cache that holds everything", p.build())

        copy = e2e.Project(root, name="elsewhere/sub", model="another-name")
        copy.cache = Path(root) / "cache2"
        for f in copy.dir.rglob("*"):
            os.utime(f, (1e9, 1e9))
        same("another folder, another name of the model, other times, another cache", copy.build())
        dated = {}
        for name, project in (("first", p), ("copy", copy)):
            dated[name] = project.build(env=e2e.clean_env(SOURCE_DATE_EPOCH="1700000000"))
        checks.ok(dated["first"] == dated["copy"], "the same bytes under SOURCE_DATE_EPOCH",
                  e2e.differing(dated["first"], dated["copy"]))
        checks.ok("2023-11-14T22:13:20Z" in (p.out / "ultracompress.json").read_text(),
                  "created_at is SOURCE_DATE_EPOCH", "another date")
        checks.ok(e2e.differing(want, dated["first"]) == "ultracompress.json",
                  "SOURCE_DATE_EPOCH changes the manifest only",
                  e2e.differing(want, dated["first"]))
    checks.finish()


sys.exit(main())
