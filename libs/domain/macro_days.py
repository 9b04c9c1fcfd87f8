"""Days on which a scheduled figure moves the index: FOMC decisions at 14:00, CPI at 08:30 ET.

FOMC of 2025 and 2026 as the Committee announced them in August 2024; CPI of 2025-10-24 and
2025-12-18, and none for October 2025, as the BLS announced them after the lapse in appropriations.
All other dates were written from memory and wait for a check against bls.gov and
federalreserve.gov. A wrong one makes the pricer's forecast too narrow or too wide by the fitted κ
that day (CPI 1.0, FOMC 1.8 from 14:00 on). A day outside of the table is an error, and a target on
it is not quoted.
"""

from datetime import date
from enum import StrEnum

from libs.domain.calendar import CalendarError

FIRST_DAY = date(2024, 1, 1)
LAST_DAY = date(2026, 12, 31)


class MacroEvent(StrEnum):
    """What is released that day."""

    CPI = "CPI"
    FOMC = "FOMC"


_FOMC = """
2024-01-31 2024-03-20 2024-05-01 2024-06-12 2024-07-31 2024-09-18 2024-11-07 2024-12-18
2025-01-29 2025-03-19 2025-05-07 2025-06-18 2025-07-30 2025-09-17 2025-10-29 2025-12-10
2026-01-28 2026-03-18 2026-04-29 2026-06-17 2026-07-29 2026-09-16 2026-10-28 2026-12-09
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


def macro_events(day: date) -> frozenset[MacroEvent]:
    """Return what is released on a New York day; raise CalendarError outside the table."""
    if not FIRST_DAY <= day <= LAST_DAY:
        raise CalendarError(
            f"macro days: expected a day from {FIRST_DAY} to {LAST_DAY}, got {day};"
            " add the year's dates to libs/domain/macro_days.py"
        )
    return frozenset(event for event, days in _DAYS.items() if day in days)
