"""Days on which a scheduled figure moves the index: FOMC decisions at 14:00, CPI at 08:30 ET.

All dates were compared on 2026-12-01 with stored copies of what was published:

- FOMC: the Committee's announcements of its schedules, of 2025 and 2026 in August 2024, of 2027 on
  2025-09-05; 2024 as newspapers printed its calendar.
- CPI: four tables of others that name the BLS's schedule as their source, the newest read on
  2026-09-13; 2025-10-24 is the BLS's own notice. October 2025 was never published, and January
  2026 came on the 13th of February, both after a lapse in appropriations.

The BLS's dates of 2027 were not to be had. Beyond a table nothing is invented: `macro_events`
raises, and nothing is fitted to, or quoted before, a release whose day nobody knows. Who must only
be careful takes `possible_events`, which counts each day on which a release may fall as one. In
2020 to 2026 CPI came on the 10th to the 15th, after the lapse of 2025 on the 24th and the 18th.
"""

from datetime import date
from enum import StrEnum

from libs.domain.calendar import CalendarError

FIRST_DAY = date(2024, 1, 1)
_SATURDAY = 5
CPI_MAY_FALL_ON = range(8, 25)
"""Days of a month on which a CPI release may fall whose date is not known; weekdays alone."""


class MacroEvent(StrEnum):
    """What is released that day."""

    CPI = "CPI"
    FOMC = "FOMC"


LAST_DAYS = {MacroEvent.CPI: date(2026, 12, 31), MacroEvent.FOMC: date(2027, 12, 31)}
"""Up to which day each table is whole."""
_FOMC = """
2024-01-31 2024-03-20 2024-05-01 2024-06-12 2024-07-31 2024-09-18 2024-11-07 2024-12-18
2025-01-29 2025-03-19 2025-05-07 2025-06-18 2025-07-30 2025-09-17 2025-10-29 2025-12-10
2026-01-28 2026-03-18 2026-04-29 2026-06-17 2026-07-29 2026-09-16 2026-10-28 2026-12-09
2027-01-27 2027-03-17 2027-04-28 2027-06-09 2027-07-28 2027-09-15 2027-10-27 2027-12-08
"""
_CPI = """
2024-01-11 2024-02-13 2024-03-12 2024-04-10 2024-05-15 2024-06-12
2024-07-11 2024-08-14 2024-09-11 2024-10-10 2024-11-13 2024-12-11
2025-01-15 2025-02-12 2025-03-12 2025-04-10 2025-05-13 2025-06-11
2025-07-15 2025-08-12 2025-09-11 2025-10-24 2025-12-18
2026-01-13 2026-02-13 2026-03-11 2026-04-10 2026-05-12 2026-06-10
2026-07-14 2026-08-12 2026-09-11 2026-10-14 2026-11-10 2026-12-10
"""
_DAYS = {
    MacroEvent.CPI: frozenset(map(date.fromisoformat, _CPI.split())),
    MacroEvent.FOMC: frozenset(map(date.fromisoformat, _FOMC.split())),
}


def is_released(event: MacroEvent, day: date) -> bool:
    """Return whether it is released on a New York day; raise CalendarError outside its table."""
    if not FIRST_DAY <= day <= LAST_DAYS[event]:
        raise CalendarError(
            f"macro days: expected a day from {FIRST_DAY} to {LAST_DAYS[event]} for {event},"
            f" got {day}; add the year's dates to libs/domain/macro_days.py"
        )
    return day in _DAYS[event]


def macro_events(day: date) -> frozenset[MacroEvent]:
    """Return what is released on a New York day; raise CalendarError outside of either table."""
    return frozenset(event for event in MacroEvent if is_released(event, day))


def possible_events(day: date) -> frozenset[MacroEvent]:
    """Return what is, or may be, released on a New York day: for who shrinks or widens on it.

    Where the table of CPI has ended, every weekday on which a release may fall counts as one.
    Raises CalendarError before the tables and beyond that of the FOMC.
    """
    if day <= LAST_DAYS[MacroEvent.CPI]:
        return macro_events(day)
    found = {MacroEvent.FOMC} if is_released(MacroEvent.FOMC, day) else set()
    if day.day in CPI_MAY_FALL_ON and day.weekday() < _SATURDAY:
        found.add(MacroEvent.CPI)
    return frozenset(found)
