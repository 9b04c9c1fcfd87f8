"""Time pricing: distribution, probabilities and both sides' EV after fees; the market's own curve.

    python tests/bench/bench_pricing.py [--json OUT] [--rounds 5000]

Prints JSON. Aims (issue 4): p50 ≤ 30 µs on 60 rungs, ≤ 80 µs on 400; the market's survival,
projection and pmf of 60 rungs ≤ 40 µs. Each beside the plain way, rung by rung with scipy.
`price` values all rungs at once. The pricer itself values the few that it may quote, one by one:
that is `choose_quotes` (aim 25 µs on 60 rungs), and `tick` is all that its core does with a level,
the proposal included where it changes.
"""

import random
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression
from scipy.stats import norm

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from libs.common.effects import Received  # noqa: E402
from libs.common.messages import LadderDefined, Message, PriceRange  # noqa: E402
from libs.domain.distributions import Distribution  # noqa: E402
from libs.domain.eastern import NS_PER_MINUTE  # noqa: E402
from libs.domain.fees import schedule_at  # noqa: E402
from libs.domain.market_implied import implied_survival  # noqa: E402
from services.pricer.artifacts import load_calibration  # noqa: E402
from services.pricer.core import PricerCore  # noqa: E402
from services.pricer.ev import ladder_value  # noqa: E402
from services.pricer.fills import Fills  # noqa: E402
from services.pricer.ladder import Books, PricedLadder  # noqa: E402
from services.pricer.models import mixture  # noqa: E402
from services.pricer.models.contract import Belief, IndexInputs, target_of  # noqa: E402
from services.pricer.policy import PricerPolicy  # noqa: E402
from services.pricer.quotes import Moment, QuotePolicy, attention_of, choose_quotes  # noqa: E402
from tests.bench.command import parser_of, show  # noqa: E402
from tests.services.pricer.builders import snapshot, tick  # noqa: E402

EVENT = "KXINXU-24AUG05H1200"
TARGET_NS = 1_722_873_600_000_000_000
LEVEL_E4 = 52_200_000
AIMS_US = {
    "price_60": 30.0,
    "price_400": 80.0,
    "market_implied_60": 40.0,
    "choose_quotes_60": 25.0,
}
"""Steps that put all rungs within 300 points, as on a listed ladder."""
STEPS_E4 = {60: 100_000, 400: 15_000}


def ladder_of(rungs: int) -> LadderDefined:
    """Return a nested ladder of that many thresholds around the level."""
    step_e4 = STEPS_E4[rungs]
    low_e4 = LEVEL_E4 - rungs // 2 * step_e4 - 1
    floors_e4 = tuple(low_e4 + index * step_e4 for index in range(rungs))
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


def timed(work: Callable[[int], object], rounds: int) -> dict[str, float]:
    """Return microseconds at p50 and p99."""
    spent = np.empty(rounds)
    for index in range(rounds):
        begin = time.perf_counter_ns()
        work(index)
        spent[index] = (time.perf_counter_ns() - begin) / 1_000
    return percentiles(spent)


def percentiles(spent_us: NDArray[np.float64]) -> dict[str, float]:
    """Return the microseconds at p50 and p99."""
    return {f"us_p{q}": round(float(np.percentile(spent_us, q)), 2) for q in (50, 99)}


