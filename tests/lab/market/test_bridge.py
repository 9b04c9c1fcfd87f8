"""A bridged minute is its bar: O, H, L and C exactly, nothing outside."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.market.bridge import SECONDS, bridge_minute

LEVELS = st.integers(min_value=50_000_000, max_value=50_300_000)


@given(st.lists(LEVELS, min_size=4, max_size=4), st.integers(0, 2**32), st.booleans())
def test_a_bridge_meets_its_bar_exactly(levels: list[int], seed: int, falling: bool) -> None:
    low, first, second, high = sorted(levels)
    open_e4, close_e4 = (second, first) if falling else (first, second)
    prints = bridge_minute(open_e4, high, low, close_e4, seed)
    assert prints.size == SECONDS
    assert prints[0] == open_e4
    assert prints[-1] == close_e4
    assert prints.max() == high
    assert prints.min() == low


@given(st.lists(st.integers(5_000, 5_400), min_size=4, max_size=4), st.integers(0, 1_000))
def test_levels_on_the_cent_grid_stay_on_it(cents: list[int], seed: int) -> None:
    low, open_, close, high = (cent * 100 for cent in sorted(cents))
    prints = bridge_minute(open_, high, low, close, seed)
    assert not np.any(prints % 100)


@pytest.mark.parametrize(
    ("open_", "high", "low", "close"),
    [(500, 500, 500, 500), (500, 501, 500, 501), (500, 501, 499, 500), (501, 501, 499, 499)],
)
def test_flat_and_monotone_bars(open_: int, high: int, low: int, close: int) -> None:
    prints = bridge_minute(open_, high, low, close, 1)
    assert (prints[0], prints[-1], prints.min(), prints.max()) == (open_, close, low, high)


def test_the_same_names_give_the_same_bridge_and_others_another() -> None:
    bar = (50_000_000, 50_050_000, 49_980_000, 50_030_000)
    assert np.array_equal(bridge_minute(*bar, 7, "I:SPX", 1), bridge_minute(*bar, 7, "I:SPX", 1))
    assert not np.array_equal(
        bridge_minute(*bar, 7, "I:SPX", 1), bridge_minute(*bar, 8, "I:SPX", 1)
    )


def test_a_bar_that_contradicts_itself_is_refused() -> None:
    with pytest.raises(AssertionError):
        bridge_minute(500, 501, 502, 500, 1)
