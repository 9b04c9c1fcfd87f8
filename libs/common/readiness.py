"""Readiness as reporting stores it, one value for each series: what is absent is a NO-GO."""

import asyncio
from collections.abc import Iterable

import msgspec
from msgspec import Struct

from libs.common.bus import Bus, BusError
from libs.domain.eastern import utc_text
from libs.domain.tickers import encode_token

BUCKET = "readiness"


class Readiness(Struct, frozen=True, kw_only=True):
    """Whether a series may be traded with real money, and until when that holds (domain.md §3)."""

    series_ticker: str
    go: bool
    expires_ns: int
    reason: str = ""


_decoder = msgspec.json.Decoder(Readiness)


def readiness_key(series_ticker: str) -> str:
    """Return the key of a series' readiness."""
    return encode_token(series_ticker)


async def readiness_problem(bus: Bus, series_ticker: str, now_ns: int, timeout_s: float) -> str:
    """Return why a series may not be traded now, "" if it may."""
    try:
        async with asyncio.timeout(timeout_s):
            found = await bus.get(BUCKET, readiness_key(series_ticker))
    except (BusError, TimeoutError, OSError) as error:
        return f"{series_ticker}: unread, {type(error).__name__}"
    return problem_of(found.data if found else None, series_ticker, now_ns)


def problem_of(data: bytes | None, series_ticker: str, now_ns: int) -> str:
    """Return why what is stored is no GO at this time, "" if it is one."""
    if data is None:
        return f"{series_ticker}: nothing is stored"
    try:
        known = _decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return f"{series_ticker}: unreadable"
    if known.series_ticker != series_ticker:
        return f"{series_ticker}: that of {known.series_ticker} is stored in its place"
    if not known.go:
        return f"{series_ticker}: NO-GO, {known.reason or 'no reason given'}"
    if now_ns >= known.expires_ns:
        return f"{series_ticker}: expired at {utc_text(known.expires_ns)}"
    return ""


async def all_problems(bus: Bus, series: Iterable[str], now_ns: int, timeout_s: float) -> list[str]:
    """Return the problem of each series that has one."""
    found = [await readiness_problem(bus, one, now_ns, timeout_s) for one in series]
    return [problem for problem in found if problem]
