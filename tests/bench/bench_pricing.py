"""Time pricing and valuing a 60-rung ladder: distribution, probabilities, both sides' EV, fees.

    python tests/bench/bench_pricing.py [--json OUT] [--rungs 60] [--rounds 5000]

Prints JSON; the aim is p50 at or below 50 µs (issue 2).
"""

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from libs.common.messages import LadderDefined, PriceRange  # noqa: E402
from libs.domain.eastern import NS_PER_MINUTE  # noqa: E402
from services.pricer.artifacts import load_calibration  # noqa: E402
from services.pricer.ev import ladder_value  # noqa: E402
from services.pricer.ladder import Books, PricedLadder  # noqa: E402
from services.pricer.models.index_hourly import HourlyInputs, distribution  # noqa: E402
from services.pricer.quotes import QuotePolicy, choose_quotes  # noqa: E402

EVENT = "KXINXU-24AUG05H1200"
TARGET_NS = 1_722_873_600_000_000_000
LEVEL_E4 = 52_200_000
STEP_E4 = 100_000
P50_US_MAX = 50.0


def ladder_of(rungs: int) -> LadderDefined:
    """Return a nested ladder of that many thresholds around the level."""
    low_e4 = LEVEL_E4 - rungs // 2 * STEP_E4 - 1
    floors_e4 = tuple(low_e4 + index * STEP_E4 for index in range(rungs))
    return LadderDefined(
        id="definition",
        ts_event_ns=1,
        ts_pub_ns=1,
        cause_id="",
        correlation_id="definition",
        source="bench",
        ladder_id="ladder",
        event_ticker=EVENT,
        series_ticker="KXINXU",
        family="INXU",
        symbol="I:SPX",
        kind="nested",
        target_ns=TARGET_NS,
        close_ns=TARGET_NS,
        tickers=tuple(f"{EVENT}-T{floor_e4 / 10_000:.4f}" for floor_e4 in floors_e4),
        strike_types=("greater",) * rungs,
        floors_e4=floors_e4,
        caps_e4=(None,) * rungs,
        price_ranges=(PriceRange(0, 10_000, 100),),
    )


def measure(rungs: int, rounds: int) -> dict[str, float | int]:
    """Return microseconds at p50 and p99 for pricing and valuing, and for choosing quotes."""
    now_ns = TARGET_NS - 10 * NS_PER_MINUTE
    ladder = PricedLadder(ladder_of(rungs), now_ns)
    calibration = load_calibration(ROOT / "configs" / "calibration" / "INXU.json", "INXU")
    start = HourlyInputs(level_e4=LEVEL_E4, target_ns=TARGET_NS)
    fair_e4 = ladder.edges.probabilities(distribution(start, calibration, now_ns).cdf) * 10_000
    books = Books(
        ladder.ticks.at_or_below(fair_e4 - 1_400),
        ladder.ticks.at_or_above(fair_e4 + 1_400),
        np.full(rungs, 10_000),
        np.full(rungs, 10_000),
    )
    policy = QuotePolicy()
    priced_us, chosen_us = np.empty(rounds), np.empty(rounds)
    for index in range(rounds):
        inputs = HourlyInputs(level_e4=LEVEL_E4 + index % 97 * 100, target_ns=TARGET_NS)
        begin = time.perf_counter_ns()
        model = distribution(inputs, calibration, now_ns + index)
        probabilities = ladder.edges.probabilities(model.cdf)
        ladder_value(probabilities, books.bid_price_e4, books.ask_price_e4, ladder.fees, 0.9)
        priced = time.perf_counter_ns()
        choose_quotes(ladder, probabilities, books, policy)
        chosen_us[index] = (time.perf_counter_ns() - priced) / 1_000
        priced_us[index] = (priced - begin) / 1_000
    return {
        "rungs": rungs,
        "rounds": rounds,
        "price_and_value_us_p50": round(float(np.percentile(priced_us, 50)), 2),
        "price_and_value_us_p99": round(float(np.percentile(priced_us, 99)), 2),
        "price_and_value_us_p50_max": P50_US_MAX,
        "choose_quotes_us_p50": round(float(np.percentile(chosen_us, 50)), 2),
        "choose_quotes_us_p99": round(float(np.percentile(chosen_us, 99)), 2),
    }


def main() -> int:
    """Measure, print and write; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--json", type=Path, metavar="OUT")
    parser.add_argument("--rungs", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=5_000)
    options = parser.parse_args()
    found = json.dumps({"bench": "pricing", **measure(options.rungs, options.rounds)}, indent=1)
    sys.stdout.write(found + "\n")
    if options.json:
        options.json.write_text(found + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
