#!/usr/bin/env python3
"""A cache that lost or damaged something: what is wrong is found and made again, and nothing that was
right is. A cache folder of a newer version, or one that is no cache, is refused untouched."""
import os
import shutil
import sys

import e2e


def flip_byte(path, at):
    os.chmod(path, 0o644)
    with open(path, "r+b") as f:
        f.seek(at)
        byte = f.read(1)
        f.seek(at)
        f.write(bytes([byte[0] ^ 1]))
    os.chmod(path, 0o444)


def blob(project, digest):
    return project.cache / "cas" / digest[:2] / digest


def last_build(project):
    return e2e.events(project.cache)[-1]


def damaged_blob(checks, p, want):
    """One byte of the coded model, which the target copies."""
    model = blob(p, want["model.safetensors"])
    flip_byte(model, model.stat().st_size // 2)
    shutil.rmtree(p.out)
    run = p.run("build")
    checks.ok(run.returncode == 0, "damaged blob: the build succeeds", run.stderr)
    got = e2e.tree(p.out)
    checks.ok(got == want, "damaged blob: the artifact is right", e2e.differing(want, got))
    build = last_build(p)
    ran = e2e.ended(build, "ran")
    checks.ok(ran == ["assemble"], "damaged blob: only what made it runs", ran)
    why = [e.get("why") for e in build if e["ev"] == "start"]
    checks.ok(why == ["corrupt"], "damaged blob: the reason is 'corrupt'", why)
    warned = [e["text"] for e in build if e["ev"] == "warn"]
    checks.ok(len(warned) == 1 and "model.safetensors" in warned[0] and
              want["model.safetensors"][:16] in warned[0],
              "damaged blob: one warning names the file and the blob", warned)
    checks.ok(e2e.file_digest(model) == want["model.safetensors"], "damaged blob: it is whole again",
              "other bytes")


def damaged_inputs(checks, p, want):
    """Every blob of the cache, cut, changed or gone: all that is needed is made again."""
    blobs = sorted((p.cache / "cas").glob("*/*"))
    for i, path in enumerate(blobs):
        size = path.stat().st_size
        os.chmod(path, 0o644)
        if i % 3 == 0 or size == 0:
            path.unlink()
        elif i % 3 == 1:
            flip_byte(path, size // 3)
        else:
            os.truncate(path, size - 1)
    p.build("--set", "bpw=3", "--set", "output=three")
    shutil.rmtree(p.out)
    got = p.build()
    checks.ok(got == want, f"all {len(blobs)} blobs damaged: the artifact is right", e2e.differing(want, got))
    check = p.run("verify", "three")
    checks.ok(check.returncode == 0, "all blobs damaged: another budget's artifact verifies",
              check.stdout + check.stderr)


def damaged_records(checks, p, want):
    for path in sorted((p.cache / "ac").glob("*/*")):
        text = path.read_bytes()
        path.write_bytes(text[:len(text) // 2])
    (p.cache / "index.db").unlink()
    shutil.rmtree(p.out)
    got = p.build()
    checks.ok(got == want, "all records cut in half: the artifact is right", e2e.differing(want, got))


def lost_index(checks, p, want):
    for what, damage in (("deleted", lambda f: f.unlink()),
                         ("overwritten", lambda f: f.write_bytes(b"not a database" * 1000)),
                         ("cut", lambda f: os.truncate(f, f.stat().st_size // 2))):
        damage(p.cache / "index.db")
        shutil.rmtree(p.out)
        run = p.run("build")
        got = e2e.tree(p.out)
        checks.ok(run.returncode == 0 and got == want, f"index {what}: the artifact is right",
                  run.stderr + e2e.differing(want, got))
        ran = e2e.ended(last_build(p), "ran")
        checks.ok(not ran, f"index {what}: everything hits", ran)


def edited_artifact(checks, p, want):
    flip_byte(p.out / "model.safetensors", 1000)
    (p.out / "notes.txt").write_text("mine")
    got = p.build()
    checks.ok(got == {**want, "notes.txt": got.get("notes.txt")},
              "an edited artifact is written anew, and files of the user stay", e2e.differing(want, got))
    (p.out / "notes.txt").unlink()


def refused_caches(checks, p):
    newer = p.root / "newer"
    shutil.copytree(p.cache, newer)
    (newer / "format").write_text("uc-cache 2\n")
    before = e2e.tree(newer)
    for command in ("build", "plan", "explain"):
        run = p.run(command, cache=newer)
        said = run.stdout + run.stderr
        checks.ok(run.returncode == 7 and "uc-cache 2" in said and "--cache" in said,
                  f"cache of a newer version: {command} says so, exit code 7",
                  f"exit code {run.returncode}: {said}")
    checks.ok(e2e.tree(newer) == before, "cache of a newer version: it stays as it is",
              e2e.differing(before, e2e.tree(newer)))
    foreign = p.root / "photos"
    foreign.mkdir()
    (foreign / "cat.jpg").write_text("meow")
    run = p.run("build", cache=foreign)
    checks.ok(run.returncode == 2 and os.listdir(foreign) == ["cat.jpg"],
              "a folder that is no cache: refused, untouched", f"{run.returncode}: {run.stderr}")


def main():
    checks = e2e.Checks()
    with e2e.temp() as root:
        p = e2e.Project(root)
        want = p.build()
        damaged_blob(checks, p, want)
        lost_index(checks, p, want)
        edited_artifact(checks, p, want)
        damaged_inputs(checks, p, want)
        damaged_records(checks, p, want)
        refused_caches(checks, p)
    checks.finish()


sys.exit(main())
