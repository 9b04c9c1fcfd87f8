"""Times of one regular session, Monday 2025-11-03 (New York keeps winter time: UTC-5)."""

from datetime import UTC, datetime


def at_ns(text: str) -> int:
    """Return UTC nanoseconds of an ISO time without zone, read as UTC."""
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1_000_000_000


OPEN_NS = at_ns("2025-11-03T14:30:00")
CLOSE_NS = at_ns("2025-11-03T21:00:00")
NOON_NS = at_ns("2025-11-03T17:00:00")
