import subprocess
import sys
from datetime import date, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.domain import nyse_days
from libs.domain.calendar import (
    CalendarError,
    claims_release_day,
    federal_holidays,
    is_federal_holiday,
    is_nyse_day,
    is_short_bond_day,
    is_treasury_day,
    next_nyse_day,
    nyse_session,
)
from libs.domain.eastern import utc_text

ROOT = Path(__file__).resolve().parents[3]

days = st.dates(nyse_days.FIRST_DAY, nyse_days.LAST_DAY)


def test_the_table_is_what_exchange_calendars_says() -> None:
    pytest.importorskip("exchange_calendars")
    code = (
        "import sys; sys.path.insert(0, '.'); import tools.make_nyse_days as m; print(m.render())"
    )
    made = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    kept = (ROOT / "libs" / "domain" / "nyse_days.py").read_text()
    assert made.stdout.strip() == kept.strip()


@pytest.mark.parametrize(
    ("day", "opens"),
    [
        ("2025-11-10", True),
        ("2025-11-11", True),  # Veterans Day: stocks trade
        ("2025-11-27", False),
        ("2025-11-28", True),
        ("2025-01-09", False),  # day of mourning
        ("2026-10-12", True),  # Columbus Day: stocks trade
        ("2024-08-05", True),
        ("2024-08-04", False),
        ("2026-04-03", False),  # Good Friday
        ("2021-12-31", True),  # New Year's Day 2022 is a Saturday: not moved
        ("2026-07-03", False),  # the Fourth is a Saturday
    ],
)
def test_known_days(day: str, opens: bool) -> None:
    assert is_nyse_day(date.fromisoformat(day)) is opens


def test_sessions_know_daylight_saving_and_early_closes() -> None:
    summer = nyse_session(date(2025, 10, 31))
    winter = nyse_session(date(2025, 11, 3))
    short = nyse_session(date(2025, 11, 28))
    assert summer is not None
    assert winter is not None
    assert short is not None
    assert utc_text(summer.open_ns) == "2025-10-31T13:30:00Z"
    assert utc_text(summer.close_ns) == "2025-10-31T20:00:00Z"
    assert utc_text(winter.close_ns) == "2025-11-03T21:00:00Z"
    assert utc_text(short.close_ns) == "2025-11-28T18:00:00Z"
    assert (winter.early, short.early) == (False, True)
    assert nyse_session(date(2025, 1, 9)) is None


@pytest.mark.parametrize("day", [date(2019, 12, 31), date(2031, 1, 1)])
def test_a_day_outside_the_table_raises(day: date) -> None:
    with pytest.raises(CalendarError, match="widen"):
        nyse_session(day)
    with pytest.raises(CalendarError):
        is_treasury_day(day)


def test_next_day_skips_weekends_and_holidays() -> None:
    assert next_nyse_day(date(2025, 11, 26)) == date(2025, 11, 28)
    assert next_nyse_day(date(2025, 10, 25)) == date(2025, 10, 27)
    with pytest.raises(CalendarError):
        next_nyse_day(date(2030, 12, 31))


@given(days)
def test_sessions_are_weekdays_within_the_day(day: date) -> None:
    session = nyse_session(day)
    if session is None:
        return
    assert day.weekday() < 5
    hours = (session.close_ns - session.open_ns) / 3.6e12
    assert hours == (3.5 if session.early else 6.5)


def test_federal_holidays_of_2025_and_2026() -> None:
    # opm.gov's lists
    assert sorted(federal_holidays(2025)) == [
        *(date(2025, 1, 1), date(2025, 1, 20), date(2025, 2, 17), date(2025, 5, 26)),
        *(date(2025, 6, 19), date(2025, 7, 4), date(2025, 9, 1), date(2025, 10, 13)),
        *(date(2025, 11, 11), date(2025, 11, 27), date(2025, 12, 25)),
    ]
    assert date(2026, 7, 3) in federal_holidays(2026)
    assert date(2021, 12, 31) in federal_holidays(2021)  # New Year's Day 2022, observed
    assert date(2022, 1, 1) not in federal_holidays(2022)
    assert date(2020, 6, 19) not in federal_holidays(2020)
    assert not is_federal_holiday(date(2025, 11, 28))


def test_no_par_yield_on_bank_holidays_or_when_stocks_rest() -> None:
    assert is_treasury_day(date(2025, 10, 27))
    for shut in ("2025-11-11", "2025-11-27", "2026-04-03", "2025-10-25", "2026-10-12"):
        assert not is_treasury_day(date.fromisoformat(shut))


@pytest.mark.parametrize(
    ("day", "release"),
    [
        ("2025-11-06", "2025-11-06"),
        ("2025-11-03", "2025-11-06"),
        ("2025-11-09", "2025-11-06"),
        ("2025-11-27", "2025-11-26"),  # Thanksgiving
        ("2025-06-19", "2025-06-18"),  # Juneteenth on a Thursday
        ("2025-12-25", "2025-12-24"),
        ("2026-01-01", "2025-12-31"),
        ("2025-01-09", "2025-01-08"),  # a day of mourning: offices were shut by order
        ("2024-12-26", "2024-12-26"),
    ],
)
def test_claims_come_on_thursday_or_before_its_holiday(day: str, release: str) -> None:
    assert claims_release_day(date.fromisoformat(day)) == date.fromisoformat(release)


@pytest.mark.parametrize("day", ["2026-12-21", "2026-12-24", "2026-12-27", "2030-12-26"])
def test_nobody_knows_the_release_of_a_week_in_which_offices_may_be_shut_by_order(day: str) -> None:
    with pytest.raises(CalendarError, match="decided by order"):
        claims_release_day(date.fromisoformat(day))


SHORT_BOND_DAYS = {
    # by a library's rules for bond days, not SIFMA's own lists; each is one of ours too
    *("2024-03-28", "2024-05-24", "2024-07-03", "2024-11-29", "2024-12-24", "2024-12-31"),
    *("2025-04-17", "2025-05-23", "2025-07-03", "2025-11-28", "2025-12-24", "2025-12-31"),
    # before a Good Friday with a jobs report the bond market closes as ever: ours, to be careful
    "2026-04-02",
    *("2026-05-22", "2026-07-02", "2026-11-27", "2026-12-24", "2026-12-31"),
    *("2027-03-25", "2027-05-28", "2027-07-02", "2027-11-26", "2027-12-23", "2027-12-31"),
}


def test_bonds_may_close_early_on_these_days_of_four_years() -> None:
    found = {
        day.isoformat()
        for day in (date(2024, 1, 1) + timedelta(days=n) for n in range(4 * 365 + 1))
        if is_short_bond_day(day)
    }
    assert found == SHORT_BOND_DAYS
    assert is_short_bond_day(date(2022, 12, 30)), "New Year's Day 2023 was a Sunday"


@given(days)
def test_claims_come_once_a_week(day: date) -> None:
    try:
        release = claims_release_day(day)
    except CalendarError:
        assert day.month == 12
        assert 20 <= day.day <= 29
        return
    assert release.weekday() <= 3
    assert not is_federal_holiday(release)
    assert abs(release - day) <= timedelta(days=6)
    assert claims_release_day(release) == release
