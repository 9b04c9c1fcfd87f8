"""The market's own curve: bounds, projection, masses, and ladders that contradict themselves."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.domain.ladder_maths import LadderMathsError
from libs.domain.market_implied import LadderContradicts, implied_pmf, implied_survival

NAN = float("nan")


def curve(bids, asks, depths=None):
    depths = [1.0] * len(bids) if depths is None else depths
    return implied_survival(np.array(bids), np.array(asks), np.array(depths, dtype=float))


def test_clean_quotes_give_their_middles():
    found = curve([0.8, 0.4, 0.1], [0.9, 0.6, 0.2])
    assert found.survival.tolist() == pytest.approx([0.85, 0.5, 0.15])
    assert found.pmf.tolist() == pytest.approx([0.15, 0.35, 0.35, 0.15])
    assert found.moved == 0.0
    assert found.spread == pytest.approx((0.1 + 0.2 + 0.1) / 3)


def test_a_bid_at_a_higher_strike_bounds_the_lower_ones():
    """Without a quote of its own the first rung is worth at least the bid above it: ½ to 1."""
    assert curve([NAN, 0.5], [NAN, 0.6]).survival[0] == pytest.approx(0.75)
    assert curve([0.4, NAN], [0.5, NAN]).survival[1] == pytest.approx(0.25)


def test_the_projection_weighs_by_spread_and_depth():
    """Middles .25 (spread .5, depth 0) and .48 (.08, 99) rise; 2 weighs against 1250."""
    found = curve([0.0, 0.44], [0.5, 0.52], [0.0, 99.0])
    pooled = (2 * 0.25 + 1250 * 0.48) / 1252
    assert found.survival.tolist() == pytest.approx([pooled, pooled])
    assert found.moved == pytest.approx(pooled - 0.25)


def test_the_projection_stays_within_the_bounds():
    """A deep rung would pull its thin neighbour under that one's own bid."""
    found = curve([0.40, 0.30], [0.42, 0.60], [0.0, 9_999.0])
    assert found.survival.tolist() == pytest.approx([0.42, 0.42])


@pytest.mark.parametrize(
    ("bids", "asks"),
    [
        ([0.5, 0.7], [0.6, 0.8]),  # the second's bid above the first's ask
        ([0.5], [0.4]),  # crossed in itself
        ([0.2, NAN, 0.9], [0.3, NAN, NAN]),  # across a rung without quotes
    ],
)
def test_quotes_that_rise_are_bad_input_and_never_projected(bids, asks):
    with pytest.raises(LadderContradicts, match="rise"):
        curve(bids, asks)


@pytest.mark.parametrize(("bids", "asks"), [([], []), ([0.1, 0.2], [0.3])])
def test_other_shapes_are_refused(bids, asks):
    with pytest.raises((LadderMathsError, ValueError)):
        curve(bids, asks)


@pytest.mark.parametrize("depth", [NAN, float("inf"), -0.5])
def test_depths_that_are_none_are_refused(depth):
    with pytest.raises(LadderMathsError, match="depths"):
        curve([0.5, 0.4], [0.6, 0.5], [1.0, depth])


@given(
    st.lists(
        st.tuples(st.floats(0.01, 0.99), st.floats(0.0, 0.3), st.floats(0, 500), st.booleans()),
        min_size=1,
        max_size=40,
    )
)
def test_whatever_is_accepted_is_a_distribution(rows):
    bids = [NAN if bare else max(p - w, 0.0) for p, w, _, bare in rows]
    asks = [NAN if bare else min(p + w, 1.0) for p, w, _, bare in rows]
    try:
        found = curve(bids, asks, [row[2] for row in rows])
    except LadderContradicts:
        return
    assert (found.pmf >= -1e-12).all()
    assert found.pmf.sum() == pytest.approx(1.0)
    assert ((found.survival >= 0) & (found.survival <= 1)).all()
    # The projection never leaves what the quotes allow.
    low = np.nan_to_num(np.array(bids), nan=0.0)
    high = np.nan_to_num(np.array(asks), nan=1.0)
    assert (found.survival >= low - 1e-9).all()
    assert (found.survival <= high + 1e-9).all()


def test_a_partitions_masses_sum_to_one():
    """Middles .3, .5, .4 are .2 too much: a third of it comes off each."""
    found = implied_pmf(np.array([0.2, 0.4, 0.3]), np.array([0.4, 0.6, 0.5]))
    assert found.tolist() == pytest.approx([0.3 - 0.2 / 3, 0.5 - 0.2 / 3, 0.4 - 0.2 / 3])


@pytest.mark.parametrize(
    ("bids", "asks"),
    [([0.6, 0.6], [0.7, 0.7]), ([0.1, 0.1], [0.2, 0.2]), ([0.5, 0.3], [0.4, 0.9])],
)
def test_a_partition_that_contradicts_itself_is_refused(bids, asks):
    with pytest.raises(LadderContradicts, match="sum"):
        implied_pmf(np.array(bids), np.array(asks))
