"""Time a verdict: all gates and joint sizing of one event with inventory.

    python tests/bench/bench_verdict.py [--json OUT] [--rounds 2000] [--rungs 40]

Prints JSON. Aims (issue 5): ≤ 1 ms p50 and ≤ 3 ms p99 when the pmf moved, ≤ 100 µs p50 when no
input of sizing did. Between two verdicts a market with a fill on every other rung is quoted anew.
"""

import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from msgspec.structs import replace  # noqa: E402

from libs.common.messages import Proposal, Quote, Side, Verdict  # noqa: E402
from services.risk.sizing.policy import PilotPolicy, SizeLadderPolicy  # noqa: E402
from tests.bench.command import parser_of, show  # noqa: E402
from tests.services.risk import builders as b  # noqa: E402

AIMS_US = {"moved_p50": 1_000.0, "moved_p99": 3_000.0, "unchanged_p50": 100.0}
STEP_E4 = 100_000
SIDES: tuple[tuple[Side, int], ...] = (("bid", -600), ("ask", 600))
"""Each side's distance from fair, in $0.0001."""
MS = 1_000_000


def tickers_of(rungs: int) -> tuple[str, ...]:
    return tuple(f"{b.EVENT}-T{5000 + 10 * rung}.9999" for rung in range(rungs))


def bench_of(rungs: int) -> tuple[b.Bench, tuple[str, ...]]:
    """Return a core that knows a ladder of that many rungs and holds every other one."""
    sizing = replace(
        b.POLICY.sizing, pilot=PilotPolicy(active=False), size_ladder=SizeLadderPolicy(stage="D")
    )
    bench = b.Bench(replace(b.POLICY, sizing=sizing))
    tickers = tickers_of(rungs)
    floors = tuple(50_009_999 + rung * STEP_E4 for rung in range(rungs))
    bench.send(
        replace(
            b.definition(),
            ladder_id="ladder-2",
            tickers=tickers,
            strike_types=("greater",) * rungs,
            floors_e4=floors,
            caps_e4=(None,) * rungs,
        )
    )
    for rung in range(0, rungs, 2):
        bench.send(
            b.fill(
                100 + 100 * (rung % 5),
                ticker=tickers[rung],
                side="bid" if rung % 4 else "ask",
                price_e4=round(10_000 * probability(rung, rungs)),
                trade=f"t{rung}",
                client=f"c{rung}",
            )
        )
    return bench, tickers


def probability(rung: int, rungs: int, shift: float = 0.0) -> float:
    """Return a survival that falls along the ladder."""
    return float(np.clip(1.0 / (1.0 + np.exp((rung - rungs / 2 + shift) / 4.0)), 0.01, 0.99))


def moved(bench: b.Bench, tickers: tuple[str, ...], now_ns: int, shift: float) -> Proposal:
    """Let the fair ladder move and return the proposal that follows."""
    rungs = len(tickers)
    fair = tuple(probability(rung, rungs, shift) for rung in range(rungs))
    bench.send(
        replace(b.fair(now_ns), ladder_id="ladder-2", probabilities=fair, id=f"f{now_ns}{shift}")
    )
    quotes = tuple(
        Quote(
            ticker=tickers[rung],
            side=side,
            price_e4=max(100, min(9_900, round(10_000 * fair[rung]) + away_e4)),
            count_e2=1_000,
            probability=fair[rung],
            ev_per_contract_e6=60_000,
            fill_probability=0.3,
        )
        for rung in range(rungs // 2 - 4, rungs // 2 + 4)
        for side, away_e4 in SIDES
    )
    return replace(b.proposal(now_ns, quotes), id=f"p{now_ns}{shift}")


def verdict_of(bench: b.Bench, proposal: Proposal) -> tuple[float, Verdict]:
    """Return how many µs a verdict took, and the verdict."""
    began = time.perf_counter_ns()
    effects = bench.send(proposal)
    took_us = (time.perf_counter_ns() - began) / 1_000
    (verdict,) = b.verdicts(effects)
    return took_us, verdict


def figures(times_us: list[float]) -> dict[str, float]:
    p50, p99 = np.percentile(times_us, [50, 99])
    return {"p50_us": round(float(p50), 1), "p99_us": round(float(p99), 1)}


def main() -> int:
    """Run and print; return the exit code."""
    parser = parser_of(__doc__)
    parser.add_argument("--rounds", type=int, default=2_000)
    parser.add_argument("--rungs", type=int, default=40)
    arguments = parser.parse_args()
    bench, tickers = bench_of(arguments.rungs)
    first, again = [], []
    decisions: dict[str, int] = {}
    sized = 0
    for turn in range(arguments.rounds):
        now_ns = b.NOW + turn * MS
        proposal = moved(bench, tickers, now_ns, 0.5 * float(np.sin(turn / 10.0)))
        took_us, verdict = verdict_of(bench, proposal)
        first.append(took_us)
        decisions[verdict.decision] = decisions.get(verdict.decision, 0) + 1
        sized += len(verdict.quotes)
        took_us, _ = verdict_of(bench, replace(proposal, id=f"{proposal.id}-again"))
        again.append(took_us)
    found: dict[str, Any] = {
        "rungs": arguments.rungs,
        "gates": len(verdict.gates),
        "decisions": decisions,
        "quotes_per_verdict": round(sized / arguments.rounds, 1),
        "moved": figures(first),
        "unchanged": figures(again),
        "aims_us": AIMS_US,
    }
    return show("verdict", found, arguments.json)


if __name__ == "__main__":
    raise SystemExit(main())
