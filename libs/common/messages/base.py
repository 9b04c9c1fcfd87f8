"""The envelope that every message carries, and how ids are derived from causes."""

import hashlib
from typing import Annotated, Literal, TypedDict

from msgspec import Meta, Struct

Nanoseconds = Annotated[int, Meta(ge=0, le=4_102_444_800_000_000_000)]
PriceE4 = Annotated[int, Meta(ge=0, le=10_000)]
LevelE4 = Annotated[int, Meta(ge=-(10**12), le=10**12)]
CountE2 = Annotated[int, Meta(ge=0, le=10**10)]
SignedCountE2 = Annotated[int, Meta(ge=-(10**10), le=10**10)]
MoneyE6 = Annotated[int, Meta(ge=-(10**15), le=10**15)]
Probability = Annotated[float, Meta(ge=0.0, le=1.0)]
Text = Annotated[str, Meta(max_length=2_000)]
Name = Annotated[str, Meta(min_length=1, max_length=128)]

Side = Literal["bid", "ask"]
Provenance = Literal["live", "replay", "synthetic"]

HORIZON_NS = 4_102_444_800_000_000_000
"""Year 2100: a time past it is a unit mistake, not a time."""


class Message(Struct, frozen=True, kw_only=True, tag_field="type", gc=False):
    """What all messages share.

    Frozen and of plain values, so never in a cycle: the collector need not walk them.
    `id` doubles as `Nats-Msg-Id`; `cause_id` is the id of what led to this message and
    `correlation_id` the id of the first cause of the chain (a tick, a timer, an operator).
    """

    id: Name
    ts_event_ns: Nanoseconds
    ts_pub_ns: Nanoseconds
    cause_id: Text
    correlation_id: Text
    source: Name

    def __post_init__(self) -> None:
        # Meta limits are checked on decode only; what we build ourselves is checked here.
        assert self.id, "a message needs an id"
        event_ns, pub_ns = self.ts_event_ns, self.ts_pub_ns
        assert 0 <= event_ns <= HORIZON_NS, f"ts_event_ns: expected UTC nanoseconds, got {event_ns}"
        assert 0 <= pub_ns <= HORIZON_NS, f"ts_pub_ns: expected UTC nanoseconds, got {pub_ns}"


class Cause(Struct, frozen=True):
    """Name what led to an effect: a message, a timer, a frame of an outside system."""

    id: str
    correlation_id: str
    now_ns: int

    @classmethod
    def of(cls, message: Message, now_ns: int) -> "Cause":
        """Return the cause that a received message is."""
        return cls(message.id, message.correlation_id, now_ns)

    @classmethod
    def first(cls, kind: str, key: str, now_ns: int) -> "Cause":
        """Return the start of a new chain, e.g. ("timer", "t2s-KXINXU…", now)."""
        chain = derived_id(kind, key)
        return cls(chain, chain, now_ns)


def derived_id(*parts: str | int) -> str:
    """Return a stable 26-character id of the parts: equal causes give equal ids."""
    text = "\x1f".join(map(str, parts))
    return hashlib.blake2b(text.encode(), digest_size=13).hexdigest()


class Envelope(TypedDict):
    """The fields that every message has, to be given to its constructor with `**`."""

    id: str
    ts_event_ns: int
    ts_pub_ns: int
    cause_id: str
    correlation_id: str
    source: str


def envelope(
    cause: Cause, source: str, message_id: str = "", *, ts_event_ns: int | None = None
) -> Envelope:
    """Return the envelope of a message that a cause leads to.

    Without an id of its own the message opens the chain and takes the cause's.
    """
    opens = not message_id or message_id == cause.id
    return {
        "id": message_id or cause.id,
        "ts_event_ns": cause.now_ns if ts_event_ns is None else ts_event_ns,
        "ts_pub_ns": cause.now_ns,
        "cause_id": "" if opens else cause.id,
        "correlation_id": cause.correlation_id,
        "source": source,
    }
