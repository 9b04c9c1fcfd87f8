"""When the exchange trades: always, but for a weekly pause on Thursday night, New York time."""

from datetime import timedelta

from libs.domain.eastern import eastern_date, eastern_ns

_THURSDAY = 3
_BEGINS_HOUR, _ENDS_HOUR = 3, 5
PAUSE_WORDS = (f"{_BEGINS_HOUR:02d}:00", f"{_ENDS_HOUR:02d}:00")


def weekly_pause(now_ns: int) -> tuple[int, int]:
    """Return when the pause that ends next after `now_ns` begins and ends."""
    day = eastern_date(now_ns)
    day += timedelta(days=(_THURSDAY - day.weekday()) % 7)
    if eastern_ns(day, _ENDS_HOUR) <= now_ns:
        day += timedelta(days=7)
    return eastern_ns(day, _BEGINS_HOUR), eastern_ns(day, _ENDS_HOUR)
