import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.domain.families import LadderKind
from libs.domain.strikes import (
    Ladder,
    Rung,
    StrikeError,
    StrikeType,
    order_rungs,
    partition_gaps,
    probabilities,
    rung_edges,
)

GRID = 100  # index prints: 0.01


def normal_cdf(mean: float, sigma: float):  # type: ignore[no-untyped-def]
    def at(levels):  # type: ignore[no-untyped-def]
        return np.array([0.5 * math.erfc((mean - x) / sigma / math.sqrt(2)) for x in levels])

    return at


def above(strike_e4: int) -> Rung:
    return Rung(f"T{strike_e4}", StrikeType.GREATER, strike_e4)


def close_ladder() -> tuple[Rung, ...]:
    """Ranges of 25 points as KXINX lists them: up to 7224.99, 25 points each, above 7299.99."""
    return (
        Rung("low", StrikeType.LESS, None, 72_250_000),
        Rung("B1", StrikeType.BETWEEN, 72_250_000, 72_499_999),
        Rung("B2", StrikeType.BETWEEN, 72_500_000, 72_749_999),
        Rung("B3", StrikeType.BETWEEN, 72_750_000, 72_999_999),
        Rung("high", StrikeType.GREATER, 72_999_999),
    )


@pytest.mark.parametrize(
    ("rung", "level_e4", "pays"),
    [
        (above(78_699_999), 78_700_000, True),
        (above(78_699_999), 78_699_900, False),
        (above(78_700_000), 78_700_000, False),
        (Rung("g", StrikeType.GREATER_OR_EQUAL, 2_200_000_000), 2_200_000_000, True),
        (Rung("g", StrikeType.GREATER_OR_EQUAL, 2_200_000_000), 2_199_990_000, False),
        (Rung("l", StrikeType.LESS, None, 630_000), 630_000, False),
        (Rung("l", StrikeType.LESS, None, 630_000), 620_000, True),
        (Rung("l", StrikeType.LESS_OR_EQUAL, None, 630_000), 630_000, True),
        (Rung("l", StrikeType.LESS_OR_EQUAL, None, 630_000), 640_000, False),
        (Rung("b", StrikeType.BETWEEN, 630_000, 640_000), 630_000, True),
        (Rung("b", StrikeType.BETWEEN, 630_000, 640_000), 640_000, True),
        (Rung("b", StrikeType.BETWEEN, 630_000, 640_000), 650_000, False),
        (Rung("b", StrikeType.BETWEEN, 630_000, 640_000), 620_000, False),
        (above(-1_000), 0, True),
        (above(-1_000), -1_000, False),
    ],
)
def test_payoff_is_decided_by_the_strike_type(rung: Rung, level_e4: int, pays: bool) -> None:
    assert rung.settles_yes(level_e4) is pays


@pytest.mark.parametrize(
    ("strike_type", "floor_e4", "cap_e4"),
    [
        ("greater", None, None),
        ("greater", 1, 2),
        ("greater_or_equal", None, 1),
        ("less", 1, None),
        ("less_or_equal", None, None),
        ("between", 1, None),
        ("between", 2, 1),
        ("structured", 1, None),
        ("custom", None, None),
        ("greater", 10**15, None),
    ],
)
def test_impossible_rungs_are_refused(
    strike_type: str, floor_e4: int | None, cap_e4: int | None
) -> None:
    with pytest.raises(StrikeError):
        Rung("X", StrikeType(strike_type), floor_e4, cap_e4)


@given(
    st.sampled_from([t for t in StrikeType if t.value.split("_")[0] in ("greater", "less")]),
    st.integers(-50_000, 50_000),
    st.integers(-600, 600),
    st.sampled_from([1, 100, 1_000, 10_000]),
)
def test_ends_on_the_grid_agree_with_the_payoff(
    strike_type: StrikeType, strike_e4: int, steps: int, grid_e4: int
) -> None:
    below = strike_type in (StrikeType.LESS, StrikeType.LESS_OR_EQUAL)
    rung = Rung("X", strike_type, None if below else strike_e4, strike_e4 if below else None)
    level_e4 = steps * grid_e4
    lowest, highest = rung.lowest_e4(grid_e4), rung.highest_e4(grid_e4)
    inside = (lowest is None or level_e4 >= lowest) and (highest is None or level_e4 <= highest)
    assert inside == rung.settles_yes(level_e4)


def test_strict_and_not_strict_meet_on_the_grid() -> None:
    strict = rung_edges((above(78_699_999),), GRID)
    loose = rung_edges((Rung("g", StrikeType.GREATER_OR_EQUAL, 78_700_000),), GRID)
    assert strict.levels.tolist() == loose.levels.tolist() == [7869.995]


