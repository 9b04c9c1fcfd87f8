from datetime import date, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.domain import nyse_days
from libs.domain.calendar import CalendarError, nyse_session
from libs.domain.eastern import NS_PER_S, eastern_date, eastern_ns, utc_text
from libs.domain.families import FAMILIES
from libs.domain.macro_days import FIRST_DAY, LAST_DAYS, MacroEvent
from libs.domain.windows import (
    TargetPassedError,
    Window,
    WindowError,
    claims_window,
    close_target,
    cpi_window,
    hourly_targets,
    index_targets,
    index_window,
    next_index_target,
    ops_metadata,
    roll,
    seconds_to_target,
    teny_window,
    weather_window,
    window_state,
    windows_on,
)

NOVEMBER_10 = date(2025, 11, 10)
days = st.dates(nyse_days.FIRST_DAY, nyse_days.LAST_DAY - timedelta(days=1))


def at(text: str, hour: int, minute: int = 0, second: int = 0) -> int:
    return eastern_ns(date.fromisoformat(text), hour, minute, second)


@pytest.mark.parametrize(
    ("day", "hours"),
    [
        ("2025-11-10", [10, 11, 12, 13, 14, 15, 16]),
        ("2025-11-11", [10, 11, 12, 13, 14, 15, 16]),  # Veterans Day, open
        ("2025-11-28", [10, 11, 12, 13]),  # 13:00 close
        ("2025-01-09", []),  # closed
    ],
)
def test_index_targets_of_a_day(day: str, hours: list[int]) -> None:
    expected = tuple(at(day, hour) for hour in hours)
    assert hourly_targets(date.fromisoformat(day)) == expected
    assert index_targets("NASDAQ100U", date.fromisoformat(day)) == expected
    assert close_target(date.fromisoformat(day)) == (expected[-1] if expected else None)
    assert index_targets("INX", date.fromisoformat(day)) == expected[-1:]
    assert len(windows_on("INXU", date.fromisoformat(day))) == len(hours)


@pytest.mark.parametrize(
    ("day", "hour_utc"),
    [("2025-03-07", 17), ("2025-03-10", 16), ("2025-10-31", 16), ("2025-11-03", 17)],
)
def test_noon_in_utc_over_daylight_saving(day: str, hour_utc: int) -> None:
    noon_ns = hourly_targets(date.fromisoformat(day))[2]
    assert utc_text(noon_ns) == f"{day}T{hour_utc}:00:00Z"


def test_index_windows() -> None:
    hourly = index_window("INXU", at("2025-11-10", 12))
    assert hourly == Window(at("2025-11-10", 11, 45), at("2025-11-10", 12), at("2025-11-10", 12))
    assert hourly.cancel_ns() == at("2025-11-10", 11, 59, 58)
    close = index_window("INX", at("2025-11-10", 16))
    assert close.opens_ns == at("2025-11-10", 15, 50)
    short = index_window("NASDAQ100", at("2025-11-28", 13))
    assert (short.opens_ns, short.closes_ns) == (at("2025-11-28", 12, 50), at("2025-11-28", 13))


@pytest.mark.parametrize(
    ("family", "target_ns"),
    [
        ("INXU", at("2025-11-28", 14)),
        ("INXU", at("2025-01-09", 12)),
        ("INXU", at("2025-11-10", 9)),
        ("INXU", at("2025-11-10", 12, 1)),
        ("INX", at("2025-11-10", 12)),
        ("INX", at("2025-11-28", 16)),
        ("CPI", at("2025-11-12", 8, 30)),
    ],
)
def test_what_is_no_target_is_an_error(family: str, target_ns: int) -> None:
    with pytest.raises(WindowError):
        index_window(family, target_ns)


def test_window_edges() -> None:
    window = index_window("INXU", at("2025-11-10", 12))
    assert not window.is_open(window.opens_ns - 1)
    assert window.is_open(window.opens_ns)
    assert window.is_open(window.closes_ns - 1)
    assert not window.is_open(window.closes_ns)
    assert not window.is_frozen(window.opens_ns - 1)


def test_next_target_skips_nights_and_holidays() -> None:
    assert next_index_target("INXU", at("2025-11-10", 12)) == at("2025-11-10", 13)
    assert next_index_target("INXU", at("2025-11-26", 16)) == at("2025-11-28", 10)
    assert next_index_target("INX", at("2025-11-28", 13)) == at("2025-12-01", 16)
    with pytest.raises(CalendarError):
        next_index_target("INX", at("2030-12-31", 16))


def test_cpi_release_2025_11_12() -> None:
    window = cpi_window(at("2025-11-12", 8, 30))
    assert window.freeze_ns == at("2025-11-11", 6)
    assert (window.opens_ns, window.closes_ns) == (at("2025-11-12", 6), at("2025-11-12", 8, 20))
    assert window.target_ns == at("2025-11-12", 8, 30)


@pytest.mark.parametrize(
    ("day", "release", "freeze"),
    [
        ("2025-11-06", "2025-11-06", "2025-11-05"),
        ("2025-11-27", "2025-11-26", "2025-11-25"),  # Thanksgiving
    ],
)
def test_claims(day: str, release: str, freeze: str) -> None:
    window = claims_window(date.fromisoformat(day))
    assert window.freeze_ns == at(freeze, 18)
    assert (window.opens_ns, window.closes_ns) == (at(release, 6), at(release, 8, 25))
    assert windows_on("CLAIMS", date.fromisoformat(release)) == (window,)


