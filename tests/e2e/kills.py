#!/usr/bin/env python3
"""kill -9 of the engine at random moments, each followed by the same command: the artifact is the
undisturbed one, its folder is never half there, and neither processes nor scratch stay behind.

--kills N, --seed S (printed; the moments depend on it and on how fast the machine is).
"""
import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import time

import e2e

GONE_SECONDS = 30


def state_of(project, known):
    """'absent', the name of the known tree that the output folder is, or what is wrong with it."""
    got = e2e.tree(project.out)
    if got is None:
        return "absent"
    for name, tree in known.items():
        if got == tree:
            return name
    nearest = min(known.values(), key=lambda t: len(e2e.differing(t, got)))
    return f"half there: {len(got)} files, these differ: {e2e.differing(nearest, got)}"


class Killer:
    def __init__(self, checks, project, known):
        self.checks, self.project, self.known = checks, project, known
        self.mark = f"UC_E2E_MARK={project.root}"
        self.env = e2e.clean_env(UC_E2E_MARK=str(project.root))

    def start(self):
        return subprocess.Popen(self.project.args("build", "-q"), env=self.env,
                                stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)

    def kill(self, engine):
        """False when the build was faster."""
        engine.kill()
        err = engine.stderr.read().decode()
        engine.stderr.close()
        code = engine.wait()
        if code == -signal.SIGKILL:
            return True
        if code:
            raise RuntimeError(f"uc build ended with {code}: {err}")
        return False

    def after_kill(self, what):
        """What must hold right after each kill."""
        state = state_of(self.project, self.known)
        gone = e2e.wait_until(lambda: not e2e.processes_of(self.mark), GONE_SECONDS)
        again = state_of(self.project, self.known)
        good = state in ("absent", *self.known) and again == state and gone
        self.checks.ok(good, what + f": folder is {state}, its workers are gone",
                       f"{again}; processes: {e2e.processes_of(self.mark)}")


def random_moments(checks, killer, kills, seconds, rng):
    p, done, builds = killer.project, 0, 0
    while done < kills:
        delay = rng.uniform(0.01, seconds)
        engine = killer.start()
        try:
            engine.wait(delay)
        except subprocess.TimeoutExpired:
            pass
        if killer.kill(engine):
            done += 1
            killer.after_kill(f"kill {done} after {delay:.2f} s")
            continue
        builds += 1
        checks.ok(e2e.tree(p.out) == killer.known["new"], f"build {builds} that came to its end",
                  e2e.differing(killer.known["new"], e2e.tree(p.out)))
        p.forget()
        if builds % 2:  # every second time the place is taken by an older artifact
            p.build("--set", "bpw=3")


def while_writing(checks, killer, tries=5):
    """The moment that counts most: the new folder is being written beside the old one."""
    p = killer.project
    for _ in range(tries):
        p.forget()
        p.build()
        p.build("--set", "bpw=3")
        (p.cache / "index.db").unlink()  # no memo: the folder is compared and written
        engine = killer.start()
        while engine.poll() is None and not list(p.dir.glob("out.uc-partial.*")):
            time.sleep(0)
        if killer.kill(engine):
            killer.after_kill("kill while the folder is written")
            return
    checks.skip("no kill while the folder was written: it was too fast each time")


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--kills", type=int, default=6)
    ap.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4), "little"))
    args = ap.parse_args()
    print(f"        seed {args.seed}", flush=True)
    checks, rng = e2e.Checks(), random.Random(args.seed)
    with e2e.temp() as root:
        p = e2e.Project(root)
        start = time.monotonic()
        known = {"new": p.build()}
        seconds = time.monotonic() - start
        shutil.rmtree(p.cache)
        known["old"] = p.build("--set", "bpw=3")
        killer = Killer(checks, p, known)
        random_moments(checks, killer, args.kills, seconds, rng)
        while_writing(checks, killer)
        got = p.build()
        checks.ok(got == known["new"], "the artifact after all kills is the undisturbed one",
                  e2e.differing(known["new"], got))
        checks.ok(not e2e.scratch_left(p.cache), "no scratch is left", e2e.scratch_left(p.cache))
        beside = sorted(f.name for f in p.dir.iterdir() if "partial" in f.name)
        checks.ok(not beside, "nothing is left beside the folder", beside)
        locks = sorted(f.name for f in (p.cache / "locks").iterdir() if f.name != "builds")
        print(f"        {len(locks)} lock files left")
        stray = e2e.processes_of(killer.mark)
        checks.ok(not stray, "no process is left", stray)
        again = p.run("build")
        checks.ok("nothing had to be done" in again.stdout, "the next run has nothing to do",
                  again.stdout + again.stderr)
    checks.finish()


sys.exit(main())