def test_cpi_print_is_rounded_to_one_decimal() -> None:
    # "above 0.2" is a print of 0.3 or more, which is a true change of 0.25 or more.
    assert rung_edges((above(2_000),), 1_000).levels.tolist() == [0.25]
    assert rung_edges((above(2_000),), 1_000, continuity_correction=False).levels.tolist() == [0.3]


def test_a_partition_sums_to_one_and_agrees_with_nested_thresholds() -> None:
    cdf = normal_cdf(7262.0, 20.0)
    ranges = probabilities(cdf, close_ladder(), GRID)
    assert ranges.sum() == pytest.approx(1.0, abs=1e-12)
    thresholds = tuple(above(level) for level in (72_249_999, 72_499_999, 72_749_999, 72_999_999))
    survival = probabilities(cdf, thresholds, GRID)
    assert ranges[1:].tolist() == pytest.approx([*(survival[:-1] - survival[1:]), survival[-1]])
    assert ranges[0] == pytest.approx(1 - survival[0])


@given(
    st.lists(st.integers(1, 10**8), min_size=1, max_size=60, unique=True),
    st.floats(0, 10_000),
    st.floats(0.001, 5_000),
)
def test_nested_probabilities_never_rise_with_the_strike(
    strikes: list[int], mean: float, sigma: float
) -> None:
    rungs = order_rungs(above(strike) for strike in strikes)
    found = probabilities(normal_cdf(mean, sigma), rungs, GRID)
    assert bool((np.diff(found) <= 0).all())
    assert bool(((found >= 0) & (found <= 1)).all())


def test_probability_of_half_is_at_the_mean() -> None:
    found = probabilities(normal_cdf(7869.995, 10.0), (above(78_699_999),), GRID)
    assert found.tolist() == pytest.approx([0.5])


@pytest.mark.parametrize("bad", [[np.nan, 0.5], [0.6, 0.5], [-0.1, 0.5], [0.5, 1.1]])
def test_what_is_no_cdf_is_refused(bad: list[float]) -> None:
    with pytest.raises(StrikeError, match="cdf"):
        probabilities(lambda _: np.array(bad), (above(1_000), above(2_000)), GRID)


def test_gaps_of_a_partition_are_counted() -> None:
    rungs = close_ladder()
    assert partition_gaps(rungs, GRID) == 0
    assert partition_gaps(rungs[1:], GRID) == 1
    assert partition_gaps((rungs[0], rungs[2]), GRID) == 2
    weather = (
        Rung("low", StrikeType.LESS, None, 630_000),
        Rung("mid", StrikeType.BETWEEN, 630_000, 640_000),
        Rung("high", StrikeType.GREATER, 640_000),
    )
    assert partition_gaps(weather, 10_000) == 0


def test_ladder_takes_ordered_rungs_of_its_kind() -> None:
    rungs = order_rungs([above(78_799_999), above(78_699_999)])
    ladder = Ladder("KXINXU-26OCT02H1100", "KXINXU", 0, rungs, LadderKind.NESTED)
    assert ladder.grid_e4 == 100
    assert ladder.edges().levels.tolist() == [7869.995, 7879.995]
    assert Ladder("E", "KXINX", 0, close_ladder(), LadderKind.PARTITION).grid_e4 == 100


@pytest.mark.parametrize(
    ("rungs", "kind", "words"),
    [
        ((), "nested", "1 to"),
        ((above(2_000), above(1_000)), "nested", "order"),
        ((above(1_000), above(1_000)), "nested", "one ticker"),
        ((above(1_000), Rung("other", StrikeType.GREATER, 1_000)), "nested", "one strike"),
        (close_ladder(), "nested", "threshold"),
        ((above(1_000), above(2_000)), "partition", "overlap"),
        (
            (
                Rung("a", StrikeType.BETWEEN, 1_000, 2_000),
                Rung("b", StrikeType.BETWEEN, 2_000, 3_000),
            ),
            "partition",
            "overlap",
        ),
    ],
)
def test_impossible_ladders_are_refused(rungs: tuple[Rung, ...], kind: str, words: str) -> None:
    with pytest.raises(StrikeError, match=words):
        Ladder("E", "KXINX", 0, rungs, LadderKind(kind))


def test_range_that_the_grid_steps_over_is_refused() -> None:
    with pytest.raises(StrikeError, match="no value"):
        rung_edges((Rung("b", StrikeType.BETWEEN, 10_100, 10_900),), 10_000)


def test_labels_are_for_people() -> None:
    assert above(78_699_999).label() == "> 7869.9999"
    assert close_ladder()[1].label() == "7225 to 7249.9999"
    assert close_ladder()[0].label() == "< 7225"
