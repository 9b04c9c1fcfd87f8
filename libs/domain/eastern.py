"""Exchange time: America/New_York wall clock to UTC nanoseconds and back, daylight saving kept."""

from datetime import UTC, date, datetime, time
from functools import lru_cache
from zoneinfo import ZoneInfo

NEW_YORK = ZoneInfo("America/New_York")
NS_PER_S = 1_000_000_000
NS_PER_MINUTE = 60 * NS_PER_S
NS_PER_HOUR = 60 * NS_PER_MINUTE


class LocalTimeError(ValueError):
    """A wall-clock time that New York skips, or has twice, on a daylight-saving day."""


def eastern_ns(day: date, hour: int, minute: int = 0, second: int = 0) -> int:
    """Return UTC ns of a New York wall-clock time; raise LocalTimeError if not exactly one."""
    local = datetime.combine(day, time(hour, minute, second), NEW_YORK)
    offset = local.utcoffset()
    if offset != local.replace(fold=1).utcoffset():
        raise LocalTimeError(f"expected a time that New York has once, got {local:%F %T}")
    return int(local.timestamp()) * NS_PER_S


def eastern_datetime(at_ns: int) -> datetime:
    """Return the aware New York datetime of a UTC ns time, cut to whole seconds."""
    return datetime.fromtimestamp(at_ns // NS_PER_S, NEW_YORK)


def eastern_date(at_ns: int) -> date:
    """Return the New York calendar day of a UTC ns time."""
    return _date_of_hour(at_ns // NS_PER_HOUR)


@lru_cache(maxsize=4_096)
def _date_of_hour(hour: int) -> date:
    """Return the day of an hour of UTC: New York's days have begun on the hour since 1883."""
    return eastern_datetime(hour * NS_PER_HOUR).date()


def utc_text(at_ns: int) -> str:
    """Return a UTC ns time as RFC3339 to the second, for messages to people."""
    return datetime.fromtimestamp(at_ns // NS_PER_S, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
