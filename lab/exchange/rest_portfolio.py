"""Reads of one's own account: limits, balance, positions, fills, settlements, orders, queue."""

from lab.exchange.accounts import Position
from lab.exchange.call import Call, Fields, Json, check_scope, decode_object
from lab.exchange.errors import nested, not_found
from lab.exchange.model import ONE_DOLLAR_E4, Order
from lab.exchange.rest_public import PAGE_MAX, within
from lab.exchange.state import History, Market
from lab.exchange.wire import (
    balance_object,
    dollars,
    event_position_object,
    fill_object,
    order_object,
    position_object,
    settlement_object,
)
from libs.domain.money import format_count


def account_limits(call: Call) -> Json:
    """Answer /account/limits."""
    return call.limits.account_object()


def balance(call: Call) -> Json:
    """Answer /portfolio/balance."""
    call.check_account_scope()
    account = call.engine.account(call.member)
    marks_e6 = sum(
        _mark_e6(call.engine.market(position.ticker), position)
        for position in account.positions.values()
        if position.count_e2
    )
    value_e6 = marks_e6 - sum(account.returned_e6.values())
    return balance_object(account, value_e6, call.now_ns)


def netting(call: Call) -> Json:
    """Answer GET /portfolio/subaccounts/netting."""
    account = call.engine.account(call.member)
    config = {"subaccount_number": 0, "enabled": account.netting, "exchange_index": 0}
    return {"netting_configs": [config]}


def set_netting(call: Call) -> None:
    """Answer PUT /portfolio/subaccounts/netting, without a body; the next fill nets holdings."""
    schema = "UpdateSubaccountNettingRequest"
    fields = Fields(decode_object(call.body, schema), schema)
    number = fields.number("subaccount_number")
    if number is None or not fields.has("enabled"):
        raise fields.invalid("subaccount_number" if number is None else "enabled", "required")
    check_scope(number, None)
    call.engine.account(call.member).netting = fields.flag("enabled")


def positions(call: Call) -> Json:
    """Answer /portfolio/positions."""
    wanted = call.one_of("settlement_status", ("unsettled", "settled", "all")) or "unsettled"
    return _positions(call, wanted, archived=False)


def historical_positions(call: Call) -> Json:
    """Answer /historical/positions."""
    return _positions(call, "settled", archived=True)


def _positions(call: Call, wanted: str, *, archived: bool) -> Json:
    call.check_account_scope()
    limit = call.bounded("limit", 100, 1, PAGE_MAX)
    ticker, event = call.text("ticker"), call.text("event_ticker")
    counts = call.texts("count_filter")
    markets = call.engine.state.markets
    held = list(call.engine.account(call.member).positions.values())
    moved = _archived_events(call, held)
    chosen = [
        (len(held) - index, position)
        for index, position in enumerate(held)
        if ticker in ("", position.ticker)
        and event in ("", markets[position.ticker].event.ticker)
        and (wanted == "all" or position.settled == (wanted == "settled"))
        and (markets[position.ticker].event.ticker in moved) == archived
        and _counts(position, counts)
    ]
    page, cursor = call.page(chosen, lambda item: item[0], limit)
    by_event: dict[str, list[Position]] = {}
    for _, position in page:
        by_event.setdefault(markets[position.ticker].event.ticker, []).append(position)
    return {
        "market_positions": [position_object(position) for _, position in page],
        "event_positions": [event_position_object(name, held) for name, held in by_event.items()],
        "cursor": cursor,
    }


def _archived_events(call: Call, held: list[Position]) -> set[str]:
    """Return the events whose positions have moved to the historical read, each one whole."""
    state = call.engine.state
    staying = {
        state.markets[position.ticker].event.ticker
        for position in held
        if not position.settled or position.updated_ns >= state.cutoff_ns
    }
    return {state.markets[position.ticker].event.ticker for position in held} - staying


def fills(call: Call) -> Json:
    """Answer /portfolio/fills, newest first."""
    return _fills(call, archived=False)


def historical_fills(call: Call) -> Json:
    """Answer /historical/fills, newest first."""
    return _fills(call, archived=True)


def _fills(call: Call, *, archived: bool) -> Json:
    call.check_account_scope()
    limit = call.bounded("limit", 100, 1, PAGE_MAX)
    tickers, order_id = call.texts("ticker"), call.text("order_id")
    after, before = call.number("min_ts"), call.number("max_ts")
    cutoff_ns = call.engine.state.cutoff_ns
    chosen = [
        (index, fill)
        for index, fill in enumerate(_history(call).fills, start=1)
        if (not tickers or fill.ticker in tickers)
        and order_id in ("", fill.order_id)
        and within(fill.at_ns, after, before)
        and (fill.at_ns < cutoff_ns) == archived
    ]
    page, cursor = call.page(chosen[::-1], lambda item: item[0], limit)
    return {"fills": [fill_object(fill) for _, fill in page], "cursor": cursor}


