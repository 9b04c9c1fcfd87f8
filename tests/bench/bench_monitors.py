"""Time one pass of all monitors: 20 series with 400 rungs each, every snapshot new.

    python tests/bench/bench_monitors.py [--json OUT]

Prints JSON. Aim (issue 5): one pass ≤ 50 ms. A pass judges every monitor and makes its messages and
metrics; folding what came since the pass before is shown beside it.
"""

import statistics
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from msgspec.structs import replace  # noqa: E402

from libs.common.config import load_part  # noqa: E402
from libs.common.effects import Received, TimerFired  # noqa: E402
from libs.common.freshness import FreshnessPolicy  # noqa: E402
from libs.common.messages import LadderSnapshot  # noqa: E402
from libs.common.metrics import Metrics  # noqa: E402
from libs.common.policy_files import CONFIGS  # noqa: E402
from libs.domain.families import FAMILIES  # noqa: E402
from services.monitors.app import show  # noqa: E402
from services.monitors.core import LOOK, MonitorsCore  # noqa: E402
from services.monitors.events import ShowMonitor, Started  # noqa: E402
from services.monitors.policy import MonitorsPolicy  # noqa: E402
from tests.bench import command  # noqa: E402

S = 1_000_000_000
NOW = 1_722_873_000 * S  # Monday 2024-08-05 11:50 in New York
RUNGS, PASSES = 400, 120
WEATHER = tuple(f"KXHIGH{city}" for city in ("NY", "CHI", "MIA", "AUS", "DEN", "LAX", "PHIL", "SF"))
SERIES = (*(ticker for family in FAMILIES for ticker in family.series_tickers), *WEATHER)[:20]


def snapshot(series: str, at_ns: int) -> LadderSnapshot:
    """Return a ladder of 400 rungs that falls from 97 to 2 cents."""
    bids = tuple(9_700 - 9_500 * rung // RUNGS for rung in range(RUNGS))
    counts = (100,) * RUNGS
    return LadderSnapshot(
        id="x",
        ts_event_ns=at_ns,
        ts_pub_ns=at_ns,
        cause_id="",
        correlation_id="x",
        source="feeds",
        ladder_id="l",
        event_ticker=f"{series}-24AUG05H1200",
        series_ticker=series,
        target_ns=NOW + 86_400 * S,
        recv_ns=at_ns,
        provenance="synthetic",
        bid_price_e4=bids,
        bid_count_e2=counts,
        bid_depth_e2=counts,
        ask_price_e4=tuple(bid + 200 for bid in bids),
        ask_count_e2=counts,
        ask_depth_e2=counts,
    )


def measure() -> dict[str, object]:
    """Return the times of passes and folds in ms."""
    table = load_part(CONFIGS / "freshness.yaml", "policy.freshness", FreshnessPolicy)
    families = tuple(family.name for family in FAMILIES)
    core, metrics = MonitorsCore(MonitorsPolicy(families=families, freshness=table)), Metrics()
    core.handle(Started(now_ns=NOW))
    ladders = [snapshot(series, NOW) for series in SERIES]
    passes, folds, readings = [], [], 0
    for second in range(1, PASSES + 1):
        now_ns = NOW + second * S
        began = time.perf_counter()
        for sequence, ladder in enumerate(ladders):
            fresh = replace(ladder, ts_pub_ns=now_ns, recv_ns=now_ns)
            place = second * len(SERIES) + sequence
            core.handle(Received(now_ns=now_ns, message=fresh, stream="LADDERS", sequence=place))
        folded = time.perf_counter()
        effects = core.handle(TimerFired(now_ns=now_ns, key=LOOK, at_ns=now_ns))
        shown = [effect for effect in effects if isinstance(effect, ShowMonitor)]
        for effect in shown:
            show(effect, metrics)
        passes.append((time.perf_counter() - folded) * 1e3)
        folds.append((folded - began) * 1e3)
        readings = len(shown)
    return {
        "series": len(SERIES),
        "rungs": RUNGS,
        "readings": readings,
        "pass_p50_ms": round(statistics.median(passes), 2),
        "pass_p99_ms": round(statistics.quantiles(passes, n=100)[98], 2),
        "pass_max_ms": round(max(passes), 2),
        "fold_p50_ms": round(statistics.median(folds), 2),
        "aim_pass_ms": 50.0,
    }


def main() -> int:
    """Measure, print and write; return the exit code."""
    options = command.parser_of(__doc__).parse_args()
    return command.show("monitors", measure(), options.json)


if __name__ == "__main__":
    raise SystemExit(main())
