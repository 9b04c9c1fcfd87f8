"""Days of scheduled figures: what their sources say of them, and no answer where they end."""

from datetime import date, timedelta

import pytest

from libs.domain.calendar import CalendarError, is_nyse_day
from libs.domain.calendar_ends import CALENDAR_ENDS, ending, soonest
from libs.domain.macro_days import (
    FIRST_DAY,
    LAST_DAYS,
    MacroEvent,
    is_released,
    macro_events,
    possible_events,
)

CPI, FOMC = MacroEvent.CPI, MacroEvent.FOMC
FOMC_2027 = ["01-27", "03-17", "04-28", "06-09", "07-28", "09-15", "10-27", "12-08"]


def days(first: date, last: date) -> list[date]:
    return [first + timedelta(days=n) for n in range((last - first).days + 1)]


@pytest.mark.parametrize(
    ("day", "events"),
    [
        (date(2024, 9, 11), {CPI}),
        (date(2024, 9, 18), {FOMC}),
        (date(2024, 6, 12), {CPI, FOMC}),
        (date(2024, 8, 5), set()),
        (date(2025, 10, 24), {CPI}),  # late, after the lapse in appropriations
        (date(2025, 10, 15), set()),  # where it had been scheduled
        (date(2026, 2, 13), {CPI}),  # late again
        (date(2026, 2, 11), set()),
        (date(2026, 12, 9), {FOMC}),
        (date(2026, 12, 10), {CPI}),
    ],
)
def test_known_days(day, events):
    assert macro_events(day) == possible_events(day) == events


def test_each_full_year_has_eight_meetings_and_all_on_trading_days():
    found = {day: macro_events(day) for day in days(FIRST_DAY, LAST_DAYS[CPI])}
    for year, releases in ((2024, 12), (2025, 11), (2026, 12)):  # none of October 2025
        assert sum(FOMC in e and d.year == year for d, e in found.items()) == 8
        assert sum(CPI in e and d.year == year for d, e in found.items()) == releases
    assert all(is_nyse_day(day) for day, events in found.items() if events)


def test_the_meetings_of_2027_are_those_that_the_committee_announced():
    """Its announcement of 2025-09-05; a decision comes on the second day."""
    found = [d for d in days(date(2027, 1, 1), date(2027, 12, 31)) if is_released(FOMC, d)]
    assert [f"{day:%m-%d}" for day in found] == FOMC_2027


@pytest.mark.parametrize("day", [date(2023, 12, 31), date(2027, 1, 1)])
def test_where_a_table_ends_nothing_is_said(day):
    with pytest.raises(CalendarError, match="macro days"):
        macro_events(day)
    with pytest.raises(CalendarError, match="for CPI"):
        is_released(CPI, day)


def test_a_release_that_nobody_dated_may_come_on_any_weekday_in_the_middle_of_its_month():
    for month in range(1, 13):
        last = date(2027, month + 1, 1) - timedelta(days=1) if month < 12 else date(2027, 12, 31)
        for day in days(date(2027, month, 1), last):
            expected = {FOMC} if f"{day:%m-%d}" in FOMC_2027 else set()
            if 8 <= day.day <= 24 and day.weekday() < 5:
                expected.add(CPI)
            assert possible_events(day) == expected, day


def test_every_release_on_record_fell_into_that_middle():
    for day in days(FIRST_DAY, LAST_DAYS[CPI]):
        assert not is_released(CPI, day) or 8 <= day.day <= 24, day


@pytest.mark.parametrize("day", [date(2023, 12, 31), date(2028, 1, 1)])
def test_beyond_all_tables_nothing_is_possible_either(day):
    with pytest.raises(CalendarError, match="macro days"):
        possible_events(day)


def test_a_table_s_end_is_told_sixty_days_before():
    last = LAST_DAYS[CPI]
    assert ending(last - timedelta(days=60)) == []
    (text,) = ending(last - timedelta(days=59))
    assert f"CPI releases ends on {last}, in 59 days" in text
    assert "libs/domain/macro_days.py" in text
    assert "ends on 2026-12-31, in 0 days" in ending(last)[0]
    assert "ended 1 days ago" in ending(last + timedelta(days=1))[0]
    assert soonest(last).table == "CPI releases"


def test_the_ends_are_where_the_tables_refuse_to_answer():
    for end, ask in zip(
        CALENDAR_ENDS,
        (lambda d: is_released(CPI, d), lambda d: is_released(FOMC, d), is_nyse_day),
        strict=True,
    ):
        ask(end.last_day)
        with pytest.raises(CalendarError):
            ask(end.last_day + timedelta(days=1))
