"""What the crowd wants: fair prices by strike type, quotes that can stand in a book."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.market.crowd import (
    CrowdConfig,
    bounds_of,
    make_slots,
    wanted_quotes,
)
from libs.domain.strikes import Rung, StrikeType


def rung(kind: StrikeType, floor_e4: int | None = None, cap_e4: int | None = None) -> Rung:
    return Rung("KXTEST-X-Y", kind, floor_e4=floor_e4, cap_e4=cap_e4)


def test_fair_prices_follow_the_normal_distribution() -> None:
    bounds = bounds_of([rung(StrikeType.GREATER, floor) for floor in (67_900_000, 68_000_000)])
    fair = bounds.fair(68_000_000.0, 100_000.0)
    # The standard normal: 0.8413 lies below one sigma, half below the mean.
    assert fair == pytest.approx([0.841345, 0.5], abs=1e-6)


def test_a_partition_has_total_probability_one() -> None:
    partition = [
        rung(StrikeType.LESS, cap_e4=67_900_000),
        rung(StrikeType.BETWEEN, 67_900_000, 67_999_999),
        rung(StrikeType.BETWEEN, 68_000_000, 68_099_999),
        rung(StrikeType.GREATER, 68_099_999),
    ]
    fair = bounds_of(partition).fair(68_012_300.0, 70_000.0)
    assert float(fair.sum()) == pytest.approx(1.0, abs=1e-4)
    assert np.all(fair > 0)


def test_no_time_left_is_still_a_probability() -> None:
    fair = bounds_of([rung(StrikeType.GREATER, 68_000_000)]).fair(68_500_000.0, 0.0)
    assert fair == pytest.approx([1.0])


@given(
    st.lists(st.floats(0.0, 1.0), min_size=1, max_size=60),
    st.integers(0, 1_000),
)
def test_wanted_quotes_lie_on_the_grid_and_never_cross(fair: list[float], seed: int) -> None:
    config = CrowdConfig(seed=seed)
    slots = make_slots(config, "KXTEST-X", len(fair))
    bids, asks = wanted_quotes(config, slots, np.array(fair)[slots.rung])
    for quotes in (bids, asks):
        assert not np.any(quotes % 100)
        assert np.all((quotes == 0) | ((quotes >= 100) & (quotes <= 9_900)))
    both = (bids > 0) & (asks > 0)
    assert np.all(bids[both] < asks[both])


def test_sizes_are_5_to_5000_contracts() -> None:
    slots = make_slots(CrowdConfig(), "KXTEST-X", 5_000)
    assert slots.count_e2.min() >= 500
    assert slots.count_e2.max() <= 500_000
    assert len(np.unique(slots.count_e2)) > 500


def test_habits_depend_on_seed_and_event_only() -> None:
    first = make_slots(CrowdConfig(seed=1), "KXTEST-X", 40)
    assert np.array_equal(first.width, make_slots(CrowdConfig(seed=1), "KXTEST-X", 40).width)
    assert not np.array_equal(first.width, make_slots(CrowdConfig(seed=2), "KXTEST-X", 40).width)
    assert not np.array_equal(first.width, make_slots(CrowdConfig(seed=1), "KXTEST-Y", 40).width)


@pytest.mark.parametrize(
    "bad",
    [{"grid_ns": 0}, {"maker_lags_s": ()}, {"informed_leads_s": ()}, {"moves_per_step_max": 0}],
)
def test_impossible_crowds_are_refused(bad: dict[str, object]) -> None:
    with pytest.raises(AssertionError, match="expected"):
        CrowdConfig(**bad)  # type: ignore[arg-type]
