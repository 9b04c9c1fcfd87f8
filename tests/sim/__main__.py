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

from tests.sim.points import POINTS
from tests.sim.world import World

CHUNK = 20
FAILURES_SHOWN = 10


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


def run_many(first, count, jobs):
    """Run seeds on several processes and return their total."""
    total = Total()
    chunks = [
        range(start, min(start + CHUNK, first + count))
        for start in range(first, first + count, CHUNK)
    ]
    if jobs == 1:
        for chunk in chunks:
            total.merge(run_seeds(chunk))
        return total
    with ProcessPoolExecutor(jobs) as pool:
        for part in pool.map(run_seeds, chunks):
            total.merge(part)
    return total


def main():
    parser = argparse.ArgumentParser(prog="python -m tests.sim", description=__doc__)
    parser.add_argument("--seeds", type=int, default=500, help="how many (default 500)")
    parser.add_argument("--first", type=int, default=1, help="the first one (default 1)")
    parser.add_argument("--seed", type=int, help="only this one, with its traceback")
    parser.add_argument("--jobs", type=int, default=min(4, os.cpu_count() or 1))
    parser.add_argument("--json", help="file for the result")
    arguments = parser.parse_args()
    if arguments.seed is not None:
        World(arguments.seed).run()
        print(f"seed {arguments.seed}: all invariants hold")
        return 0
    began_s = time.monotonic()
    total = run_many(arguments.first, arguments.seeds, arguments.jobs)
    return report(total, time.monotonic() - began_s, arguments)


def report(total, took_s, arguments):
    """Print the table, write the JSON, and return the exit code."""
    never = total.never_hit() if total.seeds >= 2_000 else []
    print(f"{total.seeds} seeds in {took_s:.0f} s ({total.seeds / took_s * 60:.0f} a minute)")
    print(f"{total.virtual_s / 3600:.1f} hours of trading, {total.orders} orders, {total.fills} fills")
    print(f"{sum(total.hit.values())} kills at {len(+total.hit)} points; worst recovery"
          f" {total.worst_recovery_s:.1f} s")
    for name, count in sorted(total.faults.items()):
        print(f"  {count:8d}  {name}")
    print("kills by point (hit / passed):")
    for point in POINTS:
        print(f"  {total.hit[point]:6d} / {total.seen[point]:8d}  {point}")
    for seed, why in sorted(total.failures)[:FAILURES_SHOWN]:
        print(f"FAILED seed {seed}: {why}\n  again: make sim SEED={seed}")
    if never:
        print(f"FAILED: never hit: {', '.join(never)}")
    print(f"violations: {len(total.failures)}")
    if arguments.json:
        result = {
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
            "never_hit": never,
            "failures": total.failures,
        }
        with open(arguments.json, "w", encoding="utf-8") as file:
            json.dump(result, file, indent=1)
    return 1 if total.failures or never else 0


if __name__ == "__main__":
    if os.environ.get("PYTHONHASHSEED") != "0":
        # The order of sets of strings is a part of the run: the same seed must be the same run.
        environment = {**os.environ, "PYTHONHASHSEED": "0"}
        os.execve(sys.executable, [sys.executable, "-m", "tests.sim", *sys.argv[1:]], environment)  # noqa: S606
    sys.exit(main())
