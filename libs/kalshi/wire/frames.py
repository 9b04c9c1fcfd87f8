"""WebSocket frames, one struct for each `type` on the wire (kalshi-api.md §3).

The messages of ticker, trade, fill, user_order, market_position and the lifecycle channels are
handed on as they are; book frames are turned into YES prices by ws.py.
"""

from typing import Literal, get_args

import msgspec
from msgspec import Struct, field

from libs.kalshi.fields import (
    CountE2,
    LevelE4,
    MoneyE6,
    PriceE4,
    SignedCountE2,
    TimeFromMs,
    TimeFromS,
    decode_field,
)
from libs.kalshi.wire.market import Level, PriceRange, Side

Leg = Literal["yes", "no"]


class Envelope(Struct, frozen=True):
    """What every frame has, to read one that is otherwise unreadable."""

    type: str
    id: int | None = None
    sid: int | None = None
    seq: int | None = None


class Frame(Struct, frozen=True, tag_field="type"):
    """Base of all frames; `id` is there on answers to a command."""


class SubscribedMessage(Struct, frozen=True):
    """A channel and the id of its subscription."""

    channel: str
    sid: int


class SubscribedFrame(Frame, frozen=True, tag="subscribed"):
    """Answer to subscribe, one per channel, before its data."""

    msg: SubscribedMessage
    id: int | None = None


class UnsubscribedFrame(Frame, frozen=True, tag="unsubscribed"):
    """Answer to unsubscribe."""

    sid: int
    id: int | None = None
    seq: int | None = None


class OkFrame(Frame, frozen=True, tag="ok"):
    """Answer to other commands; `msg` is an object of tickers or a list of subscriptions."""

    id: int | None = None
    sid: int | None = None
    seq: int | None = None
    msg: msgspec.Raw = msgspec.Raw()


class ErrorMessage(Struct, frozen=True):
    """An error code of §3 and its text."""

    code: int
    msg: str = ""
    market_ticker: str | None = None
    market_tickers: tuple[str, ...] | None = None


class ErrorFrame(Frame, frozen=True, tag="error"):
    """A refused command, or the end of a subscription (10 and 25)."""

    msg: ErrorMessage
    id: int | None = None
    sid: int | None = None
    seq: int | None = None


class SnapshotMessage(Struct, frozen=True):
    """A whole book; an empty side is omitted. `clock` is missing in recordings of June 2026."""

    market_ticker: str
    yes: tuple[Level, ...] = field(default=(), name="yes_dollars_fp")
    no: tuple[Level, ...] = field(default=(), name="no_dollars_fp")
    clock: int | None = None


class SnapshotFrame(Frame, frozen=True, tag="orderbook_snapshot"):
    """First frame of a book, and the answer to get_snapshot."""

    sid: int
    seq: int
    msg: SnapshotMessage
    id: int | None = None
    sent_ms: int | None = field(default=None, name="sending_ts_ms")


class DeltaMessage(Struct, frozen=True):
    """A change of one level; `client_order_id` only when an own order caused it."""

    market_ticker: str
    price_e4: PriceE4 = field(name="price_dollars")
    change_e2: SignedCountE2 = field(name="delta_fp")
    side: Leg
    clock: int | None = None
    at_ns: TimeFromMs | None = field(default=None, name="ts_ms")
    client_order_id: str | None = None


class DeltaFrame(Frame, frozen=True, tag="orderbook_delta"):
    """One change of a book."""

    sid: int
    seq: int
    msg: DeltaMessage
    sent_ms: int | None = field(default=None, name="sending_ts_ms")


class Ticker(Struct, frozen=True):
    """Top of a book and last price; a quote is there only where its size is above zero."""

    ticker: str = field(name="market_ticker")
    last_price_e4: PriceE4 = field(name="price_dollars")
    bid_e4: PriceE4 = field(name="yes_bid_dollars")
    bid_size_e2: SignedCountE2 = field(name="yes_bid_size_fp")
    ask_e4: PriceE4 = field(name="yes_ask_dollars")
    ask_size_e2: SignedCountE2 = field(name="yes_ask_size_fp")
    volume_e2: CountE2 = field(name="volume_fp")
    open_interest_e2: CountE2 = field(name="open_interest_fp")
    at_ns: TimeFromMs = field(name="ts_ms")


class TickerFrame(Frame, frozen=True, tag="ticker"):
    """A ticker update."""

    sid: int
    msg: Ticker


class Trade(Struct, frozen=True):
    """A public print; `taker_side` is the side of the YES book that took."""

    trade_id: str
    ticker: str = field(name="market_ticker")
    price_e4: PriceE4 = field(name="yes_price_dollars")
    count_e2: CountE2 = field(name="count_fp")
    taker_side: Side = field(name="taker_book_side")
    at_ns: TimeFromMs = field(name="ts_ms")
    is_block_trade: bool = False


class TradeFrame(Frame, frozen=True, tag="trade"):
    """A public print."""

    sid: int
    seq: int
    msg: Trade


class FillUpdate(Struct, frozen=True):
    """A fill of ours, in YES prices; unlike REST it may name the client order id."""

    trade_id: str
    order_id: str
    ticker: str = field(name="market_ticker")
    side: Side = field(name="book_side")
    price_e4: PriceE4 = field(name="yes_price_dollars")
    count_e2: CountE2 = field(name="count_fp")
    fee_e6: MoneyE6 = field(name="fee_cost")
    is_taker: bool
    at_ns: TimeFromMs = field(name="ts_ms")
    post_position_e2: SignedCountE2 = field(name="post_position_fp")
    client_order_id: str | None = None
    subaccount: int | None = None
    exchange_index: int = 0