def measure(rungs: int, rounds: int) -> dict[str, dict[str, float]]:
    """Return the timings of one ladder, ours and the rival's."""
    now_ns = TARGET_NS - 10 * NS_PER_MINUTE
    ladder = PricedLadder(ladder_of(rungs), now_ns)
    calibration = load_calibration(ROOT / "configs" / "calibration" / "index.json", "INXU")
    target = target_of("INXU", TARGET_NS)
    belief = Belief(target.day.open_ns, now_ns - NS_PER_MINUTE, 0.3, 0.04)

    def forecast(index: int) -> Distribution:
        level_e4 = LEVEL_E4 + index % 97 * 100
        inputs = IndexInputs(level_e4=level_e4, target=target, belief=belief)
        return mixture.distribution(inputs, calibration, now_ns + index)

    fair = ladder.edges.probabilities(forecast(0).cdf)
    books = Books(
        [ladder.ticks.at_or_below(at * 10_000 - 1_400) for at in fair.tolist()],
        [ladder.ticks.at_or_above(at * 10_000 + 1_400) for at in fair.tolist()],
        *([10_000] * rungs for _ in range(4)),
    )
    bids_e4, asks_e4 = np.array(books.bid_price_e4), np.array(books.ask_price_e4)
    moment = Moment(ladder, fair, books, QuotePolicy(), Fills(), 10.0, attention_of(fair))

    def price(index: int) -> None:
        probabilities = ladder.edges.probabilities(forecast(index).cdf)
        ladder_value(probabilities, bids_e4, asks_e4, ladder.fees, 0.9)

    return {
        f"price_{rungs}": timed(price, rounds),
        f"price_{rungs}_rival_scipy_per_rung": timed(
            lambda index: rival_price(ladder, books, index), max(rounds // 100, 20)
        ),
        f"choose_quotes_{rungs}": timed(lambda _: choose_quotes(moment), max(rounds // 5, 20)),
        f"tick_{rungs}": timed_ticks(rungs, rounds),
    }


def timed_ticks(rungs: int, rounds: int) -> dict[str, float]:
    """Return microseconds of the core for a level a millisecond; each may change the quotes."""
    policy = PricerPolicy(min_rest_s=0.0, calibration_age_days_max=None)
    calibration = load_calibration(ROOT / "configs" / "calibration" / "index.json", "INXU")
    core = PricerCore(policy, {"INXU": calibration})
    now_ns = TARGET_NS - 14 * NS_PER_MINUTE
    dice, spent = random.Random(1), np.empty(rounds)
    fair = 1.0 / (1.0 + np.exp(np.linspace(-8, 8, rungs)))
    bids = tuple(int(max(at - 0.14, 0.0) * 100) * 100 for at in fair)
    asks = tuple(int(min(at + 0.15, 1.0) * 100) * 100 for at in fair)

    def received(message: Message) -> Received:
        return Received(now_ns=now_ns, message=message, stream="bench", sequence=1)

    core.handle(received(ladder_of(rungs)))
    for index in range(rounds):
        now_ns += 1_000_000
        if index % 200 == 0:
            core.handle(received(snapshot(now_ns, bids, asks, ladder_id="ladder")))
        event = received(tick(now_ns, LEVEL_E4 / 10_000 + dice.uniform(-20.0, 20.0)))
        begin = time.perf_counter_ns()
        core.handle(event)
        spent[index] = (time.perf_counter_ns() - begin) / 1_000
    return percentiles(spent)


def rival_price(ladder: PricedLadder, books: Books, index: int) -> list[tuple[float, float]]:
    """Value each rung by itself with scipy's own normal and one fee at a time."""
    schedule = schedule_at("KXINXU", TARGET_NS, EVENT)
    level, sigma = (LEVEL_E4 + index % 97 * 100) / 10_000, 9.0
    found = []
    for rung, bid_e4, ask_e4 in zip(
        ladder.ladder.rungs, books.bid_price_e4, books.ask_price_e4, strict=True
    ):
        assert rung.floor_e4 is not None
        p = 1.0 - norm.cdf(rung.floor_e4 / 10_000, loc=level, scale=sigma)
        prices_e4 = [min(max(int(at_e4), 1), 9_999) for at_e4 in (bid_e4, ask_e4)]
        fees = [schedule.trade_fee_e6("maker", at_e4, 100) for at_e4 in prices_e4]
        found.append(
            (
                (p * 10_000 - bid_e4) * 100 - fees[0],
                (ask_e4 - p * 10_000) * 100 - fees[1],
            )
        )
    return found


def measure_market(rungs: int, rounds: int) -> dict[str, dict[str, float]]:
    """Return the timings of the market's own curve, on quotes that need projecting."""
    rng = np.random.default_rng(1)
    curve = 1.0 - norm.cdf(np.linspace(-3, 3, rungs))
    noisy = np.clip(curve + rng.normal(0, 0.01, rungs), 0.02, 0.98)
    bids, asks = np.clip(noisy - 0.06, 0.01, 1), np.clip(noisy + 0.06, 0, 0.99)
    depths = rng.integers(1, 500, rungs).astype(np.float64)
    name = f"market_implied_{rungs}"
    return {
        name: timed(lambda _: implied_survival(bids, asks, depths), rounds),
        f"{name}_rival_scipy": timed(
            lambda _: rival_market(bids, asks, depths), max(rounds // 10, 20)
        ),
    }


def rival_market(
    bids: NDArray[np.float64], asks: NDArray[np.float64], depths: NDArray[np.float64]
) -> list[float]:
    """Work out bounds rung by rung, and project with scipy's isotonic regression."""
    count = len(bids)
    low = [max(bids[place:]) for place in range(count)]
    high = [min(asks[: place + 1]) for place in range(count)]
    middle = [(a + b) / 2 for a, b in zip(low, high, strict=True)]
    weights = [
        (depth + 1) / max(b - a, 0.01) for depth, a, b in zip(depths, low, high, strict=True)
    ]
    curve = isotonic_regression(middle, weights=weights, increasing=False).x
    return [1 - curve[0], *(curve[:-1] - curve[1:]), curve[-1]]


def main() -> int:
    """Measure, print and write; return the exit code."""
    parser = parser_of(__doc__)
    parser.add_argument("--rounds", type=int, default=5_000)
    options = parser.parse_args()
    times = measure(60, options.rounds) | measure(400, options.rounds)
    times |= measure_market(60, options.rounds)
    for name, aim_us in AIMS_US.items():
        times[name]["aim_us_p50"] = aim_us
    return show("pricing", {"rounds": options.rounds, **times}, options.json)


if __name__ == "__main__":
    raise SystemExit(main())
