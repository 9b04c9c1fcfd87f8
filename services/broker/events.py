"""What the broker's core is told by its adapters, and what it asks of them."""

from typing import Literal

from msgspec import Struct

from libs.common.effects import Effect, Event
from libs.common.messages import Message, Side

Call = Literal["place", "amend", "cancel"]
GroupCall = Literal["create", "reset", "delete"]
Outcome = Literal["accepted", "refused", "unknown", "not_sent", "rate_limited"]
"""`refused`, `not_sent` and `rate_limited` are proof that nothing was done; `unknown` is not."""


# Facts


class ExchangeOrder(Struct, frozen=True, kw_only=True):
    """An order as a read or a frame of the exchange shows it.

    `status` is resting, canceled or executed; any other is taken for no information. `reason` is
    the frame's last update reason, "" in reads; `changed_ns` 0 when not told.
    """

    order_id: str
    client_order_id: str
    ticker: str
    side: Side
    price_e4: int
    filled_e2: int
    remaining_e2: int
    status: str
    reason: str = ""
    expiration_ns: int = 0
    changed_ns: int = 0


class ExchangeGroup(Struct, frozen=True, kw_only=True):
    """An order group as a read shows it; a read need not tell the limit. What `auto_cancel` says of
    a group is in groups.py.
    """

    order_group_id: str
    limit_e2: int | None
    auto_cancel: bool


class ExchangeFill(Struct, frozen=True, kw_only=True):
    """A fill of our account; REST does not say the client order id."""

    trade_id: str
    order_id: str
    client_order_id: str
    ticker: str
    side: Side
    price_e4: int
    count_e2: int
    is_taker: bool
    fee_e6: int
    exchange_ns: int


class ExchangePayout(Struct, frozen=True, kw_only=True):
    """What the exchange paid for one settled market."""

    ticker: str
    event_ticker: str
    result: Literal["yes", "no", "scalar"]
    yes_count_e2: int
    no_count_e2: int
    revenue_e6: int
    fee_e6: int
    settled_ns: int


# Events


class Folded(Event, frozen=True, kw_only=True):
    """A stored message of ORDERS or FILLS, read back at the start."""

    message: Message
    stream: str
    sequence: int


class EpochTaken(Event, frozen=True, kw_only=True):
    """We hold the lease and the fence; the streams are folded."""

    epoch: int


class RecoveryDone(Event, frozen=True, kw_only=True):
    """Streams and exchange are read; from now on verdicts lead to writes."""


class WriteStarted(Event, frozen=True, kw_only=True):
    """The request to place an order leaves us now."""

    client_order_id: str


class OrderAnswer(Event, frozen=True, kw_only=True):
    """What became of one write. Counts are those of the answer, None where it has none."""

    call: Call
    client_order_id: str
    outcome: Outcome
    code: str = ""
    order_id: str = ""
    filled_e2: int | None = None
    remaining_e2: int | None = None
    reduced_e2: int | None = None
    exchange_ns: int = 0


class FillSeen(Event, frozen=True, kw_only=True):
    """A fill, from the socket or a read; the same one may come many times."""

    fill: ExchangeFill


class OrderSeen(Event, frozen=True, kw_only=True):
    """A frame about one order of ours."""

    order: ExchangeOrder


class OrdersRead(Event, frozen=True, kw_only=True):
    """A complete read of orders, begun at `started_ns`.

    With an event it holds that event's orders of every status; without (`event_ticker` "") it
    holds all resting orders of the account. `complete` is False when the read failed.
    """

    event_ticker: str
    started_ns: int
    complete: bool
    orders: tuple[ExchangeOrder, ...] = ()


class PositionsRead(Event, frozen=True, kw_only=True):
    """The account's unsettled positions, (ticker, signed count_e2)."""

    started_ns: int
    positions: tuple[tuple[str, int], ...]


class BalanceRead(Event, frozen=True, kw_only=True):
    """The account's cash, the last part of a read of the account."""

    started_ns: int
    balance_e6: int