class FillFrame(Frame, frozen=True, tag="fill"):
    """A fill of ours."""

    sid: int
    msg: FillUpdate


class OrderUpdate(Struct, frozen=True):
    """An order of ours after a change; `status` is resting, canceled, executed or unknown."""

    order_id: str
    client_order_id: str
    ticker: str
    status: str
    side: Side = field(name="book_side")
    price_e4: PriceE4 = field(name="yes_price_dollars")
    initial_e2: CountE2 = field(name="initial_count_fp")
    filled_e2: CountE2 = field(name="fill_count_fp")
    remaining_e2: CountE2 = field(name="remaining_count_fp")
    maker_fees_e6: MoneyE6 = field(name="maker_fees_dollars")
    taker_fees_e6: MoneyE6 = field(name="taker_fees_dollars")
    created_ns: TimeFromMs | None = field(default=None, name="created_ts_ms")
    updated_ns: TimeFromMs | None = field(default=None, name="last_updated_ts_ms")
    expiration_ns: TimeFromMs | None = field(default=None, name="expiration_ts_ms")
    last_update_reason: str | None = None
    order_group_id: str | None = None
    subaccount: int | None = field(default=None, name="subaccount_number")
    exchange_index: int = 0


class OrderFrame(Frame, frozen=True, tag="user_order"):
    """A change of an order of ours (channel user_orders)."""

    sid: int
    msg: OrderUpdate


class PositionUpdate(Struct, frozen=True):
    """Our position in one market after a change."""

    ticker: str = field(name="market_ticker")
    position_e2: SignedCountE2 = field(name="position_fp")
    position_cost_e6: MoneyE6 = field(name="position_cost_dollars")
    realized_pnl_e6: MoneyE6 = field(name="realized_pnl_dollars")
    fees_paid_e6: MoneyE6 = field(name="fees_paid_dollars")
    subaccount: int | None = None


class PositionFrame(Frame, frozen=True, tag="market_position"):
    """A change of a position (channel market_positions)."""

    sid: int
    msg: PositionUpdate


class Lifecycle(Struct, frozen=True):
    """A change of a market: created, activated, deactivated, close_date_updated, determined, …

    Opening at open_time and closing at close_time send nothing (§2.8): use timers.
    """

    ticker: str = field(name="market_ticker")
    event_type: str
    open_ns: TimeFromS | None = field(default=None, name="open_ts")
    close_ns: TimeFromS | None = field(default=None, name="close_ts")
    determined_ns: TimeFromS | None = field(default=None, name="determination_ts")
    settled_ns: TimeFromS | None = field(default=None, name="settled_ts")
    result: str | None = None
    settlement_value: str | None = None
    is_deactivated: bool | None = None
    price_level_structure: str | None = None
    price_ranges: tuple[PriceRange, ...] | None = None
    strike_type: str | None = None
    floor_e4: LevelE4 | None = field(default=None, name="floor_strike")
    cap_e4: LevelE4 | None = field(default=None, name="cap_strike")


class LifecycleFrame(Frame, frozen=True, tag="market_lifecycle_v2"):
    """A change of a market."""

    sid: int
    seq: int
    msg: Lifecycle


class EventLifecycle(Struct, frozen=True):
    """A new event."""

    event_ticker: str
    series_ticker: str
    title: str = ""
    collateral_return_type: str = ""


class EventLifecycleFrame(Frame, frozen=True, tag="event_lifecycle"):
    """A new event, on the lifecycle channel."""

    sid: int
    seq: int
    msg: EventLifecycle


class EventFeeUpdate(Struct, frozen=True):
    """A fee override of an event; both nulls clear it."""

    event_ticker: str
    fee_type_override: str | None = None
    fee_multiplier_override: float | None = None


class EventFeeFrame(Frame, frozen=True, tag="event_fee_update"):
    """A fee override, on the lifecycle channel."""

    sid: int
    seq: int
    msg: EventFeeUpdate


class OrderGroupUpdate(Struct, frozen=True):
    """created, triggered, reset, deleted or limit_updated."""

    event_type: str
    order_group_id: str
    at_ns: TimeFromMs = field(name="ts_ms")
    contracts_limit_e2: CountE2 | None = field(default=None, name="contracts_limit_fp")


class OrderGroupFrame(Frame, frozen=True, tag="order_group_updates"):
    """A change of an order group."""

    sid: int
    seq: int
    msg: OrderGroupUpdate


AnyFrame = (
    DeltaFrame
    | SnapshotFrame
    | SubscribedFrame
    | UnsubscribedFrame
    | OkFrame
    | ErrorFrame
    | TickerFrame
    | TradeFrame
    | FillFrame
    | OrderFrame
    | PositionFrame
    | LifecycleFrame
    | EventLifecycleFrame
    | EventFeeFrame
    | OrderGroupFrame
)
PassedOn = (
    Ticker
    | Trade
    | FillUpdate
    | OrderUpdate
    | PositionUpdate
    | Lifecycle
    | EventLifecycle
    | EventFeeUpdate
    | OrderGroupUpdate
)

_frames: "msgspec.json.Decoder[AnyFrame]" = msgspec.json.Decoder(AnyFrame, dec_hook=decode_field)
_envelopes = msgspec.json.Decoder(Envelope)
KNOWN_TYPES = frozenset(str(one.__struct_config__.tag) for one in get_args(AnyFrame))


def decode_frame(text: str | bytes) -> AnyFrame:
    """Return the frame. Raises ValueError (msgspec's) when it is unknown or malformed."""
    return _frames.decode(text)


def decode_envelope(text: str | bytes) -> Envelope | None:
    """Return what can still be read of a frame, or None."""
    try:
        return _envelopes.decode(text)
    except (ValueError, RecursionError):
        return None
