"""Days of scheduled figures: what the sources say of some of them, and no answer outside."""

from datetime import date, timedelta

import pytest

from libs.domain.calendar import CalendarError, is_nyse_day
from libs.domain.macro_days import FIRST_DAY, LAST_DAY, MacroEvent, macro_events


@pytest.mark.parametrize(
    ("day", "events"),
    [
        (date(2024, 9, 11), {MacroEvent.CPI}),
        (date(2024, 9, 18), {MacroEvent.FOMC}),
        (date(2024, 6, 12), {MacroEvent.CPI, MacroEvent.FOMC}),
        (date(2024, 8, 5), set()),
        (date(2025, 10, 24), {MacroEvent.CPI}),  # late, after the lapse in appropriations
        (date(2025, 10, 15), set()),  # where it had been scheduled
    ],
)
def test_known_days(day, events):
    assert macro_events(day) == events


def test_each_full_year_has_eight_meetings_and_all_on_trading_days():
    days = [FIRST_DAY + timedelta(days=n) for n in range((LAST_DAY - FIRST_DAY).days + 1)]
    found = {day: macro_events(day) for day in days}
    for year in (2024, 2025, 2026):
        meetings = [d for d, e in found.items() if MacroEvent.FOMC in e and d.year == year]
        assert len(meetings) == 8
    assert all(is_nyse_day(day) for day, events in found.items() if events)


@pytest.mark.parametrize("day", [date(2023, 12, 31), date(2027, 1, 1)])
def test_an_unknown_year_is_an_error(day):
    with pytest.raises(CalendarError, match="macro days"):
        macro_events(day)