def test_teny_after_a_sunday_and_on_thanksgiving() -> None:
    assert teny_window(date(2025, 10, 26)) is None
    window = teny_window(date(2025, 10, 27))
    assert window is not None
    assert window.freeze_ns == at("2025-10-27", 13, 30)
    assert (window.opens_ns, window.closes_ns) == (
        at("2025-10-27", 14, 30),
        at("2025-10-27", 15, 25),
    )
    assert windows_on("TNEY", date(2025, 10, 27)) == (window,)
    assert windows_on("TENY", date(2025, 11, 27)) == ()


def test_weather_is_open_45_minutes_after_each_cycle() -> None:
    cycle_ns = 1_762_192_800 * NS_PER_S  # 2025-11-03 18:00Z
    window = weather_window(cycle_ns)
    assert utc_text(window.opens_ns) == "2025-11-03T18:00:00Z"
    assert utc_text(window.closes_ns) == "2025-11-03T18:45:00Z"
    assert window_state("WEATHER", cycle_ns).open == window
    later = window_state("WEATHER", window.closes_ns)
    assert (later.open, later.frozen) == (None, True)
    assert len(windows_on("WEATHER", date(2025, 11, 3))) == 4


def test_state_over_a_cpi_release() -> None:
    """The release of 2025-12-18, a Thursday: after the lapse in appropriations it came late."""
    expected = [
        (at("2025-12-17", 5, 59), False, False, at("2025-12-17", 6)),
        (at("2025-12-17", 6), False, True, None),
        (at("2025-12-18", 5, 59), False, True, None),
        (at("2025-12-18", 6), True, False, None),
        (at("2025-12-18", 8, 20), False, False, None),
    ]
    for now_ns, opened, frozen, freezes_ns in expected:
        state = window_state("CPI", now_ns)
        assert (state.open is not None, state.frozen) == (opened, frozen)
        assert state.freezes_ns == freezes_ns


def test_without_a_release_calendar_nobody_knows() -> None:
    with pytest.raises(CalendarError):
        window_state("CPI", at("2027-03-10", 6))


def test_a_freeze_blocks_only_its_own_series() -> None:
    frozen_ns = at("2025-11-06", 5)  # a Thursday: claims at 08:30
    assert window_state("CLAIMS", frozen_ns).frozen
    assert not window_state("CPI", frozen_ns).frozen
    assert not window_state("TENY", frozen_ns).frozen
    assert not window_state("INXU", frozen_ns).frozen


def test_a_family_without_a_rule_is_not_quoted() -> None:
    with pytest.raises(WindowError, match="no window rule"):
        window_state("GAS", at("2025-11-06", 5))


@given(days)
def test_windows_are_ordered_and_do_not_overlap(day: date) -> None:
    for family in FAMILIES:
        if family.name == "GAS":
            continue
        try:
            windows = windows_on(family.name, day)
        except CalendarError:
            dated = FIRST_DAY <= day <= LAST_DAYS[MacroEvent.CPI]
            christmas = day.month == 12 and 20 <= day.day <= 29
            assert (family.name == "CPI" and not dated) or (family.name == "CLAIMS" and christmas)
            continue
        for window in windows:
            assert window.opens_ns < window.cancel_ns() < window.closes_ns <= window.target_ns
            assert eastern_date(window.opens_ns) == day
            assert window.freeze_ns is None or window.freeze_ns < window.opens_ns
        for before, after in pairwise(windows):
            assert before.closes_ns <= after.opens_ns


@given(days, st.integers(0, 86_399))
def test_next_target_is_the_first_one_after_now(day: date, second: int) -> None:
    now_ns = eastern_ns(day, 0) + second * NS_PER_S
    try:
        target_ns = next_index_target("INXU", now_ns)
    except CalendarError:
        return
    session = nyse_session(eastern_date(target_ns))
    assert session is not None
    assert now_ns < target_ns <= session.close_ns
    assert target_ns in hourly_targets(eastern_date(target_ns))
    assert not any(now_ns < earlier < target_ns for earlier in hourly_targets(day))


def test_time_to_a_passed_target_is_an_error_never_tomorrows() -> None:
    noon_ns = at("2025-11-10", 12)
    assert seconds_to_target(noon_ns - 90 * NS_PER_S, noon_ns) == 90.0
    for now_ns in (noon_ns, noon_ns + 1, noon_ns + 3_600 * NS_PER_S):
        with pytest.raises(TargetPassedError, match="passed"):
            seconds_to_target(now_ns, noon_ns)


def test_ops_metadata_golden() -> None:
    found = ops_metadata(at("2025-11-03", 11, 50), at("2025-11-03", 12))
    assert found.cancel_at == "2025-11-03T11:59:58-05:00"
    assert found.seconds_to_cancel == 598.0
    assert found.target_unix == 1762189200


def test_u_roll_golden() -> None:
    h1100, h1300 = at("2025-11-10", 11), at("2025-11-10", 13)
    before = roll(at("2025-11-10", 11, 39, 59), h1100)
    assert (before.active_ns, before.line) == (h1100, None)
    rolled = roll(at("2025-11-10", 11, 40), h1100)
    assert rolled.line == "[u-roll] ROLLED U-SERIES: H1100 -> H1200"
    assert roll(at("2025-11-10", 11, 40, 1), rolled.active_ns).line is None
    near = roll(at("2025-11-10", 12, 59, 57), h1300)
    assert (near.seconds_to_boundary, near.cancel_all) == (3.0, False)
    last = roll(at("2025-11-10", 12, 59, 58), h1300)
    assert (last.seconds_to_boundary, last.cancel_all) == (2.0, True)
    after = roll(at("2025-11-10", 13), h1300)
    assert (after.seconds_to_boundary, after.cancel_all, after.line) == (3600.0, False, None)


def test_roll_at_the_start_has_nothing_to_leave() -> None:
    found = roll(at("2025-11-10", 12, 45))
    assert found.line is None
    assert found.active_ns == found.boundary_ns == at("2025-11-10", 13)
