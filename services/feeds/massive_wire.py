"""The Massive indices protocol as text: frames in, typed values out; pure."""

from typing import Any, Literal

import msgspec
from msgspec import Struct

from libs.domain.money import MoneyError, round_level

NS_PER_MS = 1_000_000
FRAME_MAX_BYTES = 1_000_000
EVENTS_MAX = 10_000


class Aggregate(Struct, frozen=True):
    """One second of an index; its value is the close, known at the end."""

    symbol: str
    level_e4: int
    start_ns: int
    end_ns: int


class Status(Struct, frozen=True):
    """What the server says of the connection."""

    status: str
    message: str


class Refused(Struct, frozen=True):
    """Something in a frame that can't be read."""

    reason: str


class _WireAggregate(Struct, tag_field="ev", tag="A"):
    sym: str
    c: float
    s: int
    e: int


class _WireStatus(Struct, tag_field="ev", tag="status"):
    status: str
    message: str = ""


_decode_array = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_event = msgspec.json.Decoder(_WireAggregate | _WireStatus).decode
_decode_kind = msgspec.json.Decoder(dict[str, Any]).decode


def read_frame(text: str | bytes) -> list[Aggregate | Status | Refused]:
    """Return everything that a frame holds; never raises on what it holds.

    Events of kinds that we did not ask for are passed over.
    """
    if len(text) > FRAME_MAX_BYTES:
        return [Refused(f"expected at most {FRAME_MAX_BYTES} characters, got {len(text)}")]
    try:
        parts = _decode_array(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return [Refused(f"expected a JSON array of events: {error}")]
    if len(parts) > EVENTS_MAX:
        return [Refused(f"expected at most {EVENTS_MAX} events, got {len(parts)}")]
    return [item for part in parts if (item := _read_event(bytes(part))) is not None]


def _read_event(part: bytes) -> Aggregate | Status | Refused | None:
    try:
        event = _decode_event(part)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return None if _is_other_kind(part) else Refused(str(error))
    if isinstance(event, _WireStatus):
        return Status(event.status, event.message)
    try:
        level_e4 = round_level(event.c)
    except MoneyError as error:
        return Refused(str(error))
    if not 0 < event.s < event.e < 10**13:
        return Refused(f"expected a window in milliseconds, got {event.s} to {event.e}")
    return Aggregate(event.sym, level_e4, event.s * NS_PER_MS, event.e * NS_PER_MS)


def _is_other_kind(part: bytes) -> bool:
    try:
        kind = _decode_kind(part).get("ev")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return isinstance(kind, str) and kind not in ("A", "status")


def command(action: Literal["auth", "subscribe"], params: str) -> str:
    """Return the text of a client command."""
    return msgspec.json.encode({"action": action, "params": params}).decode()
