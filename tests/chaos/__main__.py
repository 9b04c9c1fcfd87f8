"""Break real processes: `python -m tests.chaos [--scenario 1 …] [--runs n]`; a table at the end."""

import argparse
import asyncio
import json
import logging
import random
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path

from tests.chaos import scenarios as s
from tests.chaos.bench import Bench
from tests.chaos.whole_stack import bad_books

KILLS = 24
SCENARIOS = {
    "1": s.sigkill,
    "2": s.sigstop,
    "2-late": s.woken_late,
    "3": s.nats_killed,
    "5": s.cut_off,
    "6": s.repeated,
    "7": bad_books,
    "8": s.wrong_clock,
    "9": s.kill_switch,
    "11": s.poison,
    "12": s.orders_full,
    "13": s.bad_answers,
}


MUTANTS = {
    "skip_the_intent": "13",
    "resend_on_timeout": "13",
    "book_fills_twice": "6",
    "keep_quotes_past_the_deadline": "8",
    "ignore_the_kill_switch": "9",
}
"""Broken brokers (tests/sim/mutants.py), and the scenario whose checks have to see it."""


async def run_one(name, seed, kills, mutant=""):
    """Run one scenario once on a bench of its own; return what it did and what was wrong."""
    dice = random.Random(seed)
    words = {"kills": kills} if name == "1" else {}
    result = {"orders": 0, "fills": 0, "worst_s": 0.0, "violations": [], "faults": Counter()}
    with tempfile.TemporaryDirectory(prefix="chaos-") as directory:
        try:
            if name == "7":
                result["worst_s"] = await bad_books(Path(directory), dice, result)
                return result
            async with Bench(Path(directory) / "bench", mutant=mutant) as bench:
                try:
                    result["worst_s"] = await SCENARIOS[name](bench, dice, **words)
                except Exception as error:  # noqa: BLE001  it is counted, and the next one runs
                    text = f"{type(error).__name__}: {error}"
                    if not isinstance(error, AssertionError) or not str(error):
                        text += traceback.format_exc()
                    result["violations"].append(text)
                    result["log"] = _last_lines(bench)
                books = bench.books()
                result["orders"], result["fills"] = len(books.orders), len(books.fills)
                result["faults"] = bench.faults
        except Exception:  # noqa: BLE001  the bench itself, or the whole stack
            result["violations"].append(traceback.format_exc())
    return result


def _last_lines(bench):
    logs = sorted(bench.directory.glob("broker-*.log"))
    return {log.name: log.read_text(errors="replace").splitlines()[-8:] for log in logs}


def main():
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--scenario", nargs="*", default=list(SCENARIOS), choices=SCENARIOS)
    parser.add_argument("--runs", type=int, default=1, help="of each scenario")
    parser.add_argument("--kills", type=int, default=KILLS, help="in one run of scenario 1")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--mutants", action="store_true", help="break the broker, be caught")
    parser.add_argument("--json", help="file for the result")
    arguments = parser.parse_args()
    logging.getLogger().addHandler(logging.NullHandler())  # the bus tells of each lost connection
    if arguments.mutants:
        return report_mutants(arguments.seed)
    rows = {}
    for name in arguments.scenario:
        began_s = time.monotonic()
        results = [
            asyncio.run(run_one(name, arguments.seed + run, arguments.kills))
            for run in range(arguments.runs)
        ]
        rows[name] = summed(name, results, time.monotonic() - began_s)
        tell(rows[name])
    sys.stdout.write(table(rows.values()))
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(rows, indent=1))
    return 1 if any(row["violations"] for row in rows.values()) else 0


def report_mutants(seed):
    """Run each broken broker; return 1 if one went free."""
    free = 0
    for name, scenario in MUTANTS.items():
        found = asyncio.run(run_one(scenario, seed, 0, name))["violations"]
        free += not found
        why = found[0].splitlines()[0][:100] if found else "NOT CAUGHT"
        sys.stdout.write(f"{name} (scenario {scenario}): {why}\n")
        sys.stdout.flush()
    return 1 if free else 0


def summed(name, results, took_s):
    """Return a scenario's row."""
    faults = sum((Counter(one["faults"]) for one in results), Counter())
    return {
        "scenario": name,
        "runs": len(results),
        "injected": sum(faults.values()),
        "faults": dict(faults),
        "orders": sum(one["orders"] for one in results),
        "fills": sum(one["fills"] for one in results),
        "violations": [text for one in results for text in one["violations"]],
        "worst_recovery_s": round(max(one["worst_s"] for one in results), 2),
        "seconds": round(took_s, 1),
        "logs": [one["log"] for one in results if "log" in one],
    }


def tell(row):
    """Say at once what went wrong."""
    for text in row["violations"]:
        sys.stdout.write(f"scenario {row['scenario']}: {text}\n")
    for log in row["logs"]:
        for name, lines in log.items():
            sys.stdout.write(f"  {name}: " + f"\n  {name}: ".join(lines) + "\n")
    sys.stdout.flush()


def table(rows):
    """Return the table of all scenarios."""
    lines = [
        "| scenario | runs | faults | orders | fills | violations | worst recovery | took |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        what = SCENARIOS[row["scenario"]].__doc__.partition("\n")[0].rstrip(".")
        lines.append(
            f"| {what} | {row['runs']} | {row['injected']} | {row['orders']} | {row['fills']}"
            f" | {len(row['violations'])} | {row['worst_recovery_s']:.1f} s"
            f" | {row['seconds']:.0f} s |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
