"""What feeds took in, as rows of a capture: bars, book frames, listings, how the sources were."""

import msgspec
from msgspec import Struct

from lab.capture.format import Record
from libs.common.effects import Event
from libs.kalshi.wire.frames import Lifecycle
from libs.kalshi.wire.market import Side
from libs.kalshi.ws_events import Delta, Gap, Snapshot, StreamEvent, Subscribed
from services.feeds.events import (
    BooksHeard,
    ExchangeStatusRead,
    FeedAlive,
    FeedFailed,
    IndexBar,
    LaddersListed,
    LadderSpec,
    MinuteBar,
    SkewMeasured,
    Started,
)

FEEDS_KIND = "feeds"
SOURCE = "feeds"


class _Row(Struct, frozen=True, array_like=True, gc=False):
    """A row's first element is its tag; its time is the record's."""


class DeltaRow(_Row, frozen=True, array_like=True, tag="delta"):
    """A change of one level, of the book as it was at `as_of_ns`."""

    as_of_ns: int
    ticker: str
    side: Side
    price_e4: int
    change_e2: int
    sid: int
    seq: int
    clock: int | None
    at_ns: int | None
    client_order_id: str | None = None
    """Set when the change is of an order of our own."""


class SnapshotRow(_Row, frozen=True, array_like=True, tag="snapshot"):
    """A whole book as it was at `as_of_ns`."""

    as_of_ns: int
    ticker: str
    bids: tuple[tuple[int, int], ...]
    asks: tuple[tuple[int, int], ...]
    sid: int
    seq: int
    clock: int | None


class GapRow(_Row, frozen=True, array_like=True, tag="gap"):
    """Messages of a channel were lost."""

    as_of_ns: int
    channel: str
    tickers: tuple[str, ...]
    reason: str
    ended: bool = False


class SubscribedRow(_Row, frozen=True, array_like=True, tag="subscribed"):
    """A channel speaks from now on."""

    as_of_ns: int
    channel: str
    sid: int


class LifecycleRow(_Row, frozen=True, array_like=True, tag="lifecycle"):
    """A step in a market's life."""

    as_of_ns: int
    ticker: str
    event_type: str


class BarRow(_Row, frozen=True, array_like=True, tag="bar"):
    """One bar of an index."""

    symbol: str
    level_e4: int
    start_ns: int
    end_ns: int


class MinuteRow(_Row, frozen=True, array_like=True, tag="minute"):
    """One whole minute of an index."""

    symbol: str
    open_e4: int
    high_e4: int
    low_e4: int
    close_e4: int
    start_ns: int


class ListedRow(_Row, frozen=True, array_like=True, tag="listed"):
    """The events that were open, and which of their markets did not trade.

    Without `asked_ns`, in a capture from before it, nothing is known of that.
    """

    ladders: tuple[LadderSpec, ...]
    inactive: tuple[str, ...] = ()
    asked_ns: int = -1


class AliveRow(_Row, frozen=True, array_like=True, tag="alive"):
    """A source was heard of."""

    feed: str
    heard_ns: int
    losses: int


class FailedRow(_Row, frozen=True, array_like=True, tag="failed"):
    """A source could not be read."""

    feed: str
    detail: str
    losses: int


class StatusRow(_Row, frozen=True, array_like=True, tag="status"):
    """What the exchange said of itself."""

    exchange_active: bool
    trading_active: bool


class SkewRow(_Row, frozen=True, array_like=True, tag="skew"):
    """Our clock less an outside one."""

    reference: str
    skew_ns: int
    uncertainty_ns: int


class StartedRow(_Row, frozen=True, array_like=True, tag="started"):
    """The adapters began."""


FrameRow = DeltaRow | SnapshotRow | GapRow | SubscribedRow | LifecycleRow
Row = (
    FrameRow
    | BarRow
    | MinuteRow
    | ListedRow
    | AliveRow
    | FailedRow
    | StatusRow
    | SkewRow
    | StartedRow
)
_decoder: "msgspec.msgpack.Decoder[Row]" = msgspec.msgpack.Decoder(Row)
_encode = msgspec.msgpack.Encoder().encode


