"""Accounts: cash, positions and the collateral that resting orders lock.

A contract pair (one YES, one NO) is backed by one dollar. Buying YES at p pays p, selling YES at p
(buying NO) pays 1 - p, and what closes an opposite position gets its dollar back. With netting,
what an event pays at worst is returned in advance, and taken back when it no longer is certain.
"""

from collections.abc import Collection, Iterable

from msgspec import Struct, field

from lab.exchange.model import ONE_DOLLAR_E4, Order, Side

SIDES: tuple[Side, Side] = ("bid", "ask")


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
        cost_e4 = paid_e4(side, price_e4)
        closing_e2 = min(count_e2, max(0, -sign * self.count_e2))
        opening_e2 = count_e2 - closing_e2
        if closing_e2:
            released_e6 = self.cost_e6 * closing_e2 // abs(self.count_e2)
            self.cost_e6 -= released_e6
            self.realized_e6 += (ONE_DOLLAR_E4 - cost_e4) * closing_e2 - released_e6
        self.cost_e6 += cost_e4 * opening_e2
        self.count_e2 += sign * count_e2
        self.traded_e6 += cost_e4 * count_e2
        self.volume_e2 += count_e2
        if side == "bid":
            self.yes_bought_e2 += count_e2
            self.yes_cost_e6 += cost_e4 * count_e2
        else:
            self.no_bought_e2 += count_e2
            self.no_cost_e6 += cost_e4 * count_e2
        return ONE_DOLLAR_E4 * closing_e2 - cost_e4 * count_e2


class SideLock(Struct, kw_only=True, eq=False):
    """One account's resting orders on one side of one market: their cost, and what they lock.

    The rest of the cost, `closing_e6`, closes a position.
    """

    side: Side
    event_ticker: str
    orders: dict[str, Order] = field(default_factory=dict)
    gross_e6: int = 0
    lock_e6: int = 0
    closing_e6: int = 0


