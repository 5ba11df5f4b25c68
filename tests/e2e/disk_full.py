#!/usr/bin/env python3
"""A disk that is full ends a build with exit code 6 and a message that says where and what to do;
nothing half-written is visible, and the same command succeeds once there is room.
Needs root, for a small tmpfs."""
import os
import shutil
import subprocess
import sys
from contextlib import contextmanager

import e2e


@contextmanager
def small_disk(path, size):
    path.mkdir(exist_ok=True)
    p = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "uc-e2e", str(path)],
                       capture_output=True, text=True, check=False)
    if p.returncode:
        e2e.skip_all(f"a tmpfs cannot be mounted: {p.stderr.strip()}")
    try:
        yield path
    finally:
        subprocess.run(["umount", "-l", str(path)], check=False)


def remount(path, size):
    subprocess.run(["mount", "-o", f"remount,size={size}", str(path)], check=True)


def bad_blobs(cache):
    """Blobs whose bytes are not those of their names."""
    return [f.name for f in cache.glob("cas/*/*") if e2e.file_digest(f) != f.name]


def fails_clearly(checks, p, what):
    run = p.run("build")
    said = run.stdout + run.stderr
    checks.ok(run.returncode == 6, f"{what}: exit code 6", f"{run.returncode}: {said}")
    checks.ok("No space left" in said and "fix:" in said, f"{what}: the message says why and a fix", said)
    checks.ok(said.count("error:") <= 1, f"{what}: one message", said)
    print("        " + "\n        ".join(said[said.find("error:"):].strip().splitlines()))


def full_cache(checks, p, disk, sizes, want):
    """At several sizes, so that the disk fills at different actions."""
    p.cache = disk / "cache"
    for size in sizes:
        shutil.rmtree(p.cache, ignore_errors=True)
        remount(disk, size)
        what = f"cache on {size} bytes"
        fails_clearly(checks, p, what)
        checks.ok(not p.out.exists(), f"{what}: no artifact", sorted(os.listdir(p.dir)))
        bad = bad_blobs(p.cache)
        checks.ok(not bad, f"{what}: every published blob is whole", bad)
        remount(disk, "200m")
        run = p.run("build")
        got = e2e.tree(p.out)
        checks.ok(run.returncode == 0 and got == want, f"{what}: the same command succeeds after that",
                  run.stderr + e2e.differing(want, got))
        shutil.rmtree(p.out, ignore_errors=True)


def full_output(checks, p, disk, want):
    """The artifact does not fit: the one that is there stays."""
    out = disk / "artifacts"
    remount(disk, "200m")
    shutil.rmtree(p.cache)
    p.cache = p.root / "cache"
    setting = ("--set", f"output={out}")
    p.build("--set", "bpw=3", *setting)
    old = e2e.tree(out)
    fill = disk / "fill"
    room = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
    fill.write_bytes(b"x" * (room - 100000))
    run = p.run("build", *setting)
    said = run.stdout + run.stderr
    checks.ok(run.returncode == 6 and "No space left" in said and str(out) in said and
              "another folder" in said, "output disk full: exit code 6, said where", said)
    checks.ok(e2e.tree(out) == old, "output disk full: the older artifact stays",
              e2e.differing(old, e2e.tree(out)))
    checks.ok(sorted(os.listdir(disk)) == ["artifacts", "fill"], "output disk full: nothing beside it",
              os.listdir(disk))
    fill.unlink()
    run = p.run("build", *setting)
    got = e2e.tree(out)
    checks.ok(run.returncode == 0 and got == want, "output disk full: the same command succeeds after that",
              run.stderr + e2e.differing(want, got))


def main():
    if os.geteuid() != 0:
        e2e.skip_all("a small disk needs root")
    checks = e2e.Checks()
    with e2e.temp() as root:
        p = e2e.Project(root)
        want = p.build()
        used = sum(f.stat().st_size for f in p.cache.rglob("*") if f.is_file())
        print(f"        a whole cache has {used} bytes")
        shutil.rmtree(p.out)
        with small_disk(p.root / "disk", "200m") as disk:
            full_cache(checks, p, disk, [used // 50, used // 3, used * 3 // 4], want)
            full_output(checks, p, disk, want)
    checks.finish()


sys.exit(main())
