"""Trading days: NYSE sessions from data, US federal holidays by rule, releases that shift.

Every question about a day outside `nyse_days` raises: an unknown calendar is no open market.
"""

from datetime import date, timedelta
from functools import lru_cache

from msgspec import Struct

from libs.domain import nyse_days
from libs.domain.eastern import eastern_ns

CLAIMS_WEEKDAY = _THURSDAY = 3
_SATURDAY = 5


class CalendarError(ValueError):
    """A day that the calendar does not hold."""


class Session(Struct, frozen=True):
    """One NYSE cash session in UTC ns; `early` when it ends at 13:00 New York time."""

    day: date
    open_ns: int
    close_ns: int
    early: bool


def _check(day: date) -> None:
    if not nyse_days.FIRST_DAY <= day <= nyse_days.LAST_DAY:
        raise CalendarError(
            f"calendar: expected a day from {nyse_days.FIRST_DAY} to {nyse_days.LAST_DAY},"
            f" got {day}; widen tools/make_nyse_days.py and run it"
        )


def is_nyse_day(day: date) -> bool:
    """Return whether the exchange opens on that New York day; raise CalendarError outside data."""
    _check(day)
    return day.weekday() < _SATURDAY and day not in nyse_days.HOLIDAYS


@lru_cache(maxsize=4096)
def nyse_session(day: date) -> Session | None:
    """Return the session of a New York day, None when shut; raise CalendarError outside data."""
    if not is_nyse_day(day):
        return None
    early = day in nyse_days.EARLY_CLOSES
    close = nyse_days.EARLY_CLOSE.hour if early else 16
    return Session(day, eastern_ns(day, 9, 30), eastern_ns(day, close), early)


def next_nyse_day(day: date) -> date:
    """Return the first trading day after `day`; raise CalendarError outside data."""
    day += timedelta(days=1)
    while not is_nyse_day(day):
        day += timedelta(days=1)
    return day


def _nth_weekday(year: int, month: int, weekday: int, nth: int) -> date:
    first = date(year, month, 1)
    return first + timedelta(days=(weekday - first.weekday()) % 7 + 7 * (nth - 1))


@lru_cache(maxsize=64)
def federal_holidays(year: int) -> frozenset[date]:
    """Return the weekdays on which federal offices rest that year, as observed.

    5 U.S.C. 6103: a holiday on a Saturday is kept on Friday, on a Sunday on Monday.
    """
    memorial = date(year, 5, 31)
    memorial -= timedelta(days=memorial.weekday())
    fixed = [date(year, 1, 1), date(year, 6, 19), date(year, 7, 4)]
    fixed += [date(year, 11, 11), date(year, 12, 25), date(year + 1, 1, 1)]
    observed = {
        day + timedelta(days={5: -1, 6: 1}.get(day.weekday(), 0))
        for day in fixed
        if day >= date(2021, 6, 19) or (day.month, day.day) != (6, 19)  # a holiday since 2021
    }
    observed |= {
        _nth_weekday(year, 1, 0, 3),
        _nth_weekday(year, 2, 0, 3),
        memorial,
        _nth_weekday(year, 9, 0, 1),
        _nth_weekday(year, 10, 0, 2),
        _nth_weekday(year, 11, _THURSDAY, 4),
    }
    return frozenset(day for day in observed if day.year == year)


def is_federal_holiday(day: date) -> bool:
    """Return whether federal offices rest on that weekday."""
    return day in federal_holidays(day.year)


def is_treasury_day(day: date) -> bool:
    """Return whether a par yield is expected for that day; raise CalendarError outside data.

    Cautious: both the stock exchange and federal offices must work.
    """
    return is_nyse_day(day) and not is_federal_holiday(day)


def claims_release_day(day: date) -> date:
    """Return the jobless claims release of the week (from Monday) that holds `day`.

    Thursday, or the last working day before it when Thursday is a federal holiday.
    """
    release = day + timedelta(days=CLAIMS_WEEKDAY - day.weekday())
    while is_federal_holiday(release):
        release -= timedelta(days=1)
    return release
