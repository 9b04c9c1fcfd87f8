"""One market's order book in YES prices.

Bids and asks map `price_e4` to `count_e2`. A book is mutable because it takes every frame;
what raised has changed nothing, so the caller may mark it stale and ask for a snapshot.
"""

from collections.abc import Iterable
from typing import Literal

from libs.domain.money import COUNT_MAX_E2, PRICE_ONE_E4

BookSide = Literal["bid", "ask"]
Level = tuple[int, int]
Touch = tuple[int, int, int, int, int, int]
"""Best bid, its count and the depth behind it, best ask, its count and depth."""


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
        # The best prices, 0 and 10,000 for none: no order can be there.
        self._best_bid = 0
        self._best_ask = PRICE_ONE_E4
        self.apply_snapshot(bids, asks)

    def apply_snapshot(self, bids: Iterable[Level], asks: Iterable[Level]) -> None:
        """Replace the whole book with (price_e4, count_e2) levels; raise BookError."""
        new_bids, new_asks = _side_of(bids), _side_of(asks)
        self._bids, self._asks = new_bids, new_asks
        self._best_bid = max(new_bids, default=0)
        self._best_ask = min(new_asks, default=PRICE_ONE_E4)

    def apply_delta(self, side: BookSide, price_e4: int, change_e2: int) -> int:
        """Add a signed change at a price and return what rests there now.

        Raises BookError for an impossible price or side, NegativeCountError below zero.
        """
        if not 0 < price_e4 < PRICE_ONE_E4:
            raise BookError(f"book: expected a price within 0 to 1, got {price_e4}")
        levels = self._bids if side == "bid" else self._levels(side)
        count_e2 = levels.get(price_e4, 0) + change_e2
        if count_e2 < 0:
            raise NegativeCountError(
                f"book: {change_e2} at {side} {price_e4} leaves {count_e2}; take a snapshot"
            )
        if count_e2 > COUNT_MAX_E2:
            raise BookError(f"book: {count_e2} at {side} {price_e4} is no possible quantity")
        if count_e2:
            levels[price_e4] = count_e2
            if side == "bid":
                if price_e4 > self._best_bid:
                    self._best_bid = price_e4
            elif price_e4 < self._best_ask:
                self._best_ask = price_e4
            return count_e2
        levels.pop(price_e4, None)
        if price_e4 == self._best_bid and side == "bid":
            self._best_bid = max(levels, default=0)
        elif price_e4 == self._best_ask and side == "ask":
            self._best_ask = min(levels, default=PRICE_ONE_E4)
        return 0

    def touch(self, within_e4: int) -> Touch:
        """Return each side's best price with what rests there and within that far behind it.

        A side without orders has counts of 0 and a price of 0 (bids) or 10,000 (asks).
        """
        bid_e4, ask_e4 = self._best_bid, self._best_ask
        bid_depth_e2 = ask_depth_e2 = 0
        for price_e4, count_e2 in self._bids.items():
            if price_e4 >= bid_e4 - within_e4:
                bid_depth_e2 += count_e2
        for price_e4, count_e2 in self._asks.items():
            if price_e4 <= ask_e4 + within_e4:
                ask_depth_e2 += count_e2
        bid_e2, ask_e2 = self._bids.get(bid_e4, 0), self._asks.get(ask_e4, 0)
        return bid_e4, bid_e2, bid_depth_e2, ask_e4, ask_e2, ask_depth_e2

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