def settlements(call: Call) -> Json:
    """Answer /portfolio/settlements, newest first; archived ones are in no read."""
    call.check_account_scope()
    limit = call.bounded("limit", 100, 1, PAGE_MAX)
    ticker, event = call.text("ticker"), call.text("event_ticker")
    after, before = call.number("min_ts"), call.number("max_ts")
    cutoff_ns = call.engine.state.cutoff_ns
    chosen = [
        (index, settled)
        for index, settled in enumerate(_history(call).settlements, start=1)
        if ticker in ("", settled.ticker)
        and event in ("", settled.event_ticker)
        and within(settled.at_ns, after, before)
        and settled.at_ns >= cutoff_ns
    ]
    page, cursor = call.page(chosen[::-1], lambda item: item[0], limit)
    return {"settlements": [settlement_object(settled) for _, settled in page], "cursor": cursor}


def orders(call: Call) -> Json:
    """Answer /portfolio/orders, newest first."""
    return _orders(call, archived=False)


def historical_orders(call: Call) -> Json:
    """Answer /historical/orders, newest first."""
    return _orders(call, archived=True)


def _orders(call: Call, *, archived: bool) -> Json:
    call.check_account_scope()
    limit = call.bounded("limit", 100, 1, PAGE_MAX)
    ticker, events = call.text("ticker"), call.texts("event_ticker")
    status = call.one_of("status", ("resting", "canceled", "executed"))
    after, before = call.number("min_ts"), call.number("max_ts")
    markets = call.engine.state.markets
    source = call.engine.resting(call.member) if status == "resting" else _history(call).orders
    chosen = [
        order
        for order in reversed(source)
        if ticker in ("", order.ticker)
        and (not events or markets[order.ticker].event.ticker in events)
        and (not status or order.status == status)
        and within(order.created_ns, after, before)
        and _is_archived(call, order) == archived
    ]
    page, cursor = call.page(chosen, lambda order: order.number, limit)
    return {"orders": [order_object(order) for order in page], "cursor": cursor}


def _is_archived(call: Call, order: Order) -> bool:
    return order.status != "resting" and order.updated_ns < call.engine.state.cutoff_ns


def order_one(call: Call) -> Json:
    """Answer /portfolio/orders/{order_id}; an archived order is not found."""
    order = _order(call)
    if _is_archived(call, order):
        raise not_found()
    return {"order": order_object(order)}


def queue_position(call: Call) -> Json:
    """Answer /portfolio/orders/{order_id}/queue_position."""
    order = _order(call)
    if order.status != "resting":
        raise not_found()
    return {"queue_position_fp": _ahead(call, order)}


def queue_positions(call: Call) -> Json:
    """Answer /portfolio/orders/queue_positions."""
    call.check_account_scope()
    tickers, event = call.texts("market_tickers", PAGE_MAX), call.text("event_ticker")
    if not tickers and not event:
        raise nested(400, "bad_request", "bad request", "market_tickers or event_ticker required")
    markets = call.engine.state.markets
    chosen = [
        order
        for order in call.engine.resting(call.member)
        if order.ticker in tickers or markets[order.ticker].event.ticker == event
    ]
    return {
        "queue_positions": [
            {
                "order_id": order.order_id,
                "market_ticker": order.ticker,
                "queue_position_fp": _ahead(call, order),
            }
            for order in chosen
        ]
    }


def resting_value(call: Call) -> Json:
    """Answer /portfolio/summary/total_resting_order_value, in cents."""
    locked_e6 = call.engine.account(call.member).locked_e6
    return {
        "total_resting_order_value": locked_e6 // 10_000,
        "resting_order_value_breakdown": [{"exchange_index": 0, "balance": dollars(locked_e6)}],
    }


def _history(call: Call) -> History:
    return call.engine.state.histories[call.member]


def _order(call: Call) -> Order:
    order = call.engine.state.orders.get(call.path["order_id"])
    if order is None or order.account != call.member:
        raise not_found()
    return order


def _ahead(call: Call, order: Order) -> str:
    book = call.engine.market(order.ticker).book
    return format_count(book.side(order.side).ahead_of(order))


def _counts(position: Position, names: list[str]) -> bool:
    values = {"position": position.count_e2, "total_traded": position.traded_e6}
    return not names or any(values.get(name, 0) for name in names)


def _mark_e6(market: Market, position: Position) -> int:
    """Return what a position is worth at the price it could be sold for now, in e6."""
    bids, asks = market.book.bids, market.book.asks
    if position.count_e2 > 0:
        return (bids.best_price_e4() or 0) * position.count_e2
    ask_e4 = asks.best_price_e4()
    return 0 if ask_e4 is None else (ONE_DOLLAR_E4 - ask_e4) * -position.count_e2
