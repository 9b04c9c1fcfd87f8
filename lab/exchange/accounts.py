"""Accounts: cash, positions and the collateral that resting orders lock.

A contract pair (one YES, one NO) is backed by one dollar. Buying YES at p pays p, selling YES at p
(buying NO) pays 1 - p, and what closes an opposite position gets its dollar back.
"""

from collections.abc import Iterable

from msgspec import Struct

from lab.exchange.model import ONE_DOLLAR_E4, Order, Side


class Position(Struct, kw_only=True):
    """One account in one market: `count_e2` is positive for YES, negative for NO."""

    ticker: str
    count_e2: int = 0
    cost_e6: int = 0
    realized_e6: int = 0
    fees_e6: int = 0
    traded_e6: int = 0
    volume_e2: int = 0
    yes_bought_e2: int = 0
    yes_cost_e6: int = 0
    no_bought_e2: int = 0
    no_cost_e6: int = 0
    updated_ns: int = 0
    settled: bool = False

    def trade(self, side: Side, price_e4: int, count_e2: int) -> int:
        """Take a fill into the position and return the change of cash before fees, in e6."""
        sign = 1 if side == "bid" else -1
        paid_e4 = price_e4 if side == "bid" else ONE_DOLLAR_E4 - price_e4
        closing_e2 = min(count_e2, max(0, -sign * self.count_e2))
        opening_e2 = count_e2 - closing_e2
        if closing_e2:
            released_e6 = self.cost_e6 * closing_e2 // abs(self.count_e2)
            self.cost_e6 -= released_e6
            self.realized_e6 += (ONE_DOLLAR_E4 - paid_e4) * closing_e2 - released_e6
        self.cost_e6 += paid_e4 * opening_e2
        self.count_e2 += sign * count_e2
        self.traded_e6 += paid_e4 * count_e2
        self.volume_e2 += count_e2
        if side == "bid":
            self.yes_bought_e2 += count_e2
            self.yes_cost_e6 += paid_e4 * count_e2
        else:
            self.no_bought_e2 += count_e2
            self.no_cost_e6 += paid_e4 * count_e2
        return ONE_DOLLAR_E4 * closing_e2 - paid_e4 * count_e2


class Account:
    """One member: cash, positions, resting orders by market, and used client order ids."""

    __slots__ = ("cash_e6", "client_ids", "locked_e6", "locks", "name", "positions", "resting")

    def __init__(self, name: str, cash_e6: int) -> None:
        self.name = name
        self.cash_e6 = cash_e6
        self.locked_e6 = 0
        self.locks: dict[str, int] = {}
        self.positions: dict[str, Position] = {}
        self.resting: dict[str, dict[str, Order]] = {}
        self.client_ids: set[str] = set()

    @property
    def available_e6(self) -> int:
        """Cash that no resting order locks."""
        return self.cash_e6 - self.locked_e6

    def position(self, ticker: str) -> Position:
        """Return the position in that market, a new empty one if there was none."""
        position = self.positions.get(ticker)
        if position is None:
            position = self.positions[ticker] = Position(ticker=ticker)
        return position

    def count_e2(self, ticker: str) -> int:
        """Return the signed position without making one."""
        position = self.positions.get(ticker)
        return position.count_e2 if position else 0

    def rest(self, order: Order) -> None:
        """Remember a resting order and lock its collateral."""
        self.resting.setdefault(order.ticker, {})[order.order_id] = order
        self.relock(order.ticker)

    def unrest(self, order: Order) -> None:
        """Forget an order that no longer rests and free its collateral."""
        orders = self.resting[order.ticker]
        del orders[order.order_id]
        if not orders:
            del self.resting[order.ticker]
        self.relock(order.ticker)

    def relock(self, ticker: str) -> None:
        """Compute one market's lock again after an order or the position changed."""
        orders = self.resting.get(ticker)
        lock_e6 = required_lock_e6(orders.values(), self.count_e2(ticker)) if orders else 0
        self.locked_e6 += lock_e6 - self.locks.get(ticker, 0)
        if lock_e6:
            self.locks[ticker] = lock_e6
        else:
            self.locks.pop(ticker, None)

    def lock_with_e6(self, order: Order) -> int:
        """Return the whole account's lock if `order` rested too, or in its own place."""
        orders = {**self.resting.get(order.ticker, {}), order.order_id: order}
        lock_e6 = required_lock_e6(orders.values(), self.count_e2(order.ticker))
        return self.locked_e6 - self.locks.get(order.ticker, 0) + lock_e6


def required_lock_e6(orders: Iterable[Order], position_e2: int) -> int:
    """Return the collateral of one account's resting orders in one market, in e6.

    Both sides lock in full. On each side the orders that trade first close the opposite position
    first, and what closes needs no collateral.
    """
    bids: list[tuple[int, int]] = []
    asks: list[tuple[int, int]] = []
    for order in orders:
        if order.side == "bid":
            bids.append((ONE_DOLLAR_E4 - order.price_e4, order.remaining_e2))
        else:
            asks.append((order.price_e4, order.remaining_e2))
    return _side_lock_e6(bids, max(0, -position_e2)) + _side_lock_e6(asks, max(0, position_e2))


def _side_lock_e6(orders: list[tuple[int, int]], closing_e2: int) -> int:
    if closing_e2:
        orders.sort()
    lock_e6 = 0
    for kept_e4, count_e2 in orders:
        closes_e2 = min(closing_e2, count_e2)
        closing_e2 -= closes_e2
        lock_e6 += (ONE_DOLLAR_E4 - kept_e4) * (count_e2 - closes_e2)
    return lock_e6
