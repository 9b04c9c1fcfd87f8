import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from libs.domain.book import (
    SUBSCRIPTIONS_MAX,
    BookError,
    BookSide,
    NegativeCountError,
    OrderBook,
    OwnOrder,
    SequenceGuard,
    SequenceStep,
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
        assert self.book.best_bid_e4 == max(bids, default=None)
        assert self.book.best_ask_e4 == min(asks, default=None)
        assert self.book.crossed == any(bid >= ask for bid in bids for ask in asks)
        for limit in (1, 4_800, 9_999):
            expected = sum(count for price, count in bids.items() if price >= limit)
            assert self.book.depth_e2("bid", limit) == expected
            expected = sum(count for price, count in asks.items() if price <= limit)
            assert self.book.depth_e2("ask", limit) == expected


TestBookMachine = BookMachine.TestCase


def test_own_orders_are_taken_out() -> None:
    book = OrderBook(bids=[(4_700, 500), (4_600, 200)], asks=[(4_800, 300)])
    own = [
        OwnOrder("bid", 4_700, 100),
        OwnOrder("bid", 4_700, 400),
        OwnOrder("ask", 4_800, 100),
        OwnOrder("ask", 5_000, 100),
    ]
    others = book.without_own(own)
    assert others == OrderBook(bids=[(4_600, 200)], asks=[(4_800, 200)])
    assert (others.best_bid_e4, others.best_ask_e4) == (4_600, 4_800)
    assert book.count_e2("bid", 4_700) == 500


@given(
    st.dictionaries(prices, counts),
    st.lists(st.builds(OwnOrder, sides, prices, counts), max_size=5),
)
def test_without_own_never_goes_below_zero(levels: dict[int, int], own: list[OwnOrder]) -> None:
    others = OrderBook(bids=levels.items(), asks=()).without_own(own)
    for price, count in levels.items():
        ours = sum(o.count_e2 for o in own if (o.side, o.price_e4) == ("bid", price))
        assert others.count_e2("bid", price) == max(0, count - ours)
    assert others.best_ask_e4 is None


def test_crossing_is_seen() -> None:
    assert not OrderBook(bids=[(4_700, 1)], asks=[(4_701, 1)]).crossed
    assert OrderBook(bids=[(4_700, 1)], asks=[(4_700, 1)]).crossed
    assert not OrderBook(bids=[(4_700, 1)]).crossed


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


def test_sequence_begins_at_one_and_has_no_gap() -> None:
    guard = SequenceGuard()
    assert [guard.observe(7, seq) for seq in (1, 2, 3)] == [SequenceStep.NEXT] * 3
    assert guard.observe(8, 2) is SequenceStep.GAP
    assert guard.observe(7, 5) is SequenceStep.GAP
    assert guard.observe(7, 6) is SequenceStep.NEXT
    assert guard.observe(7, 6) is SequenceStep.REPEAT
    guard.forget(7)
    assert guard.observe(7, 1) is SequenceStep.NEXT
    guard.clear()
    assert guard.observe(8, 1) is SequenceStep.NEXT
    with pytest.raises(BookError):
        guard.observe(7, 0)


def test_subscriptions_are_bounded() -> None:
    guard = SequenceGuard()
    for sid in range(SUBSCRIPTIONS_MAX):
        guard.observe(sid, 1)
    with pytest.raises(BookError, match="subscriptions"):
        guard.observe(-1, 1)
    assert guard.observe(0, 2) is SequenceStep.NEXT


@given(st.lists(st.integers(1, 30), max_size=40))
def test_a_gap_is_told_exactly_when_numbers_are_missing(numbers: list[int]) -> None:
    guard = SequenceGuard()
    highest = 0
    for seq in numbers:
        step = guard.observe(1, seq)
        assert (step is SequenceStep.REPEAT) == (seq <= highest)
        assert (step is SequenceStep.NEXT) == (seq == highest + 1)
        highest = max(highest, seq)
