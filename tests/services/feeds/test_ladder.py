"""The ladder's columns against a model that knows nothing of books but a dict of levels."""

from hypothesis import given
from hypothesis import strategies as st

from libs.common.messages import Cause
from services.feeds.ladder import Ladder
from tests.services.feeds.feeding import NOW, TICKERS, delta, snapshot, spec

PRICES = st.integers(1, 9_999)
LEVELS = st.dictionaries(PRICES, st.integers(1, 10_000), max_size=8)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("snapshot"), st.integers(0, 2), LEVELS, LEVELS),
        st.tuples(
            st.just("delta"),
            st.integers(0, 2),
            st.sampled_from(["bid", "ask"]),
            PRICES,
            st.integers(-10_000, 10_000).filter(bool),
        ),
        st.tuples(st.just("doubt"), st.integers(0, 2)),
    ),
    max_size=40,
)
Model = list[dict[str, dict[int, int]] | None]


def step(model: Model, name: str, index: int, *rest) -> None:
    """Apply one step by the words of kalshi-api.md §3; None is a book in doubt."""
    if name == "doubt":
        model[index] = None
    elif name == "snapshot":
        model[index] = {"bid": dict(rest[0]), "ask": dict(rest[1])}
    elif (book := model[index]) is not None:
        side, price, change = rest
        left = book[side].get(price, 0) + change
        if left < 0:
            model[index] = None
        elif left == 0:
            book[side].pop(price, None)
        else:
            book[side][price] = left


@given(STEPS)
def test_the_columns_are_those_of_a_naive_model(steps) -> None:
    ladder = Ladder(spec())
    model: Model = [None, None, None]
    for name, index, *rest in steps:
        step(model, name, index, *rest)
        ticker = TICKERS[index]
        if name == "doubt":
            ladder.doubt((ticker,))
        elif name == "snapshot":
            ladder.apply(snapshot(ticker, tuple(rest[0].items()), tuple(rest[1].items())))
        else:
            ladder.apply(delta(ticker, *rest))
    sent = ladder.snapshot(Cause.first("test", "x", NOW), "id", NOW, "synthetic")
    assert sent.stale == tuple(i for i, book in enumerate(model) if book is None)
    for index, book in enumerate(model):
        bids = book["bid"] if book else {}
        asks = book["ask"] if book else {}
        bid, ask = max(bids, default=0), min(asks, default=10_000)
        assert (sent.bid_price_e4[index], sent.ask_price_e4[index]) == (bid, ask)
        assert sent.bid_count_e2[index] == bids.get(bid, 0)
        assert sent.ask_count_e2[index] == asks.get(ask, 0)
        assert sent.bid_depth_e2[index] == sum(c for p, c in bids.items() if p >= bid - 500)
        assert sent.ask_depth_e2[index] == sum(c for p, c in asks.items() if p <= ask + 500)
    crossed = tuple(
        ticker
        for ticker, book in zip(TICKERS, model, strict=True)
        if book and book["bid"] and book["ask"] and max(book["bid"]) >= min(book["ask"])
    )
    assert ladder.crossed() == crossed


def test_depth_is_what_rests_within_five_cents_of_the_best_price() -> None:
    ladder = Ladder(spec())
    bids = ((4500, 100), (4000, 10), (3999, 1))
    asks = ((4600, 100), (5100, 10), (5101, 1))
    ladder.apply(snapshot(TICKERS[0], bids, asks))
    sent = ladder.snapshot(Cause.first("test", "x", NOW), "id", NOW, "live")
    assert (sent.bid_depth_e2[0], sent.ask_depth_e2[0]) == (110, 110)


def test_asking_is_bounded_per_market() -> None:
    ladder = Ladder(spec())
    assert ladder.ask(TICKERS, 100, 10) == TICKERS
    assert ladder.ask(TICKERS[:1], 109, 10) == ()
    assert ladder.ask((*TICKERS[:1], "another"), 110, 10) == TICKERS[:1]
    assert ladder.ask(TICKERS, 111, 10) == TICKERS[1:]
