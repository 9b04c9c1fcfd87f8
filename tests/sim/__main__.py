"""Run simulated seeds: `python -m tests.sim --seeds 1000`, or one again: `--seed 42`."""

import argparse
import gc
import json
import os
import sys
import time
import traceback
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from tests.sim.mutants import MUTANTS
from tests.sim.points import POINTS
from tests.sim.world import World

CHUNK = 10
FAILURES_SHOWN = 20
SEEDS_TO_CATCH = 400
"""A broken broker must be caught within so many seeds."""
RARE = {"trust_one_missing_read": (296, 489), "forget_what_was_allowed": (446, 535)}
"""Seeds that caught what few catch; they are tried before the others."""
SEEDS_FOR_EVERY_POINT = 2_000
"""A run this large has to have killed at every point."""


def run_seed(seed):
    """Return what one seed did, and why it failed if it did."""
    world = World(seed)
    why = ""
    try:
        world.run()
    except Exception as error:  # noqa: BLE001  whatever it is, the seed failed
        why = f"{type(error).__name__}: {error}"
        if not isinstance(error, AssertionError):
            why += "\n" + traceback.format_exc()
    return {
        "seed": seed,
        "why": why,
        "orders": len(world.truth.orders),
        "fills": len(world.truth.fills),
        "faults": dict(world.faults),
        "seen": dict(world.seen),
        "hit": dict(world.hit),
        "recovered_s": world.recovered_s,
        "virtual_s": world.loop.time(),
    }


def run_seeds(seeds):
    """Return the sums over some seeds, and the failures."""
    total = Total()
    gc.disable()  # a run is short, and its garbage goes with it
    for seed in seeds:
        total.add(run_seed(seed))
        gc.collect()
    gc.enable()
    return total


class Total:
    """What many seeds add up to."""

    def __init__(self):
        self.seeds = self.orders = self.fills = 0
        self.virtual_s = self.worst_recovery_s = 0.0
        self.faults, self.seen, self.hit = Counter(), Counter(), Counter()
        self.failures = []

    def add(self, one):
        self.seeds += 1
        self.orders += one["orders"]
        self.fills += one["fills"]
        self.virtual_s += one["virtual_s"]
        self.worst_recovery_s = max(self.worst_recovery_s, one["recovered_s"])
        for name in ("faults", "seen", "hit"):
            getattr(self, name).update(one[name])
        if one["why"]:
            self.failures.append((one["seed"], one["why"]))

    def merge(self, other):
        self.seeds += other.seeds
        self.orders += other.orders
        self.fills += other.fills
        self.virtual_s += other.virtual_s
        self.worst_recovery_s = max(self.worst_recovery_s, other.worst_recovery_s)
        for name in ("faults", "seen", "hit"):
            getattr(self, name).update(getattr(other, name))
        self.failures += other.failures

    def never_hit(self):
        return [point for point in POINTS if not self.hit[point]]


def run_many(seeds, jobs):
    """Run seeds on several processes and return their total."""
    total = Total()
    chunks = [seeds[start : start + CHUNK] for start in range(0, len(seeds), CHUNK)]
    if jobs == 1:
        for chunk in chunks:
            total.merge(run_seeds(chunk))
        return total
    with ProcessPoolExecutor(jobs) as pool:
        for part in pool.map(run_seeds, chunks):
            total.merge(part)
    return total


def catch(name):
    """Return with which seed a broken broker was caught and what gave it away."""
    mutant = {one.__name__: one for one in MUTANTS}[name]
    with mutant():
        for seed in (*RARE.get(name, ()), *range(1, SEEDS_TO_CATCH + 1)):
            if why := run_seed(seed)["why"]:
                return {"seed": seed, "why": why}
    return {"seed": SEEDS_TO_CATCH, "why": ""}


def report_mutants(arguments):
    """Try each broken broker; return 0 if all are caught."""
    names = [mutant.__name__ for mutant in MUTANTS]
    with ProcessPoolExecutor(arguments.jobs) as pool:
        found = dict(zip(names, pool.map(catch, names), strict=True))
    for name, one in found.items():
        why = one["why"].partition("\n")[0][:120] or "NOT CAUGHT"
        sys.stdout.write(f"{name:36} seed {one['seed']:4}  {why}\n")
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(found, indent=1))
    return 0 if all(one["why"] for one in found.values()) else 1


def main():
    parser = argparse.ArgumentParser(prog="python -m tests.sim", description=__doc__)
    parser.add_argument("--seeds", type=int, default=500, help="how many (default 500)")
    parser.add_argument("--first", type=int, default=1, help="the first one (default 1)")
    parser.add_argument("--seed", type=int, help="only this one, with its traceback")
    parser.add_argument("--also", type=int, nargs="*", default=[], help="these seeds as well")
    parser.add_argument("--mutants", action="store_true", help="break the broker, be caught")
    parser.add_argument("--jobs", type=int, default=min(4, os.cpu_count() or 1))
    parser.add_argument("--json", help="file for the result")
    arguments = parser.parse_args()
    if arguments.seed is not None:
        World(arguments.seed).run()
        sys.stdout.write(f"seed {arguments.seed}: all invariants hold\n")
        return 0
    if arguments.mutants:
        return report_mutants(arguments)
    began_s = time.monotonic()
    seeds = [*range(arguments.first, arguments.first + arguments.seeds), *arguments.also]
    total = run_many(seeds, arguments.jobs)
    return report(total, time.monotonic() - began_s, arguments)


def report(total, took_s, arguments):
    """Write the table and the JSON, and return the exit code."""
    never = total.never_hit() if total.seeds >= SEEDS_FOR_EVERY_POINT else []
    lines = [
        f"{total.seeds} seeds in {took_s:.0f} s ({total.seeds / took_s * 60:.0f} a minute),"
        f" {total.virtual_s / 3600:.1f} hours of simulated time",
        f"{total.orders} orders, {total.fills} fills, {sum(total.hit.values())} kills at"
        f" {len(+total.hit)} points, worst recovery {total.worst_recovery_s:.1f} s",
        "faults:",
        *(f"  {count:8d}  {name}" for name, count in sorted(total.faults.items())),
        "kills by point (hit / passed):",
        *(f"  {total.hit[point]:6d} / {total.seen[point]:8d}  {point}" for point in POINTS),
    ]
    for seed, why in sorted(total.failures)[:FAILURES_SHOWN]:
        lines.append(f"FAILED seed {seed}: {why}\n  again: make sim SEED={seed}")
    if never:
        lines.append(f"FAILED: never hit: {', '.join(never)}")
    lines.append(f"violations: {len(total.failures)}")
    sys.stdout.write("\n".join(lines) + "\n")
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(_plain(total, took_s, arguments), indent=1))
    return 1 if total.failures or never else 0


def _plain(total, took_s, arguments):
    return {
        "seeds": total.seeds,
        "first": arguments.first,
        "seconds": round(took_s, 1),
        "orders": total.orders,
        "fills": total.fills,
        "virtual_s": round(total.virtual_s),
        "worst_recovery_s": total.worst_recovery_s,
        "faults": dict(sorted(total.faults.items())),
        "hit": dict(sorted(total.hit.items())),
        "seen": dict(sorted(total.seen.items())),
        "failures": total.failures,
    }


if __name__ == "__main__":
    if os.environ.get("PYTHONHASHSEED") != "0":
        # The order of sets of strings is a part of the run: the same seed must be the same run.
        environment = {**os.environ, "PYTHONHASHSEED": "0"}
        os.execve(sys.executable, [sys.executable, "-m", "tests.sim", *sys.argv[1:]], environment)
    sys.exit(main())
