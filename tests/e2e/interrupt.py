#!/usr/bin/env python3
"""Ctrl-C: the first lets what runs finish, the second stops it, both end with exit code 130 and keep
what has finished. SIGTERM stops at once; a closed terminal (SIGHUP) stops nothing."""
import os
import signal
import subprocess
import sys
import time

import e2e


def start(project, mark):
    """A build of which at least one action has ended."""
    before = len(e2e.events(project.cache))
    p = subprocess.Popen(project.args("--progress", "plain", "build"),
                         env=e2e.clean_env(UC_E2E_MARK=mark), stdout=subprocess.PIPE,
                         stderr=subprocess.STDOUT, text=True)

    def begun():
        return any(e["ev"] == "end" for b in e2e.events(project.cache)[before:] for e in b)

    e2e.wait_until(begun, 60)
    return p


def settle(checks, project, mark, what, p, began):
    out = p.communicate()[0]
    print(f"        {what}: {time.monotonic() - began:.2f} s")
    checks.ok(p.returncode == 130, f"{what}: exit code 130", f"{p.returncode}: {out}")
    checks.ok("what has finished is kept" in out, f"{what}: the message says what is kept", out)
    gone = e2e.wait_until(lambda: not e2e.processes_of(f"UC_E2E_MARK={mark}"), 5)
    checks.ok(gone and not e2e.scratch_left(project.cache), f"{what}: no workers, no scratch",
              f"{e2e.processes_of(mark)} {e2e.scratch_left(project.cache)}")
    return e2e.events(project.cache)[-1]


def main():
    checks = e2e.Checks()
    with e2e.temp() as root:
        project, mark = e2e.Project(root), str(root)

        p, began = start(project, mark), time.monotonic()
        os.kill(p.pid, signal.SIGINT)
        build = settle(checks, project, mark, "first Ctrl-C", p, began)
        begun = [e["action"] for e in build if e["ev"] == "start"]
        ended = e2e.ended(build, "ran")
        checks.ok(sorted(begun) == sorted(ended), "first Ctrl-C: what ran has finished",
                  set(begun) - set(ended))

        p, began = start(project, mark), time.monotonic()
        os.kill(p.pid, signal.SIGINT)
        time.sleep(0.01)
        os.kill(p.pid, signal.SIGINT)
        settle(checks, project, mark, "second Ctrl-C", p, began)

        p, began = start(project, mark), time.monotonic()
        os.kill(p.pid, signal.SIGTERM)
        settle(checks, project, mark, "SIGTERM", p, began)

        p = start(project, mark)
        os.kill(p.pid, signal.SIGHUP)
        out = p.communicate()[0]
        checks.ok(p.returncode == 0 and project.out.exists(), "SIGHUP: the build goes on", out)
        hits = next(e["hit"] for e in e2e.events(project.cache)[-1] if e["ev"] == "plan")
        checks.ok(hits >= len(ended), "what had finished was not done again",
                  f"{hits} hits after {len(ended)} actions")
    checks.finish()


sys.exit(main())