def records_of(event: Event) -> list[Record]:
    """Return the records of one input of feeds; frames that it passes over have none."""
    rows: list[Row] = []
    match event:
        case BooksHeard():
            frames = (_frame_row(frame, event.as_of_ns) for frame in event.events)
            rows += [row for row in frames if row is not None]
        case IndexBar():
            rows.append(BarRow(event.symbol, event.level_e4, event.start_ns, event.end_ns))
        case MinuteBar():
            levels = event.open_e4, event.high_e4, event.low_e4, event.close_e4
            rows.append(MinuteRow(event.symbol, *levels, event.start_ns))
        case LaddersListed():
            rows.append(ListedRow(event.ladders, event.inactive, event.asked_ns))
        case FeedAlive():
            rows.append(AliveRow(event.feed, event.heard_ns, event.losses))
        case FeedFailed():
            rows.append(FailedRow(event.feed, event.detail, event.losses))
        case ExchangeStatusRead():
            rows.append(StatusRow(event.exchange_active, event.trading_active))
        case SkewMeasured():
            rows.append(SkewRow(event.reference, event.skew_ns, event.uncertainty_ns))
        case Started():
            rows.append(StartedRow())
        case _:
            raise AssertionError(f"feeds takes in no {type(event).__name__}")
    return [Record(event.now_ns, SOURCE, "", 0, _encode(row)) for row in rows]


def decode_row(data: bytes) -> Row:
    """Return a record's row. Raises msgspec.DecodeError."""
    return _decoder.decode(data)


def event_of(row: Row, now_ns: int) -> Event:
    """Return what feeds' core is told of a row at a time."""
    if isinstance(row, FrameRow):
        return BooksHeard(now_ns=now_ns, events=(_frame_of(row),), as_of_ns=row.as_of_ns)
    match row:
        case BarRow():
            return IndexBar(
                now_ns=now_ns,
                symbol=row.symbol,
                level_e4=row.level_e4,
                start_ns=row.start_ns,
                end_ns=row.end_ns,
            )
        case MinuteRow():
            return MinuteBar(
                now_ns=now_ns,
                symbol=row.symbol,
                open_e4=row.open_e4,
                high_e4=row.high_e4,
                low_e4=row.low_e4,
                close_e4=row.close_e4,
                start_ns=row.start_ns,
            )
        case ListedRow():
            return LaddersListed(
                now_ns=now_ns,
                ladders=row.ladders,
                inactive=row.inactive,
                asked_ns=row.asked_ns,
            )
        case AliveRow():
            return FeedAlive(now_ns=now_ns, feed=row.feed, heard_ns=row.heard_ns, losses=row.losses)
        case FailedRow():
            return FeedFailed(now_ns=now_ns, feed=row.feed, detail=row.detail, losses=row.losses)
        case StatusRow():
            return ExchangeStatusRead(
                now_ns=now_ns,
                exchange_active=row.exchange_active,
                trading_active=row.trading_active,
            )
        case SkewRow():
            return SkewMeasured(
                now_ns=now_ns,
                reference=row.reference,
                skew_ns=row.skew_ns,
                uncertainty_ns=row.uncertainty_ns,
            )
        case _:
            return Started(now_ns=now_ns)


def _frame_of(row: FrameRow) -> StreamEvent:
    if isinstance(row, DeltaRow):
        return Delta(
            row.ticker,
            row.side,
            row.price_e4,
            row.change_e2,
            row.sid,
            row.seq,
            row.clock,
            row.at_ns,
            row.client_order_id,
        )
    match row:
        case SnapshotRow():
            return Snapshot(row.ticker, row.bids, row.asks, row.sid, row.seq, row.clock)
        case GapRow():
            return Gap(row.channel, row.tickers, row.reason, row.ended)
        case SubscribedRow():
            return Subscribed(row.channel, row.sid)
        case _:
            return Lifecycle(ticker=row.ticker, event_type=row.event_type)


def _frame_row(frame: StreamEvent, as_of_ns: int) -> Row | None:
    match frame:
        case Delta():
            return DeltaRow(
                as_of_ns,
                frame.ticker,
                frame.side,
                frame.price_e4,
                frame.change_e2,
                frame.sid,
                frame.seq,
                frame.clock,
                frame.at_ns,
                frame.client_order_id,
            )
        case Snapshot():
            return SnapshotRow(
                as_of_ns, frame.ticker, frame.bids, frame.asks, frame.sid, frame.seq, frame.clock
            )
        case Gap():
            return GapRow(as_of_ns, frame.channel, frame.tickers, frame.reason, frame.ended)
        case Subscribed():
            return SubscribedRow(as_of_ns, frame.channel, frame.sid)
        case Lifecycle():
            return LifecycleRow(as_of_ns, frame.ticker, frame.event_type)
        case _:
            return None
