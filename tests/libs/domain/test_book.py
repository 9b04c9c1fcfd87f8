import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from libs.domain.book import (
    BookError,
    BookSide,
    NegativeCountError,
    OrderBook,
)

sides: st.SearchStrategy[BookSide] = st.sampled_from(["bid", "ask"])
prices = st.integers(1, 12).map(lambda tick: tick * 800)
counts = st.integers(0, 500)


class BookMachine(RuleBasedStateMachine):
    """The book against a naive model: one dictionary of (side, price) to quantity."""

    def __init__(self) -> None:
        super().__init__()
        self.book = OrderBook()
        self.model: dict[tuple[str, int], int] = {}

    @rule(
        bids=st.dictionaries(prices, counts, max_size=6),
        asks=st.dictionaries(prices, counts, max_size=6),
    )
    def snapshot(self, bids: dict[int, int], asks: dict[int, int]) -> None:
        self.book.apply_snapshot(bids.items(), asks.items())
        self.model = {("bid", price): count for price, count in bids.items()}
        self.model |= {("ask", price): count for price, count in asks.items()}

    @rule(side=sides, price=prices, change=st.integers(-600, 600))
    def delta(self, side: BookSide, price: int, change: int) -> None:
        left = self.model.get((side, price), 0) + change
        if left < 0:
            with pytest.raises(NegativeCountError, match="snapshot"):
                self.book.apply_delta(side, price, change)
        else:
            assert self.book.apply_delta(side, price, change) == left
            self.model[side, price] = left

    @rule(bids=st.lists(st.tuples(prices, st.just(-1)), min_size=1, max_size=2))
    def bad_snapshot(self, bids: list[tuple[int, int]]) -> None:
        with pytest.raises(BookError):
            self.book.apply_snapshot(bids, ())

    @rule(side=sides, price=st.sampled_from([-1, 0, 10_000]))
    def bad_price(self, side: BookSide, price: int) -> None:
        with pytest.raises(BookError):
            self.book.apply_delta(side, price, 100)

    @invariant()
    def agrees(self) -> None:
        bids = {p: n for (side, p), n in self.model.items() if side == "bid" and n}
        asks = {p: n for (side, p), n in self.model.items() if side == "ask" and n}
        assert self.book.top("bid") == tuple(sorted(bids.items(), reverse=True))
        assert self.book.top("ask") == tuple(sorted(asks.items()))
        for within in (0, 800, 5_000):
            bid, ask = max(bids, default=0), min(asks, default=10_000)
            bid_depth = sum(count for price, count in bids.items() if price >= bid - within)
            ask_depth = sum(count for price, count in asks.items() if price <= ask + within)
            assert self.book.touch(within) == (
                *(bid, bids.get(bid, 0), bid_depth),
                *(ask, asks.get(ask, 0), ask_depth),
            )


TestBookMachine = BookMachine.TestCase


def test_top_is_cut_and_wrong_words_are_errors() -> None:
    book = OrderBook(bids=[(100, 1), (300, 3), (200, 2)])
    assert book.top("bid", 2) == ((300, 3), (200, 2))
    assert book != "book"
    with pytest.raises(BookError, match="twice"):
        OrderBook(bids=[(100, 1), (100, 2)])
    with pytest.raises(BookError, match="side"):
        book.apply_delta("yes", 100, 1)  # type: ignore[arg-type]
    with pytest.raises(BookError, match="quantity"):
        book.apply_delta("bid", 100, 10**15)