class Account:
    """One member: cash, positions, resting orders by market, and used client order ids.

    `returned_e6` is what netting has returned by event, with it `_closing_e6` what closing costs.
    """

    __slots__ = (
        "_closing_e6",
        "_locks_e6",
        "_sides",
        "cancelling_until_ns",
        "cash_e6",
        "client_ids",
        "name",
        "netting",
        "positions",
        "resting",
        "returned_e6",
    )

    def __init__(self, name: str, cash_e6: int, *, netting: bool = False) -> None:
        self.name = name
        self.cash_e6 = cash_e6
        self.netting = netting
        self.cancelling_until_ns = 0
        self.positions: dict[str, Position] = {}
        self.resting: dict[str, dict[str, Order]] = {}
        self.client_ids: set[str] = set()
        self.returned_e6: dict[str, int] = {}
        self._closing_e6: dict[str, int] = {}
        self._locks_e6 = 0
        self._sides: dict[tuple[str, Side], SideLock] = {}

    @property
    def locked_e6(self) -> int:
        """The collateral of everything that rests."""
        return self._locks_e6 + self._unreturned_e6()

    @property
    def available_e6(self) -> int:
        """Cash that no resting order locks."""
        return self.cash_e6 - self.locked_e6

    def net(self, event_ticker: str, guaranteed_e6: int) -> int:
        """Return or take back collateral so that it fits the positions; return the change.

        Without netting nothing more is returned, and what was is kept while it is still covered.
        """
        before_e6 = self.returned_e6.pop(event_ticker, 0)
        now_e6 = guaranteed_e6 if self.netting else min(before_e6, guaranteed_e6)
        if now_e6:
            self.returned_e6[event_ticker] = now_e6
        self.cash_e6 += now_e6 - before_e6
        return now_e6 - before_e6

    def resting_orders(self, ticker: str | None = None) -> list[Order]:
        """Return the resting orders, of one market or of all, oldest first."""
        chosen = self.resting.values() if ticker is None else [self.resting.get(ticker, {})]
        orders = [order for by_id in chosen for order in by_id.values()]
        return sorted(orders, key=lambda order: order.number)

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

    def rest(self, order: Order, event_ticker: str) -> None:
        """Remember a resting order and lock its collateral."""
        key = (order.ticker, order.side)
        side = self._sides.get(key)
        if side is None:
            side = self._sides[key] = SideLock(side=order.side, event_ticker=event_ticker)
        self.resting.setdefault(order.ticker, {})[order.order_id] = order
        side.orders[order.order_id] = order
        side.gross_e6 += paid_e4(order.side, order.price_e4) * order.remaining_e2
        self._relock(order.ticker, side)

    def shrink(self, order: Order, by_e2: int) -> None:
        """Free the collateral of a resting order that has just lost `by_e2`."""
        side = self._sides[order.ticker, order.side]
        side.gross_e6 -= paid_e4(order.side, order.price_e4) * by_e2
        if order.remaining_e2 == 0:
            self._forget(order, side)
        self._relock(order.ticker, side)

    def unrest(self, order: Order) -> None:
        """Forget an order that leaves the book with what remains of it."""
        side = self._sides[order.ticker, order.side]
        side.gross_e6 -= paid_e4(order.side, order.price_e4) * order.remaining_e2
        self._forget(order, side)
        self._relock(order.ticker, side)

    def relock(self, ticker: str) -> None:
        """Compute a market's locks again after the position changed."""
        for name in SIDES:
            side = self._sides.get((ticker, name))
            if side is not None:
                self._relock(ticker, side)

    def lock_with_e6(self, order: Order, event_ticker: str) -> int:
        """Return the whole account's lock if `order` rested too, or in its own place."""
        side = self._sides.get((order.ticker, order.side))
        gross_e6 = paid_e4(order.side, order.price_e4) * order.remaining_e2
        if side is not None:
            gross_e6 += side.gross_e6
            own = side.orders.get(order.order_id)
            if own is not None:
                gross_e6 -= paid_e4(own.side, own.price_e4) * own.remaining_e2
        closing_e2 = self._closing_e2(order.ticker, order.side)
        lock_e6 = gross_e6
        if closing_e2:
            orders = {**(side.orders if side else {}), order.order_id: order}
            lock_e6 = side_lock_e6(order.side, orders.values(), closing_e2)
        before_e6 = closing_before_e6 = 0
        if side is not None:
            before_e6, closing_before_e6 = side.lock_e6, side.closing_e6
        more_closing_e6 = gross_e6 - lock_e6 - closing_before_e6
        unreturned_e6 = self._unreturned_e6(event_ticker, more_closing_e6)
        return self._locks_e6 - before_e6 + lock_e6 + unreturned_e6

    def forget(self, event_ticker: str, tickers: Collection[str]) -> None:
        """Drop what is known of an event's markets, in which nothing rests or is held."""
        assert event_ticker not in self.returned_e6, f"{event_ticker}: collateral is returned"
        self._closing_e6.pop(event_ticker, None)
        for ticker in tickers:
            assert ticker not in self.resting, f"{ticker}: something rests"
            position = self.positions.pop(ticker, None)
            assert position is None or position.settled, f"{ticker}: something is held"
            for name in SIDES:
                side = self._sides.pop((ticker, name), None)
                assert side is None or side.lock_e6 == 0, f"{ticker}: something is locked"

    def _unreturned_e6(self, event_ticker: str = "", more_closing_e6: int = 0) -> int:
        """Return the lock of closing orders: at worst their cost, or all that was returned.

        Closing a position that has had collateral returned gives up its part in the guarantee.
        """
        total_e6 = 0
        for name, returned_e6 in self.returned_e6.items():
            closing_e6 = self._closing_e6.get(name, 0)
            if name == event_ticker:
                closing_e6 += more_closing_e6
            total_e6 += min(closing_e6, returned_e6)
        return total_e6

    def _forget(self, order: Order, side: SideLock) -> None:
        del side.orders[order.order_id]
        of_market = self.resting[order.ticker]
        del of_market[order.order_id]
        if not of_market:
            del self.resting[order.ticker]

    def _closing_e2(self, ticker: str, side: Side) -> int:
        """Return how much that side's orders can close before they open anything."""
        held_e2 = self.count_e2(ticker)
        return max(0, -held_e2 if side == "bid" else held_e2)

    def _relock(self, ticker: str, side: SideLock) -> None:
        closing_e2 = self._closing_e2(ticker, side.side)
        if closing_e2:
            lock_e6 = side_lock_e6(side.side, side.orders.values(), closing_e2)
        else:
            lock_e6 = side.gross_e6
        self._locks_e6 += lock_e6 - side.lock_e6
        side.lock_e6 = lock_e6
        closing_e6 = side.gross_e6 - lock_e6
        if closing_e6 != side.closing_e6:
            before_e6 = self._closing_e6.get(side.event_ticker, 0)
            self._closing_e6[side.event_ticker] = before_e6 + closing_e6 - side.closing_e6
            side.closing_e6 = closing_e6


def side_lock_e6(side: Side, orders: Iterable[Order], closing_e2: int) -> int:
    """Return the collateral of one side's orders, of which `closing_e2` close a position.

    The orders that trade first close first, and what closes needs no collateral.
    """
    lock_e6 = 0
    sign = -1 if side == "bid" else 1
    for order in sorted(orders, key=lambda order: sign * order.price_e4):
        closes_e2 = min(closing_e2, order.remaining_e2)
        closing_e2 -= closes_e2
        lock_e6 += paid_e4(side, order.price_e4) * (order.remaining_e2 - closes_e2)
    return lock_e6


def paid_e4(side: Side, price_e4: int) -> int:
    """Return what one contract costs its buyer: p for YES (bid), 1 - p for NO (ask)."""
    return price_e4 if side == "bid" else ONE_DOLLAR_E4 - price_e4
