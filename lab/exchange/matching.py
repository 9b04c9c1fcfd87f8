"""One market's order book: price levels, each in order of arrival."""

from bisect import bisect_left, insort
from collections.abc import Iterator

from lab.exchange.model import ONE_DOLLAR_E4, BookView, Order, PriceRange, Side


class Level:
    """The orders resting at one price, oldest first, with their total count."""

    __slots__ = ("orders", "total_e2")

    def __init__(self) -> None:
        self.orders: dict[str, Order] = {}
        self.total_e2 = 0


class BookSide:
    """One side of a book; `prices` is kept sorted with the best price last."""

    __slots__ = ("_sign", "levels", "prices")

    def __init__(self, side: Side) -> None:
        self._sign = 1 if side == "bid" else -1
        self.levels: dict[int, Level] = {}
        self.prices: list[int] = []

    def add(self, order: Order) -> None:
        """Put an order at the back of the queue at its price."""
        assert order.remaining_e2 > 0, f"expected a count to rest, got {order.remaining_e2}"
        level = self.levels.get(order.price_e4)
        if level is None:
            level = self.levels[order.price_e4] = Level()
            insort(self.prices, self._sign * order.price_e4)
        level.orders[order.order_id] = order
        level.total_e2 += order.remaining_e2

    def remove(self, order: Order) -> None:
        """Take a resting order out, whatever remains of it."""
        level = self.levels[order.price_e4]
        del level.orders[order.order_id]
        level.total_e2 -= order.remaining_e2
        self._drop_if_empty(order.price_e4, level)

    def reduce(self, order: Order, by_e2: int) -> None:
        """Take `by_e2` off a resting order in place; at nothing left it goes."""
        assert 0 < by_e2 <= order.remaining_e2, f"cannot take {by_e2} of {order.remaining_e2}"
        level = self.levels[order.price_e4]
        order.remaining_e2 -= by_e2
        level.total_e2 -= by_e2
        if order.remaining_e2 == 0:
            del level.orders[order.order_id]
            self._drop_if_empty(order.price_e4, level)

    def best(self) -> Order | None:
        """Return the order that trades next, or None when the side is empty."""
        if not self.prices:
            return None
        level = self.levels[self._sign * self.prices[-1]]
        return next(iter(level.orders.values()))

    def best_price_e4(self) -> int | None:
        """Return the best price, or None when the side is empty."""
        return self._sign * self.prices[-1] if self.prices else None

    def in_priority(self) -> Iterator[Order]:
        """Yield every resting order in the order in which it would trade."""
        for signed in reversed(self.prices):
            yield from self.levels[self._sign * signed].orders.values()

    def depth(self) -> tuple[tuple[int, int], ...]:
        """Return (price_e4, count_e2) per level, best first."""
        sign, levels = self._sign, self.levels
        return tuple((sign * p, levels[sign * p].total_e2) for p in reversed(self.prices))

    def ahead_of(self, order: Order) -> int:
        """Return the count that trades before `order`, in e2."""
        signed = self._sign * order.price_e4
        better = self.prices[bisect_left(self.prices, signed) + 1 :]
        ahead = sum(self.levels[self._sign * price].total_e2 for price in better)
        for other in self.levels[order.price_e4].orders.values():
            if other is order:
                return ahead
            ahead += other.remaining_e2
        raise KeyError(f"order {order.order_id} does not rest at {order.price_e4}")

    def _drop_if_empty(self, price_e4: int, level: Level) -> None:
        if not level.orders:
            assert level.total_e2 == 0, f"an empty level holds {level.total_e2}"
            del self.levels[price_e4]
            del self.prices[bisect_left(self.prices, self._sign * price_e4)]


class Book:
    """Both sides of one market's YES book."""

    __slots__ = ("asks", "bids", "clock")

    def __init__(self) -> None:
        self.bids = BookSide("bid")
        self.asks = BookSide("ask")
        self.clock = 0

    def side(self, side: Side) -> BookSide:
        """Return the side that orders of `side` rest on."""
        return self.bids if side == "bid" else self.asks

    def against(self, side: Side) -> BookSide:
        """Return the side that orders of `side` trade with."""
        return self.asks if side == "bid" else self.bids

    def crosses(self, side: Side, price_e4: int) -> bool:
        """Say whether an order at that price would trade at once."""
        best_e4 = self.against(side).best_price_e4()
        if best_e4 is None:
            return False
        return price_e4 >= best_e4 if side == "bid" else price_e4 <= best_e4

    def view(self) -> BookView:
        """Return an immutable picture of all levels."""
        return BookView(self.bids.depth(), self.asks.depth(), self.clock)


def on_tick(price_e4: int, ranges: tuple[PriceRange, ...]) -> bool:
    """Say whether a price lies strictly inside 0..1 dollar and on the market's grid."""
    if not 0 < price_e4 < ONE_DOLLAR_E4:
        return False
    for grid in ranges:
        if grid.start_e4 <= price_e4 < grid.end_e4:
            return (price_e4 - grid.start_e4) % grid.step_e4 == 0
    return False
