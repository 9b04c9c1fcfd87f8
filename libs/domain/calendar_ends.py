"""How long the tables that trading rests on still reach, so that none ends unnoticed."""

from datetime import date

from msgspec import Struct

from libs.domain import nyse_days
from libs.domain.macro_days import LAST_DAYS, MacroEvent

WARN_DAYS = 60
"""From so many days before a table's end on, people are told."""


class CalendarEnd(Struct, frozen=True):
    """A table's last day, and what happens after it unless the table is longer by then."""

    table: str
    last_day: date
    then: str
    remedy: str

    def days_left(self, day: date) -> int:
        """Return how many days after this one the table still holds; below 0 when it has ended."""
        return (self.last_day - day).days

    def text(self, day: date) -> str:
        """Return the end for people."""
        left = self.days_left(day)
        when = (
            f"ends on {self.last_day}, in {left} days" if left >= 0 else f"ended {-left} days ago"
        )
        return f"the table of {self.table} {when}; then {self.then}: {self.remedy}"


_ADD = "add the next year's dates to libs/domain/macro_days.py"
CALENDAR_ENDS = (
    CalendarEnd(
        "CPI releases",
        LAST_DAYS[MacroEvent.CPI],
        "CPI is not quoted and every weekday from the 8th to the 24th counts as a CPI day",
        _ADD,
    ),
    CalendarEnd(
        "FOMC decisions", LAST_DAYS[MacroEvent.FOMC], "nothing is quoted (regime_unknown)", _ADD
    ),
    CalendarEnd(
        "NYSE sessions",
        nyse_days.LAST_DAY,
        "nothing is quoted",
        "widen tools/make_nyse_days.py and run it",
    ),
)


def soonest(day: date) -> CalendarEnd:
    """Return the table that ends first."""
    return min(CALENDAR_ENDS, key=lambda one: one.days_left(day))


def ending(day: date, within_days: int = WARN_DAYS) -> list[str]:
    """Return a line for each table that ends within so many days, or has."""
    return [one.text(day) for one in CALENDAR_ENDS if one.days_left(day) < within_days]