class SettlementsRead(Event, frozen=True, kw_only=True):
    """What the exchange has paid for the markets of one event so far."""

    event_ticker: str
    complete: bool
    payouts: tuple[ExchangePayout, ...] = ()


class EverythingCancelled(Event, frozen=True, kw_only=True):
    """The account-wide cancel was answered; only reads say what it did."""

    outcome: Outcome


class GroupAnswer(Event, frozen=True, kw_only=True):
    """What became of a call about an event's order group."""

    event_ticker: str
    call: GroupCall
    outcome: Outcome
    code: str = ""
    order_group_id: str = ""


class GroupSeen(Event, frozen=True, kw_only=True):
    """A frame about an order group: created, triggered, reset, deleted or limit_updated."""

    order_group_id: str
    change: str


class GroupsRead(Event, frozen=True, kw_only=True):
    """All order groups of the account, by a read begun at `started_ns`, after one of the fills."""

    started_ns: int
    groups: tuple[ExchangeGroup, ...]


class GroupResetAsked(Event, frozen=True, kw_only=True):
    """An operator wants a triggered order group to take orders again."""

    event_ticker: str


class KillSwitchChanged(Event, frozen=True, kw_only=True):
    """The kill switch was engaged or released, or could not be read (engaged)."""

    engaged: bool
    reason: str
    by: str


class ClockSet(Event, frozen=True, kw_only=True):
    """Somebody set this machine's clock between the event before and now; above 0: forward."""

    by_ns: int


class CancelAllAsked(Event, frozen=True, kw_only=True):
    """An operator wants nothing to rest for an event ("" for all) until the next verdict."""

    event_ticker: str
    reason: str


class DrainAsked(Event, frozen=True, kw_only=True):
    """The process is to end: cancel everything, place nothing more."""

    reason: str


# Effects


class SubmitOrder(Effect, frozen=True, kw_only=True):
    """Place an order, once its intent is acknowledged, if it is not later than `not_after_ns`."""

    client_order_id: str
    event_ticker: str
    ticker: str
    side: Side
    price_e4: int
    count_e2: int
    expiration_ns: int
    order_group_id: str
    not_after_ns: int


class AmendOrder(Effect, frozen=True, kw_only=True):
    """Change price and total count (filled and resting) of a resting order."""

    client_order_id: str
    order_id: str
    ticker: str
    side: Side
    price_e4: int
    total_e2: int
    not_after_ns: int


class CancelTarget(Struct, frozen=True):
    """An order to cancel."""

    client_order_id: str
    order_id: str


class CancelOrders(Effect, frozen=True, kw_only=True):
    """Cancel orders of one event. A cancel does not wait for NATS beyond a bound, an urgent one
    still less: it only takes risk away, and a quote that rests too long costs money.
    """

    targets: tuple[CancelTarget, ...]
    urgent: bool


class CancelEverything(Effect, frozen=True, kw_only=True):
    """Cancel whatever rests on the account, known to us or not."""

    reason: str


class CreateGroup(Effect, frozen=True, kw_only=True):
    """Make an order group for an event."""

    event_ticker: str
    limit_e2: int


class ResetGroup(Effect, frozen=True, kw_only=True):
    """Let an event's triggered group take orders again."""

    event_ticker: str
    order_group_id: str


class DeleteGroup(Effect, frozen=True, kw_only=True):
    """Delete a group; the exchange cancels what rests in it. The event is "" for a stray one."""

    event_ticker: str
    order_group_id: str


class LookupOrders(Effect, frozen=True, kw_only=True):
    """Read the fills, then all orders of an event; `order_ids` are asked for one by one if the
    list does not show them.
    """

    event_ticker: str
    order_ids: tuple[str, ...]


class FetchSettlements(Effect, frozen=True, kw_only=True):
    """Read the payouts of an event."""

    event_ticker: str


class Stopped(Effect, frozen=True, kw_only=True):
    """Nothing of an event is open any more, so long after that was forbidden: for the metrics."""

    reason: str
    took_ns: int


class Alert(Effect, frozen=True, kw_only=True):
    """Something that a person should know; `kind` is one of a closed set of words."""

    kind: str
    text: str
