"""Desired state against what rests: which orders to cancel, amend and place for one event.

The count of a quote in a verdict is the exposure that risk allows on that market and side from
the verdict on. Fills since then use it up; what is left may rest. So the same verdict never
fills a quote twice, and a fresh verdict, which has seen the fills, allows anew.

Amends come first but never raise a bid or lower an ask: an amended order that crosses matches
as a taker (kalshi-api.md §2.3), and we only make (ADR 0006). Those moves are a cancel and a
post-only place. A smaller size keeps the queue place.
"""

from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct

from libs.common.messages import SizedQuote
from services.broker.orders import Key, Order


class Wanted(Struct, frozen=True):
    """What may rest on one market and side."""

    price_e4: int
    count_e2: int


class Change(Struct, frozen=True):
    """An amend: the order's new price and total count (filled and resting)."""

    order: Order
    price_e4: int
    total_e2: int


class Plan(Struct, frozen=True):
    """The writes that bring the exchange to the desired state, as far as they can go now."""

    cancels: tuple[Order, ...] = ()
    changes: tuple[Change, ...] = ()
    places: tuple[Key, ...] = ()


def wanted_of(quotes: Iterable[SizedQuote], used_e2: Mapping[Key, int]) -> dict[Key, Wanted]:
    """Return what may rest of each quote after `used_e2` of it was filled."""
    wanted: dict[Key, Wanted] = {}
    for quote in quotes:
        key: Key = (quote.ticker, quote.side)
        left_e2 = quote.count_e2 - used_e2.get(key, 0)
        if left_e2 > 0:
            wanted[key] = Wanted(quote.price_e4, left_e2)
    return wanted


def plan(orders: Sequence[Order], wanted: Mapping[Key, Wanted], now_ns: int) -> Plan:
    """Compare the open orders of one event with what is wanted.

    A market with an order whose outcome is unknown is left alone, and so is an order with a
    write in flight or a retry ahead of it; the next event brings them here again.
    """
    blocked = {order.ticker for order in orders if order.state == "unknown"}
    busy = {order.key for order in orders}
    asked: Sequence[Order] = orders
    if len(busy) == len(orders):  # each is alone on its key: what fits its quote stays
        asked = [order for order in orders if not _fits(order, wanted.get(order.key))]
    cancels: list[Order] = []
    changes: list[Change] = []
    kept: dict[Key, Order] = {}
    for order in sorted(asked, key=lambda one: _fitness(one, wanted.get(one.key))):
        goal = wanted.get(order.key)
        movable = order.in_flight is None and order.retry_ns <= now_ns
        if order.ticker in blocked:
            continue
        if goal is None or order.foreign or order.key in kept:
            if movable:
                cancels.append(order)
            continue
        kept[order.key] = order
        if not movable or _fits(order, goal):
            continue
        if _amendable(order, goal) and not _meets_own(order.key, goal.price_e4, orders):
            changes.append(Change(order, goal.price_e4, order.filled_e2 + goal.count_e2))
        else:
            cancels.append(order)
    places = [
        key
        for key, goal in wanted.items()
        if key not in busy and key[0] not in blocked and not _meets_own(key, goal.price_e4, orders)
    ]
    return Plan(tuple(cancels), tuple(changes), tuple(places))


def _fits(order: Order, goal: Wanted | None) -> bool:
    if goal is None or order.foreign or order.price_e4 != goal.price_e4:
        return False
    return order.count_e2 - order.filled_e2 == goal.count_e2


def _fitness(order: Order, goal: Wanted | None) -> tuple[bool, bool, int, str]:
    """Sort the order that is best kept on its key to the front."""
    priced = goal is not None and not order.foreign and order.price_e4 == goal.price_e4
    return not _fits(order, goal), not priced, order.settled_ns, order.client_order_id


def _amendable(order: Order, goal: Wanted) -> bool:
    if order.amend_refused or not order.order_id:
        return False
    if order.side == "bid":
        return goal.price_e4 <= order.price_e4
    return goal.price_e4 >= order.price_e4


def _meets_own(key: Key, price_e4: int, orders: Sequence[Order]) -> bool:
    """Tell whether an order at that price would meet one of ours on the other side."""
    ticker, side = key
    for order in orders:
        if order.ticker != ticker or order.side == side:
            continue
        prices = [order.price_e4] + ([order.amend_price_e4] if order.amend_price_e4 else [])
        bid_e4 = price_e4 if side == "bid" else max(prices)
        ask_e4 = min(prices) if side == "bid" else price_e4
        if bid_e4 >= ask_e4:
            return True
    return False
