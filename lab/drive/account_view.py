"""The engine's own objects as the broker's core is told of them."""

from lab.exchange import model as x
from services.broker import events as e


def answered(
    call: e.Call, client_order_id: str, found: x.Placed | x.Reduced | x.Rejected, now_ns: int
) -> e.OrderAnswer:
    """Return what the exchange's answer to a write says, as `services.broker.exchange` reads it."""
    if isinstance(found, x.Rejected):
        return e.OrderAnswer(
            now_ns=now_ns,
            call=call,
            client_order_id=client_order_id,
            outcome="refused",
            code=found.code,
        )
    placed = isinstance(found, x.Placed)
    return e.OrderAnswer(
        now_ns=now_ns,
        call=call,
        client_order_id=client_order_id,
        outcome="accepted",
        order_id=found.order_id,
        filled_e2=found.filled_e2 if isinstance(found, x.Placed) else None,
        remaining_e2=found.remaining_e2 if placed else None,
        reduced_e2=None if isinstance(found, x.Placed) else found.reduced_e2,
        exchange_ns=found.at_ns,
    )


def order_shown(order: x.Order, reason: str = "") -> e.ExchangeOrder:
    """Return an order as a read or a frame shows it."""
    return e.ExchangeOrder(
        order_id=order.order_id,
        client_order_id=order.client_order_id,
        ticker=order.ticker,
        side=order.side,
        price_e4=order.price_e4,
        filled_e2=order.filled_e2,
        remaining_e2=order.remaining_e2,
        status=order.status,
        reason=reason,
        expiration_ns=order.expiration_ns or 0,
        changed_ns=order.updated_ns,
    )


def fill_shown(fill: x.Filled) -> e.ExchangeFill:
    """Return a fill of ours as a read or a frame shows it."""
    return e.ExchangeFill(
        trade_id=fill.trade_id,
        order_id=fill.order_id,
        client_order_id=fill.client_order_id,
        ticker=fill.ticker,
        side=fill.side,
        price_e4=fill.price_e4,
        count_e2=fill.count_e2,
        is_taker=fill.is_taker,
        fee_e6=fill.fee_e6,
        exchange_ns=fill.at_ns,
    )
