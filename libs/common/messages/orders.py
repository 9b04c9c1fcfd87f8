"""What was meant for the exchange, what became of it, and what was filled and settled."""

from typing import Literal

from libs.common.messages.base import (
    CountE2,
    LevelE4,
    Message,
    MoneyE6,
    Name,
    Nanoseconds,
    PriceE4,
    Side,
    SignedCountE2,
    Text,
)

OrderState = Literal[
    "intent",
    "submitted",
    "resting",
    "partially_filled",
    "filled",
    "cancelled",
    "rejected",
    "expired",
    "unknown",
]
OPEN_STATES: frozenset[str] = frozenset(
    {"intent", "submitted", "resting", "partially_filled", "unknown"}
)
"""States in which an order may rest or come to rest: they count as exposure."""


class BrokerEpoch(Message, frozen=True, kw_only=True, tag="broker_epoch.1"):
    """A broker took over: its stream sequence is the fence of every intent that follows."""

    epoch: int
    broker: Name
    account: Name


class OrderIntent(Message, frozen=True, kw_only=True, tag="order_intent.1"):
    """What the broker is about to ask of the exchange; published and acknowledged before."""

    action: Literal["place", "amend", "cancel"]
    client_order_id: Name
    order_id: Text
    event_ticker: Name
    series_ticker: Name
    ticker: Name
    side: Side
    price_e4: PriceE4
    count_e2: CountE2
    expiration_ns: Nanoseconds
    verdict_id: Text
    epoch: int
    reason: Text
    order_group_id: Text = ""


class OrderUpdate(Message, frozen=True, kw_only=True, tag="order_update.1"):
    """An order changed state; counts are totals, so the newest update says it all.

    That it was submitted is not published: its intent says as much.
    """

    client_order_id: Name
    order_id: Text
    event_ticker: Name
    series_ticker: Name
    ticker: Name
    side: Side
    price_e4: PriceE4
    count_e2: CountE2
    filled_count_e2: CountE2
    remaining_count_e2: CountE2
    previous_state: OrderState
    state: OrderState
    trigger: Name
    reason: Text
    exchange_ns: Nanoseconds


class Fill(Message, frozen=True, kw_only=True, tag="fill.1"):
    """One fill of one of our orders. `side` is ours; `fee_e6` the exchange's own figure."""

    trade_id: Name
    order_id: Name
    client_order_id: Text
    event_ticker: Name
    series_ticker: Name
    ticker: Name
    side: Side
    price_e4: PriceE4
    count_e2: CountE2
    is_taker: bool
    fee_e6: MoneyE6
    exchange_ns: Nanoseconds


class ExchangeSettlement(Message, frozen=True, kw_only=True, tag="exchange_settlement.1"):
    """What the exchange paid for one market at settlement, for reconciliation with ours."""

    event_ticker: Name
    series_ticker: Name
    ticker: Name
    result: Literal["yes", "no", "scalar"]
    yes_count_e2: CountE2
    no_count_e2: CountE2
    revenue_e6: MoneyE6
    fee_e6: MoneyE6
    settled_ns: Nanoseconds


class Settlement(Message, frozen=True, kw_only=True, tag="settlement.1"):
    """Our own settlement of one market from the index, by its strike type.

    `level_ns` is the time of the print used and `fallback` is empty for an exact print,
    else `on_before`.
    """

    event_ticker: Name
    series_ticker: Name
    ticker: Name
    result: Literal["yes", "no"]
    level_e4: LevelE4
    level_ns: Nanoseconds
    fallback: Text
    position_e2: SignedCountE2
    cost_e6: MoneyE6
    fee_e6: MoneyE6
    pnl_e6: MoneyE6
