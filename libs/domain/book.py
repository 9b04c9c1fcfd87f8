"""One market's order book in YES prices.

Bids and asks map `price_e4` to `count_e2`. A book is mutable because it takes every frame;
what raised has changed nothing, so the caller may mark it stale and ask for a snapshot.
"""

from collections.abc import Iterable
from typing import Literal

from libs.domain.money import COUNT_MAX_E2, PRICE_ONE_E4

BookSide = Literal["bid", "ask"]
Level = tuple[int, int]


class BookError(ValueError):
    """A book update that cannot be true; the book is stale until its next snapshot."""


class NegativeCountError(BookError):
    """A change that takes away more than rests at its price."""


class OrderBook:
    """Resting quantity by price on both sides of one market."""

    __slots__ = ("_asks", "_best_ask", "_best_bid", "_bids")

    def __init__(self, bids: Iterable[Level] = (), asks: Iterable[Level] = ()) -> None:
        self._bids: dict[int, int] = {}
        self._asks: dict[int, int] = {}
        self._best_bid: int | None = None
        self._best_ask: int | None = None
        self.apply_snapshot(bids, asks)

    def apply_snapshot(self, bids: Iterable[Level], asks: Iterable[Level]) -> None:
        """Replace the whole book with (price_e4, count_e2) levels; raise BookError."""
        new_bids, new_asks = _side_of(bids), _side_of(asks)
        self._bids, self._asks = new_bids, new_asks
        self._best_bid = max(new_bids, default=None)
        self._best_ask = min(new_asks, default=None)

    def apply_delta(self, side: BookSide, price_e4: int, change_e2: int) -> int:
        """Add a signed change at a price and return what rests there now.

        Raises BookError for an impossible price or side, NegativeCountError below zero.
        """
        if not 0 < price_e4 < PRICE_ONE_E4:
            raise BookError(f"book: expected a price within 0 to 1, got {price_e4}")
        levels = self._levels(side)
        count_e2 = levels.get(price_e4, 0) + change_e2
        if count_e2 < 0:
            raise NegativeCountError(
                f"book: {change_e2} at {side} {price_e4} leaves {count_e2}; take a snapshot"
            )
        if count_e2 > COUNT_MAX_E2:
            raise BookError(f"book: {count_e2} at {side} {price_e4} is no possible quantity")
        if count_e2:
            levels[price_e4] = count_e2
        else:
            levels.pop(price_e4, None)
        if side == "bid":
            if count_e2 and (self._best_bid is None or price_e4 > self._best_bid):
                self._best_bid = price_e4
            elif not count_e2 and price_e4 == self._best_bid:
                self._best_bid = max(levels, default=None)
        elif count_e2 and (self._best_ask is None or price_e4 < self._best_ask):
            self._best_ask = price_e4
        elif not count_e2 and price_e4 == self._best_ask:
            self._best_ask = min(levels, default=None)
        return count_e2

    @property
    def best_bid_e4(self) -> int | None:
        """Return the highest bid, None when no one bids."""
        return self._best_bid

    @property
    def best_ask_e4(self) -> int | None:
        """Return the lowest ask, None when no one asks."""
        return self._best_ask

    @property
    def crossed(self) -> bool:
        """Return whether a bid meets or passes an ask: no book at rest does, so it is stale."""
        return (
            self._best_bid is not None
            and self._best_ask is not None
            and self._best_bid >= self._best_ask
        )

    def count_e2(self, side: BookSide, price_e4: int) -> int:
        """Return what rests at one price, 0 for none."""
        return self._levels(side).get(price_e4, 0)

    def depth_e2(self, side: BookSide, limit_e4: int) -> int:
        """Return what rests at that price or better for who would take it."""
        if side == "bid":
            return sum(count for price, count in self._bids.items() if price >= limit_e4)
        return sum(count for price, count in self._levels(side).items() if price <= limit_e4)

    def top(self, side: BookSide, levels_max: int | None = None) -> tuple[Level, ...]:
        """Return (price_e4, count_e2) levels, best first, at most that many."""
        ordered = sorted(self._levels(side).items(), reverse=side == "bid")
        return tuple(ordered[:levels_max])

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, OrderBook):
            return NotImplemented
        return self._bids == other._bids and self._asks == other._asks

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"OrderBook(bids={self.top('bid', 3)}, asks={self.top('ask', 3)})"

    def _levels(self, side: BookSide) -> dict[int, int]:
        if side == "bid":
            return self._bids
        if side == "ask":
            return self._asks
        raise BookError(f"side: expected 'bid' or 'ask', got {side!r}")


def _side_of(levels: Iterable[Level]) -> dict[int, int]:
    side: dict[int, int] = {}
    for price_e4, count_e2 in levels:
        if not 0 < price_e4 < PRICE_ONE_E4 or not 0 <= count_e2 <= COUNT_MAX_E2:
            raise BookError(f"snapshot: expected a price and a count, got {price_e4}, {count_e2}")
        if price_e4 in side:
            raise BookError(f"snapshot: price {price_e4} comes twice on one side")
        side[price_e4] = count_e2
    return {price: count for price, count in side.items() if count}
