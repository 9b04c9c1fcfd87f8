"""What comes out of the stream: the channels' messages, and what happened to the stream."""

from msgspec import Struct

from libs.kalshi.wire.frames import PassedOn
from libs.kalshi.wire.market import Side


class Snapshot(Struct, frozen=True):
    """A whole YES book, (price_e4, count_e2) in the exchange's order; replaces what was there."""

    ticker: str
    bids: tuple[tuple[int, int], ...]
    asks: tuple[tuple[int, int], ...]
    sid: int
    seq: int
    clock: int | None


class Delta(Struct, frozen=True):
    """A signed change of one level of a YES book that is in sequence since its snapshot."""

    ticker: str
    side: Side
    price_e4: int
    change_e2: int
    sid: int
    seq: int
    clock: int | None
    at_ns: int | None
    client_order_id: str | None


class Gap(Struct, frozen=True):
    """Messages of a channel are lost. Books of `tickers` are stale until their next Snapshot.

    On a channel without books (`tickers` empty) the consumer reads REST to catch up, once the
    channel is `Subscribed` again when the subscription `ended` with it.
    """

    channel: str
    tickers: tuple[str, ...]
    reason: str
    ended: bool = False


class Subscribed(Struct, frozen=True):
    """The exchange accepted a subscription. fill, user_orders and positions have no sequence:
    reconcile them by REST now.
    """

    channel: str
    sid: int


class StreamError(Struct, frozen=True):
    """The exchange refused a command or ended a subscription."""

    code: int
    message: str
    channel: str | None
    tickers: tuple[str, ...]


class BadFrame(Struct, frozen=True):
    """A frame that could not be read; `shown` is its beginning."""

    reason: str
    shown: str


class UnknownFrame(Struct, frozen=True):
    """A well-formed frame of a type this code does not know."""

    type: str


class Command(Struct, frozen=True):
    """A text frame to send now."""

    text: str


class Reconnect(Struct, frozen=True):
    """Close this connection and open another."""

    reason: str


StreamEvent = (
    Snapshot
    | Delta
    | Gap
    | Subscribed
    | StreamError
    | BadFrame
    | UnknownFrame
    | Command
    | Reconnect
    | PassedOn
)
