"""The fit finds a law that made the fills, counts what never filled, and leans on its priors."""

from collections import Counter

import numpy as np
import pytest
from msgspec import structs

from lab.fills.fit import FitError, Seen, fit, joined
from lab.fills.observe import Markout, Observations, OrderRow, Row
from lab.fills.score import compare, markdown
from services.pricer.fills import Coefficients, FillModel, Fills, FillState, SeriesFills

LAW = Fills(
    Coefficients(
        joins=-0.6,
        behind_cents=-0.4,
        queue=-0.15,
        edge_cents=-0.08,
        time=-0.3,
        ask=0.2,
        attention=0.7,
    ),
    SeriesFills(log_rate=0.3, pull_per_min=6.0),
)


def _markout(rng: np.random.Generator, series: str, event: str, state: FillState) -> Markout:
    """Three cents against us in the last minute, less before; half a cent of spread."""
    adverse = 3.0 / max(state.minutes_left, 1.0) + 0.05 + float(rng.normal(0.0, 0.5))
    return Markout(series, event, state.count_e2, 0.1, state.minutes_left, adverse)


def simulated(count: int, seed: int = 1, law: Fills = LAW, series: str = "KXINXU") -> Observations:
    """Orders whose fills and pulls come at the law's own rates, over ten events."""
    rng = np.random.default_rng(seed)
    rows, orders, markouts = [], [], []
    for number in range(count):
        behind = int(rng.choice([-100, 0, 100, 200]))
        state = FillState(
            side="ask" if rng.random() < 0.5 else "bid",
            behind_e4=behind,
            ahead_e2=0 if behind < 0 else int(rng.integers(100, 50_000)),
            count_e2=int(rng.choice([100, 500])),
            edge_cents=float(rng.uniform(6, 30)),
            minutes_left=float(rng.uniform(0.5, 15.0)),
            attention=float(rng.uniform(0.02, 0.4)),
        )
        until_fill = rng.exponential(1 / law.rate_per_min(state))
        until_pull = rng.exponential(1 / law.series.pull_per_min)
        minutes = float(min(until_fill, until_pull, state.minutes_left))
        share = float(until_fill == minutes)
        event = f"{series}-{number % 10}"
        rows.append(Row(series, event, state, minutes, share))
        pulled = until_pull == minutes
        orders.append(OrderRow(series, event, state, minutes, share, pulled, True))
        if share:
            markouts.append(_markout(rng, series, event, state))
    return Observations(
        f"{series}{seed}", rows, orders, markouts, Counter(), "synthetic", 10**18, 2 * 10**18
    )


MANY = joined([simulated(8_000)])


def test_it_finds_the_law_that_made_the_fills():
    """To within three standard errors of some 700 fills, priors being weak beside them."""
    found = fit(MANY, 1)
    wide = {"joins": 0.6, "behind_cents": 0.25, "queue": 0.12, "size": 0.2, "ask": 0.25}
    for name in Coefficients.__struct_fields__:
        true = getattr(LAW.coefficients, name)
        assert getattr(found.coefficients, name) == pytest.approx(true, abs=wide.get(name, 0.12))
    series = found.series["KXINXU"]
    assert series.pull_per_min == pytest.approx(6.0, rel=0.05)
    assert series.adverse_cents == pytest.approx(3.0, abs=0.2)
    assert series.orders == 8_000
    assert series.orders_without_fill == 8_000 - series.fills


def test_alpha_is_the_share_that_fills():
    report = compare(fit(MANY, 1), joined([simulated(6_000, seed=2)]))
    for row in report["alpha"]:
        low, high = row["filled_ci95"]
        assert low - 0.005 <= row["alpha"] <= high + 0.005
    assert report["brier"]["gain_ci95_one_alpha"][0] > 0.0
    assert not report["in_sample"]


def test_a_wrong_rate_is_seen_in_the_comparison():
    """Twice the rate expects twice the fills."""
    found = fit(MANY, 1)
    double = structs.replace(
        found,
        series={
            name: structs.replace(row, log_rate=row.log_rate + float(np.log(2.0)))
            for name, row in found.series.items()
        },
    )
    (right,) = [row for row in compare(found, MANY)["rates"] if row["by"] == "all"]
    (wrong,) = [row for row in compare(double, MANY)["rates"] if row["by"] == "all"]
    assert right["ratio"] == pytest.approx(1.0, abs=0.01)
    assert wrong["ratio"] == pytest.approx(0.5, abs=0.01)
    assert wrong["ratio_ci95"][1] < 1.0


def test_orders_that_never_filled_lower_the_rate():
    filled = structs.replace(MANY, rows=[row for row in MANY.rows if row.share])
    with_all, without = fit(MANY, 1), fit(filled, 1)
    assert without.default.log_rate > with_all.default.log_rate + 0.5


def test_no_fill_at_all_gives_a_low_rate_and_an_interval_above_none():
    never = structs.replace(LAW, series=SeriesFills(log_rate=-9.0, pull_per_min=6.0))
    seen = joined([simulated(2_000, law=never)])
    assert sum(row.share for row in seen.rows) == 0.0
    found = fit(seen, 1)
    assert found.default.log_rate < -3.0
    report = compare(found, seen)
    assert report["rates"][0]["ratio"] == 0.0
    assert report["rates"][0]["ratio_ci95"][1] > 0.0


def test_few_orders_stay_near_the_defaults_and_say_so():
    found = fit(joined([simulated(20)]), 1)
    assert found.coefficients.queue == pytest.approx(Coefficients().queue, abs=0.15)
    assert any("common rate mostly" in line for line in found.not_estimated)


def test_a_thin_series_leans_on_what_all_have_in_common():
    thin = simulated(40, seed=3, series="KXNASDAQ100U")
    found = fit(joined([simulated(3_000), thin]), 1)
    own, common = found.series["KXNASDAQ100U"], found.default
    assert own.log_rate == pytest.approx(common.log_rate, abs=0.6)
    assert found.of_series("KXINX").series == common


def test_a_gain_on_fills_is_never_a_slippage_below_the_curve():
    kind = [structs.replace(row, adverse_cents=-5.0) for row in MANY.markouts]
    assert fit(structs.replace(MANY, markouts=kind), 1).default.adverse_cents == 0.0


def test_the_same_run_twice_counts_once():
    part = simulated(100)
    assert len(joined([part, part]).rows) == 100


def test_a_report_on_what_it_was_fitted_on_says_so():
    found = fit(MANY, 1)
    assert compare(found, MANY)["in_sample"]
    assert "fitted on them" in markdown(compare(found, MANY))


def test_the_defaults_can_be_compared_as_well():
    page = markdown(compare(FillModel(), MANY))
    assert page.startswith("# Fill model fills-default")


def test_nothing_to_fit_on_is_an_error():
    empty = Seen((), [], [], [], {}, "synthetic", 1, 1)
    with pytest.raises(FitError, match="found none"):
        fit(empty, 1)
