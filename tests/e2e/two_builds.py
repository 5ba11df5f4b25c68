#!/usr/bin/env python3
"""Two builds at once in one cache: both succeed, and no action runs twice. Once with the same recipe,
once with two recipes that share all but the end."""
import subprocess
import sys
from collections import Counter

import e2e


def start(project, *args):
    return subprocess.Popen(project.args("build", "-q", *args), env=e2e.clean_env(),
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def run_both(checks, what, a, b):
    for name, p in (("first", a), ("second", b)):
        out = p.communicate()[0]
        checks.ok(p.returncode == 0, f"{what}: the {name} succeeds", f"exit code {p.returncode}: {out}")


def new_cache(checks, project, times=8, at_once=6):
    """Processes that make the same new cache at the same moment do not refuse each other's."""
    failed = []
    for _ in range(times):
        project.forget()
        procs = [subprocess.Popen(project.args("plan"), env=e2e.clean_env(), stderr=subprocess.STDOUT,
                                  stdout=subprocess.PIPE, text=True) for _ in range(at_once)]
        failed += [out for p in procs for out in [p.communicate()[0]] if p.returncode]
    checks.ok(not failed, f"{at_once} processes at once open a new cache, {times} times", failed[:1])


def records(cache):
    """Result records: one for each key that ran."""
    return sum(1 for p in (cache / "ac").rglob("*") if p.is_file())


def report(builds):
    ran = [len(e2e.ended(b, "ran")) for b in builds]
    taken = [len(e2e.ended(b, "adopted")) for b in builds]
    waits = [sum(1 for e in b if e["ev"] == "wait") for b in builds]
    print(f"        ran {ran}, made by the other {taken}, waits {waits}")


def main():
    checks = e2e.Checks()
    with e2e.temp() as root:
        p = e2e.Project(root)
        new_cache(checks, p)
        want = p.build()
        n_actions = records(p.cache)
        p.forget()
        run_both(checks, "same recipe", start(p), start(p))
        builds = e2e.events(p.cache)
        report(builds)
        ran = Counter(name for b in builds for name in e2e.ended(b, "ran"))
        twice = [name for name, n in ran.items() if n > 1]
        checks.ok(len(builds) == 2 and not twice, "same recipe: no action ran twice", twice)
        checks.ok(sum(ran.values()) == n_actions, "same recipe: every action ran",
                  f"{sum(ran.values())} of {n_actions}")
        got = e2e.tree(p.out)
        checks.ok(got == want, "same recipe: the same artifact", e2e.differing(want, got))

        p.forget()
        other = e2e.Project(root, name="other", bpw=3)
        alone = e2e.Project(root, name="alone", bpw=3)
        alone.cache = p.root / "cache-alone"
        want_other = alone.build()
        run_both(checks, "two recipes", start(p), start(other))
        builds = e2e.events(p.cache)
        report(builds)
        ran = sum(len(e2e.ended(b, "ran")) for b in builds)
        checks.ok(ran == records(p.cache), "two recipes: every key ran once",
                  f"{ran} runs for {records(p.cache)} results")
        shared = Counter(name for b in builds for name in e2e.ended(b, "ran")
                         if name.startswith(("capture", "sensitivity", "factor", "rate")))
        twice = [name for name, n in shared.items() if n > 1]
        checks.ok(not twice, "two recipes: the statistics ran once", twice)
        checks.ok(e2e.tree(p.out) == want, "two recipes: the first artifact is as if alone",
                  e2e.differing(want, e2e.tree(p.out)))
        checks.ok(e2e.tree(other.out) == want_other, "two recipes: the second is as if alone",
                  e2e.differing(want_other, e2e.tree(other.out)))
        checks.ok(not e2e.scratch_left(p.cache), "no scratch is left", e2e.scratch_left(p.cache))
    checks.finish()


sys.exit(main())
