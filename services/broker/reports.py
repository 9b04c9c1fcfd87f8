"""What the broker says of its orders: intents, updates, fills, payouts.

Ids derive from what they are about, never from the moment: an intent to place from its client
order id, a fill from the exchange's trade and order ids. Said twice, they are stored once.
"""

from libs.common.messages import (
    ExchangeSettlement,
    Fill,
    OrderIntent,
    OrderState,
    OrderUpdate,
    Reconciliation,
    derived_id,
)
from services.broker.events import BalanceRead, Call, ExchangeFill, ExchangePayout
from services.broker.orders import Order

SOURCE = "broker"
_TEXT_MAX = 2_000


def client_order_id(verdict_id: str, ticker: str, side: str, generation: int) -> str:
    """Return the one id that this try at this quote of this verdict will ever have."""
    return derived_id("order", verdict_id, ticker, side, generation)


def place_intent_id(order_id: str) -> str:
    """Return the message id of the intent to place the order with that client order id."""
    return derived_id("intent", "place", order_id)


def fill_id(trade_id: str, order_id: str) -> str:
    """Return the id of a fill message: one for each trade and order, however often it is seen."""
    return derived_id("fill", trade_id, order_id)


def intent(
    order: Order, action: Call, price_e4: int, count_e2: int, epoch: int, now_ns: int, reason: str
) -> OrderIntent:
    """Return what we are about to ask of the exchange for this order."""
    if action == "place":
        message_id = order.intent_id
    else:
        order.writes += 1
        message_id = derived_id("intent", action, order.client_order_id, epoch, order.writes)
    return OrderIntent(
        id=message_id,
        ts_event_ns=now_ns,
        ts_pub_ns=now_ns,
        cause_id=order.verdict_id,
        correlation_id=order.correlation_id,
        source=SOURCE,
        action=action,
        client_order_id=order.client_order_id,
        order_id=order.order_id,
        event_ticker=order.event_ticker,
        series_ticker=order.series_ticker,
        ticker=order.ticker,
        side=order.side,
        price_e4=price_e4,
        count_e2=count_e2,
        expiration_ns=order.expiration_ns,
        verdict_id=order.verdict_id,
        epoch=epoch,
        reason=reason[:_TEXT_MAX],
        order_group_id=order.order_group_id,
    )


def update(order: Order, previous: OrderState, epoch: int, now_ns: int) -> OrderUpdate:
    """Return the order's present face as a message."""
    order.updates += 1
    return OrderUpdate(
        id=derived_id("update", order.client_order_id, epoch, order.updates),
        ts_event_ns=now_ns,
        ts_pub_ns=now_ns,
        cause_id=order.intent_id,
        correlation_id=order.correlation_id,
        source=SOURCE,
        client_order_id=order.client_order_id,
        order_id=order.order_id,
        event_ticker=order.event_ticker,
        series_ticker=order.series_ticker,
        ticker=order.ticker,
        side=order.side,
        price_e4=order.price_e4,
        count_e2=order.count_e2,
        filled_count_e2=order.filled_e2,
        remaining_count_e2=max(0, order.count_e2 - order.filled_e2) if order.is_open else 0,
        previous_state=previous,
        state=order.state,
        trigger=order.last_trigger,
        reason=order.last_reason[:_TEXT_MAX],
        exchange_ns=order.exchange_ns,
    )


def fill(seen: ExchangeFill, order: Order | None, event: tuple[str, str], now_ns: int) -> Fill:
    """Return a fill as a message; `event` is its series and event ticker."""
    message_id = fill_id(seen.trade_id, seen.order_id)
    return Fill(
        id=message_id,
        ts_event_ns=now_ns,
        ts_pub_ns=now_ns,
        cause_id=order.intent_id if order else "",
        correlation_id=order.correlation_id if order else message_id,
        source=SOURCE,
        trade_id=seen.trade_id,
        order_id=seen.order_id,
        client_order_id=order.client_order_id if order else seen.client_order_id,
        series_ticker=event[0],
        event_ticker=event[1],
        ticker=seen.ticker,
        side=seen.side,
        price_e4=seen.price_e4,
        count_e2=seen.count_e2,
        is_taker=seen.is_taker,
        fee_e6=seen.fee_e6,
        exchange_ns=seen.exchange_ns,
    )


def reconciliation(
    differences: list[str], count: int, read: BalanceRead, epoch: int, now_ns: int
) -> Reconciliation:
    """Return how a comparison of the books came out."""
    message_id = derived_id("reconciliation", epoch, read.started_ns)
    return Reconciliation(
        id=message_id,
        ts_event_ns=now_ns,
        ts_pub_ns=now_ns,
        cause_id="",
        correlation_id=message_id,
        source=SOURCE,
        differences=tuple(text[:_TEXT_MAX] for text in differences),
        difference_count=count,
        balance_e6=read.balance_e6,
    )


def payout(paid: ExchangePayout, series_ticker: str, now_ns: int) -> ExchangeSettlement:
    """Return a market's payout as a message."""
    message_id = derived_id("payout", paid.ticker, paid.settled_ns)
    return ExchangeSettlement(
        id=message_id,
        ts_event_ns=now_ns,
        ts_pub_ns=now_ns,
        cause_id="",
        correlation_id=message_id,
        source=SOURCE,
        event_ticker=paid.event_ticker,
        series_ticker=series_ticker,
        ticker=paid.ticker,
        result=paid.result,
        yes_count_e2=paid.yes_count_e2,
        no_count_e2=paid.no_count_e2,
        revenue_e6=paid.revenue_e6,
        fee_e6=paid.fee_e6,
        settled_ns=paid.settled_ns,
    )
