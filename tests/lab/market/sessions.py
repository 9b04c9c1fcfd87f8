"""A session lookup for tests: one regular day, 2025-11-03, 14:30 to 21:00 UTC (EST)."""

from datetime import UTC, datetime

from lab.market.path import Session


def at_ns(text: str) -> int:
    """Return UTC nanoseconds of an ISO time without zone, read as UTC."""
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1_000_000_000


OPEN_NS = at_ns("2025-11-03T14:30:00")
CLOSE_NS = at_ns("2025-11-03T21:00:00")
NOON_NS = at_ns("2025-11-03T17:00:00")


def one_session(_at_ns: int) -> Session:
    return Session("2025-11-03", OPEN_NS, CLOSE_NS)
