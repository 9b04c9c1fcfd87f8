import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.domain.families import LadderKind
from libs.domain.ladder_maths import (
    LadderMathsError,
    contradictions,
    count_rises,
    isotonic_survival,
    kinks,
    microprice,
    microprices,
    pmf_of_survival,
    simplex_projection,
    survival_of_pmf,
)

rows = st.lists(st.floats(-1, 2), min_size=1, max_size=40)


def test_isotonic_golden() -> None:
    assert isotonic_survival([0.9, 0.5, 0.6, 0.2]).tolist() == pytest.approx([0.9, 0.55, 0.55, 0.2])
    assert isotonic_survival([1.2, -0.1, 0.3]).tolist() == pytest.approx([1, 0.15, 0.15])


def test_isotonic_weighs() -> None:
    found = isotonic_survival([0.5, 0.6], [3.0, 1.0])
    assert found.tolist() == pytest.approx([0.525, 0.525])


@given(rows, st.data())
def test_isotonic_is_the_nearest_falling_curve(values: list[float], data: st.DataObject) -> None:
    size = len(values)
    weights = data.draw(st.lists(st.floats(0.1, 10), min_size=size, max_size=size))
    found = isotonic_survival(values, weights)
    assert bool((np.diff(found) <= 0).all())
    assert bool(((found >= 0) & (found <= 1)).all())
    target = np.clip(values, 0, 1)
    # Optimality of a projection on a cone: the residual is orthogonal to the result, and makes
    # an obtuse angle with every falling step function.
    residual = np.array(weights) * (target - found)
    assert float(residual @ found) == pytest.approx(0, abs=1e-9)
    assert bool((np.cumsum(residual) <= 1e-9).all())
    assert isotonic_survival(found, weights).tolist() == found.tolist()


def test_simplex_golden() -> None:
    assert simplex_projection([0.5, 0.5, 0.5]).tolist() == pytest.approx([1 / 3] * 3)
    found = simplex_projection([0.2, 0.3, 0.9])
    assert found.tolist() == pytest.approx([0.0667, 0.1667, 0.7667], abs=5e-5)


@given(rows)
def test_simplex_is_a_pmf_and_keeps_order(values: list[float]) -> None:
    found = simplex_projection(values)
    assert found.sum() == pytest.approx(1, abs=1e-9)
    assert bool((found >= 0).all())
    assert simplex_projection(found).tolist() == pytest.approx(found.tolist(), abs=1e-9)
    order = np.argsort(values, kind="stable")
    assert bool((np.diff(found[order]) >= 0).all())


def test_pmf_golden() -> None:
    assert pmf_of_survival([0.9, 0.7, 0.4]).tolist() == pytest.approx([0.1, 0.2, 0.3, 0.4])


@given(rows)
def test_pmf_and_survival_undo_each_other(values: list[float]) -> None:
    curve = isotonic_survival(values)
    pmf = pmf_of_survival(curve)
    assert pmf.sum() == pytest.approx(1)
    assert bool((pmf >= 0).all())
    assert survival_of_pmf(pmf).tolist() == pytest.approx(curve.tolist(), abs=1e-12)


@pytest.mark.parametrize("rising", [[0.2, 0.9], [1.1, 0.5], [0.5, -0.1]])
def test_a_curve_that_rises_or_leaves_zero_to_one_has_no_pmf(rising: list[float]) -> None:
    with pytest.raises(LadderMathsError, match="fall from 1 to 0"):
        pmf_of_survival(rising)


def test_kinks_golden() -> None:
    found = kinks([1, 0.85, 0.7, 0.4, 0.35, 0.2])
    assert found.bend_max == pytest.approx(0.25)
    assert found.bend_mean == pytest.approx(0.125)
    assert found.count == 1


def test_a_straight_or_short_curve_has_no_kink() -> None:
    assert kinks([1.0, 0.5, 0.0]).count == 0
    assert kinks([0.4]).bend_max == 0


def test_microprice_golden() -> None:
    found = microprice(0.48, 30, 0.54, 10)
    assert found.price == pytest.approx(0.525)
    assert found.imbalance == pytest.approx(0.5)
    with pytest.raises(LadderMathsError):
        microprice(0.48, 0, 0.54, 0)


def test_microprices_are_those_of_each_market() -> None:
    prices, imbalances = microprices(
        np.array([0.48, 0.0]), np.array([30.0, 0.0]), np.array([0.54, 0.9]), np.array([10.0, 5.0])
    )
    assert prices[0] == pytest.approx(0.525)
    assert imbalances[0] == pytest.approx(0.5)
    assert np.isnan(prices[1])
    assert np.isnan(imbalances[1])


def test_rises_are_counted_before_projection() -> None:
    assert count_rises([0.9, 0.5, 0.6, 0.2]) == 1
    assert count_rises([0.9, np.nan, 0.95, 0.96]) == 2
    assert count_rises([0.9, 0.905], tolerance=0.01) == 0
    assert count_rises([0.9, 0.5, 0.2]) == 0


def test_contradictions_need_a_bid_above_a_lower_strikes_ask() -> None:
    nested = LadderKind.NESTED
    assert contradictions(nested, [8000, 5000, 1000], [9000, 7000, 3000]) == 0
    # Mids rise from .5 to .55, but a falling curve fits between all bids and asks.
    assert contradictions(nested, [1000, 3000], [9000, 8000]) == 0
    assert contradictions(nested, [3000, 6000, 7000], [5000, 9000, 9000]) == 2
    assert contradictions(nested, [0, 6000], [5000, 10_000]) == 1
    assert contradictions(nested, [5000], [6000]) == 0
    with pytest.raises(LadderMathsError):
        contradictions(nested, [5000], [6000, 7000])


def test_a_partition_contradicts_itself_when_its_bids_sum_past_one() -> None:
    assert contradictions(LadderKind.PARTITION, [3000, 3000, 4000], [10_000] * 3) == 0
    assert contradictions(LadderKind.PARTITION, [3000, 3000, 4001], [10_000] * 3) == 1


quotes = st.integers(0, 10_000)


@given(st.lists(st.tuples(quotes, quotes), min_size=1, max_size=20))
def test_contradictions_are_the_bids_above_any_ask_at_a_lower_strike(
    pairs: list[tuple[int, int]],
) -> None:
    """Pair by pair; and where there are none, a falling curve fits between bids and asks."""
    bids, asks = [bid for bid, _ in pairs], [ask for _, ask in pairs]
    found = contradictions(LadderKind.NESTED, bids, asks)
    assert found == sum(any(bid > ask for ask in asks[:rung]) for rung, bid in enumerate(bids))
    highest = np.minimum.accumulate(asks)  # the highest falling curve below all asks
    if all(bid <= ask for bid, ask in pairs):
        assert (found == 0) == bool((highest >= bids).all())


@pytest.mark.parametrize("bad", [[], [float("nan")], [[0.1]], [float("inf")]])
def test_what_is_no_curve_is_refused(bad: list[float]) -> None:
    for function in (isotonic_survival, simplex_projection, pmf_of_survival, kinks):
        with pytest.raises(LadderMathsError):
            function(bad)


def test_weights_must_be_positive() -> None:
    with pytest.raises(LadderMathsError, match="weight"):
        isotonic_survival([0.5, 0.6], [1.0, 0.0])
