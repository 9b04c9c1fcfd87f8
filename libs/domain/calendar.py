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


@lru_cache(maxsize=4096)
def is_short_bond_day(day: date) -> bool:
    """Return whether the bond market may close early that trading day, as SIFMA recommends.

    It does on short days of the stock exchange, on Christmas Eve and New Year's Eve, and on the
    trading day before Good Friday, Memorial Day, Independence Day, Christmas and New Year's Day.
    Cautious: before a Good Friday on which figures are released it does not. Raises CalendarError
    outside data.
    """
    session = nyse_session(day)
    if session is None:
        return False
    if session.early or (day.month, day.day) in ((12, 24), (12, 31)):
        return True
    following = day + timedelta(days=1)
    while following.weekday() >= _SATURDAY:
        following += timedelta(days=1)
    new_year = following.month == 1 and following.day <= 2
    return following in nyse_days.HOLIDAYS and (new_year or following.month in _SHORT_BEFORE)


_SHORT_BEFORE = (3, 4, 5, 7, 12)
"""In these months each holiday of the stock exchange has a short bond day before it."""

_CLAIMS_MOVED = {
    date(2025, 1, 9): date(2025, 1, 8),  # offices were shut by order: a day of mourning
    date(2024, 12, 26): date(2024, 12, 26),
    date(2025, 12, 25): date(2025, 12, 24),
}
"""The releases that a rule can't tell, by the week's Thursday, as newspapers of the day report."""


def claims_release_day(day: date) -> date:
    """Return the jobless claims release of the week (from Monday) that holds `day`.

    Thursday, or the last working day before it when Thursday is a federal holiday. Around
    Christmas presidents shut the offices by order, a few days ahead and not every year: whether
    the 24th or the 26th is a working day nobody knows before. Raises CalendarError for such a
    week, unless its release is on record.
    """
    thursday = day + timedelta(days=CLAIMS_WEEKDAY - day.weekday())
    if thursday in _CLAIMS_MOVED:
        return _CLAIMS_MOVED[thursday]
    release = thursday
    while is_federal_holiday(release):
        release -= timedelta(days=1)
    if release.month == 12 and release.day in (24, 26):
        raise CalendarError(
            f"claims: whether offices work on {release} is decided by order; add the release to"
            " libs/domain/calendar.py when it is announced"
        )
    return release
