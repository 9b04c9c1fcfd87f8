"""Time one verdict: all gates, exposure, the chain and joint sizes of an event with inventory.

    python tests/bench/bench_verdict.py [--json OUT] [--rounds 1600]

Prints JSON. Aims (issue 5), for 40 rungs: p50 ≤ 1 ms and p99 ≤ 3 ms with new inputs each time,
≤ 100 µs with unchanged ones. `stage_d` is the shipped policy's largest stage without the pilot's
clamp (8 rungs may rest); `all_40` lets all 40 rungs rest and makes every limit bind, which no
shipped stage does. Wall time and the thread's own CPU time: the second one is less disturbed by
what else runs.
"""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as services/risk/__main__.py does

import random
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from msgspec.structs import replace

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from libs.common.messages import Message, Proposal, Quote, Side, Verdict  # noqa: E402
from services.risk.sizing.policy import (  # noqa: E402
    PilotPolicy,
    SizeLadderPolicy,
    SizingPolicy,
    Stage,
)
from tests.bench.command import parser_of, show  # noqa: E402
from tests.services.risk.builders import (  # noqa: E402
    NOW,
    POLICY,
    TARGET,
    Bench,
    fill,
    order,
    verdicts,
)
from tests.services.risk.sizing.rig import fair_of, nested, proposal_of  # noqa: E402

RUNGS = 40
APART_NS = 250_000_000
AIMS = {"us_p50": 1_000.0, "us_p99": 3_000.0, "unchanged_us_p50": 100.0}
NO_PILOT = PilotPolicy(active=False)
ALL = SizeLadderPolicy(stages={"A": Stage(count_max_e2=10**7, rungs_max=RUNGS)})
POLICIES = {
    "pilot": SizingPolicy(),
    "stage_d": SizingPolicy(size_ladder=SizeLadderPolicy(stage="D"), pilot=NO_PILOT),
    "all_40": SizingPolicy(size_ladder=ALL, pilot=NO_PILOT),
}
LADDER = nested(RUNGS)
CURVE = tuple(round(0.97 - 0.94 * rung / (RUNGS - 1), 4) for rung in range(RUNGS))


def curve_of(number: int) -> tuple[float, ...]:
    """Return the probabilities as they are that many looks later: they never repeat for long."""
    return tuple(chance + (number % 97) * 1e-4 for chance in CURVE)


def proposal(number: int) -> Proposal:
    """Return a quote on each rung, some cents on the good side: prices stand, the pmf moves."""
    dice, quotes = random.Random(2), []
    for ticker, first, chance in zip(LADDER.tickers, CURVE, curve_of(number), strict=True):
        side: Side = "bid" if dice.random() < 0.5 else "ask"
        edge_e4 = dice.choice((200, 300, 500))
        price_e4 = round(first * 100) * 100 + (-edge_e4 if side == "bid" else edge_e4)
        quotes.append(
            Quote(
                ticker=ticker,
                side=side,
                price_e4=min(9_900, max(100, price_e4)),
                count_e2=dice.choice((1_000, 5_000, 50_000)),
                probability=chance,
                ev_per_contract_e6=edge_e4 * 90,
                fill_probability=0.3,
            )
        )
    return proposal_of(LADDER, quotes, NOW + number * APART_NS)


def inventory(dice: random.Random) -> list[Message]:
    """Return a position on every second rung and an order at rest on every fourth."""
    found: list[Message] = []
    for rung, ticker in enumerate(LADDER.tickers):
        price_e4 = round(CURVE[rung] * 100) * 100
        own = {"ticker": ticker, "client": f"c{rung}", "price_e4": price_e4}
        if rung % 2 == 0:
            count_e2 = dice.randint(100, 3_000)
            found.append(fill(count_e2, trade=f"t{rung}", side=dice.choice(("bid", "ask")), **own))
        if rung % 4 == 0:
            found.append(order("resting", count_e2=1_000, side="bid", **own))
    return found


def bench_of(policy: SizingPolicy) -> Bench:
    """Return a core that knows everything, with an inventory."""
    bench = Bench(replace(POLICY, sizing=policy))
    bench.send(LADDER)
    bench.send(fair_of(LADDER, CURVE))
    for message in inventory(random.Random(1)):
        bench.send(message)
    return bench


def timed(
    prepare: Callable[[int], object], work: Callable[[int], object], rounds: int
) -> dict[str, float]:
    """Return microseconds of wall and CPU time of `work`: p5 is what it takes undisturbed."""
    wall, cpu = np.empty(rounds), np.empty(rounds)
    for index in range(rounds):
        prepare(index)
        began, began_cpu = time.perf_counter_ns(), time.thread_time_ns()
        work(index)
        wall[index] = (time.perf_counter_ns() - began) / 1_000
        cpu[index] = (time.thread_time_ns() - began_cpu) / 1_000
    return {
        f"{name}_p{q}": round(float(np.percentile(spent, q)), 1)
        for name, spent in (("us", wall), ("cpu_us", cpu))
        for q in (5, 50, 99)
    }


def run(policy: SizingPolicy, rounds: int) -> dict[str, Any]:
    """Time verdicts of one policy, with new inputs and with unchanged ones."""
    proposals = [proposal(number) for number in range(rounds)]
    bench = bench_of(policy)
    said: list[Verdict] = []

    def refresh(number: int) -> None:
        now_ns = proposals[number].ts_pub_ns
        bench.refresh(now_ns)
        bench.send(fair_of(LADDER, curve_of(number), now_ns))

    def judge(number: int) -> None:
        said.extend(verdicts(bench.send(proposals[number])))

    fresh = timed(refresh, judge, rounds)
    same = proposals[-1]
    bench.send(same)
    unchanged = timed(lambda _: None, lambda _: bench.send(same), rounds)
    failed = {gate.reason for verdict in said for gate in verdict.gates if gate.refuses}
    joints = [gate for verdict in said for gate in verdict.gates if gate.gate == "joint"]
    return {
        "fresh": fresh,
        "unchanged": unchanged,
        "quotes_p50": float(np.percentile([len(verdict.quotes) for verdict in said], 50)),
        "gap_max": max((gate.measured or 0.0 for gate in joints), default=0.0),
        "unsolved": sum(gate.measured is None for gate in joints),
        "gates": len(said[-1].gates),
        "refused": sorted(failed),
    }


def main() -> int:
    parser = parser_of(__doc__)
    parser.add_argument("--rounds", type=int, default=1_600)
    arguments = parser.parse_args()
    assert arguments.rounds * APART_NS < TARGET - NOW, "expected rounds within the window"
    found = {name: run(policy, arguments.rounds) for name, policy in POLICIES.items()}
    return show("verdict", {"aims": AIMS, "rungs": RUNGS, **found}, arguments.json)


if __name__ == "__main__":
    raise SystemExit(main())
