import csv
from datetime import date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.domain.eastern import NS_PER_S, eastern_ns
from libs.domain.families import LadderKind, families_of_symbol
from libs.domain.money import round_level
from libs.domain.settlement import (
    ON_BEFORE,
    Print,
    SettlementError,
    fix_on_or_before,
    settle_ladder,
    to_grid,
)
from libs.domain.strikes import Ladder, Rung, StrikeType
from libs.domain.windows import index_targets
from tests.shared_data import shared_file

DAY = date(2025, 11, 3)
NOON_NS = eastern_ns(DAY, 12)


def minute(hour: int, minute_: int, level: int) -> Print:
    return Print(eastern_ns(DAY, hour, minute_), level * 10_000)


def test_on_or_before_golden() -> None:
    bars = [minute(11, 58, 4989), minute(11, 59, 4991), minute(12, 1, 4995)]
    fixing = fix_on_or_before(bars, NOON_NS)
    assert (fixing.level_e4, fixing.fallback) == (49_910_000, ON_BEFORE)
    assert fixing.printed_ns == eastern_ns(DAY, 11, 59)


def test_exact_print_needs_no_fallback() -> None:
    fixing = fix_on_or_before([minute(11, 59, 4991), minute(12, 0, 4993)], NOON_NS)
    assert (fixing.level_e4, fixing.fallback) == (49_930_000, None)


def test_a_correction_of_the_same_time_wins() -> None:
    fixing = fix_on_or_before([minute(12, 0, 4993), minute(12, 0, 4992)], NOON_NS)
    assert fixing.level_e4 == 49_920_000


def test_no_print_or_an_old_one_is_an_error() -> None:
    with pytest.raises(SettlementError, match="no print"):
        fix_on_or_before([minute(12, 1, 4995)], NOON_NS)
    with pytest.raises(SettlementError, match="too old"):
        fix_on_or_before([minute(11, 58, 4989)], NOON_NS, age_max_ns=60 * NS_PER_S)
    assert fix_on_or_before([minute(11, 59, 1)], NOON_NS, age_max_ns=60 * NS_PER_S).level_e4


@given(st.lists(st.builds(Print, st.integers(0, 200), st.integers(1, 9)), max_size=30))
def test_later_prints_never_change_a_fixing(prints: list[Print]) -> None:
    before = [one for one in prints if one.at_ns <= 100]
    if not before:
        with pytest.raises(SettlementError):
            fix_on_or_before(prints, 100)
        return
    fixing = fix_on_or_before(prints, 100)
    assert fixing == fix_on_or_before(before, 100)
    assert fixing.printed_ns == max(one.at_ns for one in before)
    assert (fixing.fallback is None) == (fixing.printed_ns == 100)


def test_nested_rungs_pay_by_strike_type() -> None:
    rungs = (
        Rung("a", StrikeType.GREATER, 78_599_999),
        Rung("b", StrikeType.GREATER, 78_699_999),
        Rung("c", StrikeType.GREATER, 78_700_000),
        Rung("d", StrikeType.GREATER_OR_EQUAL, 78_700_100),
    )
    ladder = Ladder("KXINXU-25NOV03H1200", "KXINXU", NOON_NS, rungs, LadderKind.NESTED)
    assert settle_ladder(ladder, 78_700_000) == (True, True, False, False)
    assert settle_ladder(ladder, 78_699_900) == (True, False, False, False)
    assert settle_ladder(ladder, 78_700_100) == (True, True, True, True)


@given(st.integers(0, 10**8))
def test_of_a_whole_partition_exactly_one_pays(level_e4: int) -> None:
    rungs = (
        Rung("low", StrikeType.LESS, None, 72_250_000),
        Rung("B1", StrikeType.BETWEEN, 72_250_000, 72_499_999),
        Rung("B2", StrikeType.BETWEEN, 72_500_000, 72_749_999),
        Rung("high", StrikeType.GREATER, 72_749_999),
    )
    ladder = Ladder("KXINX-25NOV03H1600", "KXINX", 0, rungs, LadderKind.PARTITION)
    assert sum(settle_ladder(ladder, level_e4)) == 1


def test_rounding_to_the_grid() -> None:
    assert to_grid(78_699_950, 100) == 78_700_000
    assert to_grid(78_699_949, 100) == 78_699_900
    assert to_grid(-500, 1_000) == 0
    assert to_grid(635_000, 10_000) == 640_000


def test_real_levels_lie_at_targets_of_our_calendar() -> None:
    seen = 0
    with shared_file("index/levels_hourly.csv").open() as rows:
        for row in csv.DictReader(rows):
            stamp = datetime.fromisoformat(row["target_timestamp"])
            family = families_of_symbol(row["symbol"])[0]
            target_ns = int(stamp.timestamp()) * NS_PER_S
            assert target_ns in index_targets(family.name, stamp.date())
            assert round_level(float(row["level"])) > 0
            seen += 1
    assert seen > 1_000
