"""Decode the exchange's strings straight into our integers while msgspec reads JSON.

A struct field annotated with one of these types holds a plain `int`; the class is only a mark
for the decoder, and an `int` is an instance of it, so nothing but integers ever leaves here.
"""

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from libs.domain.eastern import NS_PER_S as NS_PER_S
from libs.domain.money import (
    parse_count,
    parse_level,
    parse_money,
    parse_price,
    parse_signed_count,
)

NS_PER_MS = 1_000_000
_TIME_MAX_NS = 2**63 - 1

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TIME = re.compile(
    r"(\d{4})-(\d{2})-(\d{2})[Tt ](\d{2}):(\d{2}):(\d{2})(?:\.(\d{1,12}))?"
    r"(?:[Zz]|([+-])(\d{2}):(\d{2}))"
)


def parse_time_ns(text: str) -> int:
    """Return RFC3339 `text` as UTC nanoseconds since the epoch; digits past nine are cut.

    The exchange trims trailing zeros of the fraction (kalshi-api.md §2.1). Raises ValueError.
    """
    match = _TIME.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise ValueError(f"time: expected RFC3339 with a zone, got {str(text)[:40]!r}")
    year, month, day, hour, minute, second, fraction, sign, zone_hour, zone_minute = match.groups()
    whole = datetime(
        int(year), int(month), int(day), int(hour), int(minute), int(second), tzinfo=UTC
    )
    seconds = (whole - _EPOCH).days * 86_400 + (whole - _EPOCH).seconds
    if sign is not None:
        offset = int(zone_hour) * 3600 + int(zone_minute) * 60
        seconds += -offset if sign == "+" else offset
    return seconds * NS_PER_S + (int(fraction[:9].ljust(9, "0")) if fraction else 0)


def format_time(time_ns: int) -> str:
    """Return `time_ns` as RFC3339 UTC with a trimmed fraction, as the exchange writes it."""
    seconds, fraction = divmod(time_ns, NS_PER_S)
    text = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}.{fraction:09d}".rstrip("0").rstrip(".") + "Z" if fraction else text + "Z"


class _Mark(type):
    """Let every int pass as an instance, so msgspec accepts what the hook returns."""

    __instancecheck__ = int.__instancecheck__  # int's own, in C: it is asked for every field


if TYPE_CHECKING:
    PriceE4 = int
    CountE2 = int
    SignedCountE2 = int
    MoneyE6 = int
    LevelE4 = int
    TimeNs = int
    TimeFromMs = int
    TimeFromS = int
else:

    class PriceE4(metaclass=_Mark):
        """A dollar string as price_e4."""

    class CountE2(metaclass=_Mark):
        """A fixed-point count string as count_e2, never negative."""

    class SignedCountE2(metaclass=_Mark):
        """A fixed-point change or position string as count_e2."""

    class MoneyE6(metaclass=_Mark):
        """A dollar string as money_e6."""

    class LevelE4(metaclass=_Mark):
        """A JSON number as level_e4."""

    class TimeNs(metaclass=_Mark):
        """An RFC3339 string as time_ns."""

    class TimeFromMs(metaclass=_Mark):
        """Unix milliseconds as time_ns."""

    class TimeFromS(metaclass=_Mark):
        """Unix seconds as time_ns."""


def _from_ms(raw: object) -> int:
    if type(raw) is int and 0 <= raw <= _TIME_MAX_NS // NS_PER_MS:
        return raw * NS_PER_MS
    raise ValueError(f"expected Unix milliseconds as a whole number, got {str(raw)[:40]!r}")


def _from_s(raw: object) -> int:
    if type(raw) is int and 0 <= raw <= _TIME_MAX_NS // NS_PER_S:
        return raw * NS_PER_S
    raise ValueError(f"expected Unix seconds as a whole number, got {str(raw)[:40]!r}")


def _level(raw: object) -> int:
    if isinstance(raw, bool) or not isinstance(raw, int | float):
        raise ValueError(f"level: expected a JSON number, got {type(raw).__name__}")
    return parse_level(raw)


_HOOKS: dict[Any, Any] = {
    PriceE4: parse_price,
    CountE2: parse_count,
    SignedCountE2: parse_signed_count,
    MoneyE6: parse_money,
    LevelE4: _level,
    TimeNs: parse_time_ns,
    TimeFromMs: _from_ms,
    TimeFromS: _from_s,
}


def decode_field(kind: type, raw: Any) -> Any:
    """Convert one marked field; the `dec_hook` of every decoder here. Raises ValueError."""
    return _HOOKS[kind](raw)


Decoded = TypeVar("Decoded")


def decoder(kind: type[Decoded]) -> "msgspec.json.Decoder[Decoded]":
    """Return a JSON decoder of `kind` that knows the marked fields."""
    return msgspec.json.Decoder(kind, dec_hook=decode_field)
