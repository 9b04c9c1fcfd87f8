"""Exchange tickers, read and written, and their form as one NATS subject token.

SERIES-PERIOD-STRIKE with a period of YYMMM, YYMMMDD or YYMMMDDHhhmm in New York time
(kalshi-api.md §4). T and B before a strike say nothing of direction: the strike type decides.
"""

import re
from datetime import date
from functools import lru_cache

from msgspec import Struct

from libs.domain.eastern import NS_PER_MINUTE, LocalTimeError, eastern_datetime, eastern_ns
from libs.domain.money import format_level, parse_level

MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
TICKER_LENGTH_MAX = 128

_SERIES = re.compile(r"[A-Z0-9]{1,32}")
_PERIOD = re.compile(r"([0-9]{2})([A-Z]{3})([0-9]{2})?(?:H([0-9]{2})([0-9]{2}))?([A-Z]?)")
_STRIKE = re.compile(r"([TB])(-?[0-9]+(?:\.[0-9]+)?)")
_PLAIN_TOKEN = re.compile(r"[A-Za-z0-9-]+")
_ESCAPED_TOKEN = re.compile(r"(?:[A-Za-z0-9-]|_[0-9A-F]{2})+")
_PLAIN = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-")


class TickerError(ValueError):
    """A ticker or token that is not of the exchange's form."""


class EventTicker(Struct, frozen=True):
    """One event's ticker in its parts; `text` is exactly as the exchange writes it."""

    text: str
    series_ticker: str
    year: int
    month: int
    day: int | None = None
    hour: int | None = None
    minute: int | None = None

    @property
    def date(self) -> date | None:
        """Return the New York day, or None for a monthly event."""
        return None if self.day is None else date(self.year, self.month, self.day)

    @property
    def target_ns(self) -> int:
        """Return UTC ns of the target time; raise TickerError if the ticker holds none."""
        if self.day is None or self.hour is None or self.minute is None:
            raise TickerError(f"event: expected a ticker with an hour, got {self.text!r}")
        try:
            return eastern_ns(date(self.year, self.month, self.day), self.hour, self.minute)
        except LocalTimeError as error:
            raise TickerError(f"event {self.text!r}: {error}") from error


class MarketTicker(Struct, frozen=True):
    """One market's ticker: its event, the letter T or B, and the strike it names."""

    text: str
    event: EventTicker
    letter: str
    strike_e4: int


@lru_cache(maxsize=4096)
def parse_event_ticker(text: str) -> EventTicker:
    """Return the parts of an event ticker; raise TickerError."""
    series_ticker, separator, period = text.partition("-")
    match = _PERIOD.fullmatch(period)
    if not separator or not _SERIES.fullmatch(series_ticker) or match is None:
        raise TickerError(f"event: expected SERIES-YYMMM[DD[Hhhmm]], got {text[:60]!r}")
    if match[2] not in MONTHS or (match[4] is not None and match[3] is None):
        raise TickerError(f"event: expected a month like OCT, then day and hour, got {text!r}")
    numbers = [None if part is None else int(part) for part in match.group(3, 4, 5)]
    event = EventTicker(
        text, series_ticker, 2000 + int(match[1]), MONTHS.index(match[2]) + 1, *numbers
    )
    try:
        _ = event.date
    except ValueError as error:
        raise TickerError(f"event: expected a real day, got {text!r}") from error
    if not 0 <= (event.hour or 0) <= 23 or not 0 <= (event.minute or 0) <= 59:
        raise TickerError(f"event: expected H0000 to H2359, got {text!r}")
    return event


@lru_cache(maxsize=16_384)
def parse_market_ticker(text: str) -> MarketTicker:
    """Return the parts of a market ticker such as KXCPI-26SEP-T-0.1; raise TickerError."""
    parts = text.split("-", 2)
    if len(parts) != 3 or len(text) > TICKER_LENGTH_MAX:
        raise TickerError(f"market: expected SERIES-PERIOD-STRIKE, got {text[:60]!r}")
    match = _STRIKE.fullmatch(parts[2])
    if match is None:
        raise TickerError(f"market: expected a strike like T7869.9999 or B8062, got {text!r}")
    event = parse_event_ticker(f"{parts[0]}-{parts[1]}")
    try:
        strike_e4 = parse_level(match[2])
    except ValueError as error:
        raise TickerError(f"market {text!r}: {error}") from error
    return MarketTicker(text, event, match[1], strike_e4)


def series_of_event(event_ticker: str) -> str:
    """Return the series part of any event or market ticker; raise TickerError."""
    series_ticker, separator, _ = event_ticker.partition("-")
    if not separator or not _SERIES.fullmatch(series_ticker):
        raise TickerError(f"event: expected SERIES-PERIOD, got {event_ticker[:60]!r}")
    return series_ticker


def format_event_ticker(series_ticker: str, target_ns: int) -> str:
    """Return SERIES-YYMMMDDHhhmm of a target time in UTC ns, which must be a whole minute."""
    if target_ns % NS_PER_MINUTE:
        raise TickerError(f"target_ns: expected a whole minute, got {target_ns}")
    if not _SERIES.fullmatch(series_ticker):
        raise TickerError(f"series: expected upper-case letters and digits, got {series_ticker!r}")
    local = eastern_datetime(target_ns)
    if not 2000 <= local.year <= 2099:
        raise TickerError(f"target_ns: expected a time of 2000 to 2099, got {target_ns}")
    text = f"{series_ticker}-{local:%y}{MONTHS[local.month - 1]}{local:%dH%H%M}"
    if parse_event_ticker(text).target_ns != target_ns:
        raise TickerError(f"target_ns: {target_ns} has no ticker of its own")
    return text


def format_market_ticker(event_ticker: str, letter: str, strike_e4: int) -> str:
    """Return EVENT-T7869.9999 or EVENT-B8062, the strike at its shortest; raise TickerError."""
    return parse_market_ticker(f"{event_ticker}-{letter}{format_level(strike_e4)}").text


@lru_cache(maxsize=16_384)
def encode_token(text: str) -> str:
    """Return any text as one legal NATS subject token, reversibly; raise TickerError if empty.

    Letters, digits and "-" stay; every other UTF-8 byte becomes "_" and two hex digits.
    """
    if _PLAIN_TOKEN.fullmatch(text):
        return text
    if not text:
        raise TickerError("token: expected at least one character, got ''")
    try:
        raw = text.encode()
    except UnicodeEncodeError as error:
        raise TickerError(f"token: expected encodable text, got {text[:60]!r}") from error
    return "".join(chr(byte) if byte in _PLAIN else f"_{byte:02X}" for byte in raw)


@lru_cache(maxsize=16_384)
def decode_token(token: str) -> str:
    """Return the text that `encode_token` wrote; raise TickerError for any other token."""
    if _PLAIN_TOKEN.fullmatch(token):
        return token
    if not _ESCAPED_TOKEN.fullmatch(token):
        raise TickerError(f"token: expected letters, digits, - and _XX, got {token[:60]!r}")
    raw = re.sub(rb"_([0-9A-F]{2})", lambda hit: bytes.fromhex(hit[1].decode()), token.encode())
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise TickerError(f"token: expected UTF-8 inside, got {token[:60]!r}") from error
    if encode_token(text) != token:
        raise TickerError(f"token: expected the one encoding of its text, got {token[:60]!r}")
    return text
