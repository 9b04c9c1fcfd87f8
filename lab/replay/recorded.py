"""The exchange of a replay: recorded books, in which our own orders stand at the back.

Recorded books are kept as levels. A market in which an order of ours arrives is put on the
exchange's engine with all its levels, as orders of one account; from then on its changes are
orders too, until nothing of ours rests there any more. So our orders have a queue place, meet
recorded quotes that reach them, and pay the engine's fees.

It flatters nothing: what is taken off a level is taken from behind us first, so we move up only
when there is no other way, and only a recorded quote that reaches our price fills us, after all
that was recorded ahead of us. Who would have taken our quote because it was there is not known:
a replay fills less than the market would have.
"""

from lab.exchange import model as x
from lab.exchange.engine import Engine
from libs.domain.book import BookError, OrderBook
from libs.domain.families import family_of_series
from services.feeds.events import LadderSpec

RECORDED: dict[x.Side, str] = {"bid": "recorded-bids", "ask": "recorded-asks"}
"""One account a side: what was recorded meets itself as well as us."""
CASH_E6 = 10**15
_STRUCTURES = {ranges: name for name, ranges in x.PRICE_RANGES.items()}


class RecordedMarket:
    """Books from a capture, on the engine where we trade."""

    def __init__(self, engine: Engine, ours: str) -> None:
        self._engine = engine
        self._ours = ours
        self._books: dict[str, dict[tuple[x.Side, int], int]] = {}
        """What was recorded, (side, price_e4) -> count_e2: sorted only where we trade."""
        self._levels: dict[tuple[str, x.Side, int], list[str]] = {}
        """Ids of the recorded orders at a level of a market on the engine, oldest first."""
        self._on_engine: set[str] = set()
        self.refused = 0
        """Changes that could not be true of a recorded book."""
        for account in RECORDED.values():
            engine.open_account(account, CASH_E6, keep_history=False)

    # What the capture says

    def list(self, spec: LadderSpec, now_ns: int, settlement_timer_ns: int) -> None:
        """List an event, once."""
        if spec.event_ticker in self._engine.state.events or spec.close_ns <= now_ns:
            return
        self._engine.add_ladder(ladder_of(spec, now_ns, settlement_timer_ns), now_ns)
        for rung in spec.rungs:
            self._books[rung.ticker] = {}

    def snapshot(
        self,
        ticker: str,
        bids: tuple[tuple[int, int], ...],
        asks: tuple[tuple[int, int], ...],
        now_ns: int,
    ) -> None:
        """Take a whole recorded book in place of what was known."""
        if ticker not in self._books:
            return
        try:
            OrderBook(bids, asks)
        except BookError:
            self.refused += 1
            return
        book: dict[tuple[x.Side, int], int] = {("bid", price): count for price, count in bids}
        book.update({("ask", price): count for price, count in asks})
        self._books[ticker] = book
        if ticker in self._on_engine:
            self._take_off(ticker, now_ns)
            self._put_on(ticker, now_ns)

    def change(self, ticker: str, side: x.Side, price_e4: int, change_e2: int, now_ns: int) -> None:
        """Take one change of a recorded book."""
        book = self._books.get(ticker)
        if book is None:
            return
        count_e2 = book.get((side, price_e4), 0) + change_e2
        if count_e2 < 0 or not 0 < price_e4 < x.ONE_DOLLAR_E4:
            self.refused += 1
            return
        book[side, price_e4] = count_e2
        if ticker in self._on_engine:
            if change_e2 > 0:
                self._add(ticker, side, price_e4, change_e2, now_ns)
            else:
                self._reduce(ticker, side, price_e4, -change_e2, now_ns)
            if not self._engine.account(self._ours).resting.get(ticker):
                self._take_off(ticker, now_ns)

    def view(self, ticker: str) -> x.BookView | None:
        """Return the recorded book with our orders in it, None for a market that is not known."""
        book = self._books.get(ticker)
        if book is None:
            return None
        ours = _sorted(book)
        for order in self._engine.resting(self._ours, ticker):
            ours.apply_delta(order.side, order.price_e4, order.remaining_e2)
        clock = self._engine.market(ticker).book.clock
        return x.BookView(ours.top("bid"), ours.top("ask"), clock)

    # The engine

    def expect_order(self, ticker: str, now_ns: int) -> None:
        """Put a market on the engine: an order of ours is about to arrive there."""
        if ticker in self._books and ticker not in self._on_engine:
            self._put_on(ticker, now_ns)

    def _put_on(self, ticker: str, now_ns: int) -> None:
        self._on_engine.add(ticker)
        book = _sorted(self._books[ticker])
        sides: tuple[x.Side, x.Side] = ("bid", "ask")
        for side in sides:
            for price_e4, count_e2 in book.top(side):
                self._add(ticker, side, price_e4, count_e2, now_ns)

    def _take_off(self, ticker: str, now_ns: int) -> None:
        self._on_engine.discard(ticker)
        for key in [key for key in self._levels if key[0] == ticker]:
            for order_id in self._levels.pop(key):
                self._engine.cancel(RECORDED[key[1]], order_id, now_ns)

    def _add(self, ticker: str, side: x.Side, price_e4: int, count_e2: int, now_ns: int) -> None:
        order = x.NewOrder(ticker=ticker, side=side, price_e4=price_e4, count_e2=count_e2)
        placed = self._engine.place(RECORDED[side], order, now_ns)
        if isinstance(placed, x.Placed) and placed.remaining_e2:
            self._levels.setdefault((ticker, side, price_e4), []).append(placed.order_id)

    def _reduce(self, ticker: str, side: x.Side, price_e4: int, by_e2: int, now_ns: int) -> None:
        """Take a count off a level, from its newest order on: from behind us first."""
        orders = self._levels.get((ticker, side, price_e4), [])
        while by_e2 > 0 and orders:
            order = self._engine.state.orders.get(orders[-1])
            if order is None or order.status != "resting":
                orders.pop()
                continue
            taken_e2 = min(by_e2, order.remaining_e2)
            by_e2 -= taken_e2
            if taken_e2 == order.remaining_e2:
                orders.pop()
            self._engine.decrease(RECORDED[side], order.order_id, now_ns, by_e2=taken_e2)
        if not orders:
            self._levels.pop((ticker, side, price_e4), None)


def _sorted(book: dict[tuple[x.Side, int], int]) -> OrderBook:
    return OrderBook(
        [(price_e4, count_e2) for (side, price_e4), count_e2 in book.items() if side == "bid"],
        [(price_e4, count_e2) for (side, price_e4), count_e2 in book.items() if side == "ask"],
    )


def ladder_of(spec: LadderSpec, now_ns: int, settlement_timer_ns: int) -> x.Ladder:
    """Return an event as the engine lists it, from what feeds read of it."""
    ranges = tuple(
        x.PriceRange(grid.start_e4, grid.end_e4, grid.step_e4) for grid in spec.price_ranges
    )
    family = family_of_series(spec.series_ticker)
    series = x.SeriesSpec(ticker=spec.series_ticker, title=spec.series_ticker, symbol=spec.symbol)
    event = x.EventSpec(
        ticker=spec.event_ticker,
        series_ticker=spec.series_ticker,
        symbol=spec.symbol,
        title=spec.event_ticker,
        sub_title="",
        target_ns=spec.target_ns,
        mutually_exclusive=family.kind.value == "partition",
    )
    markets = tuple(
        x.MarketSpec(
            rung=rung,
            market_id=rung.ticker,
            event_ticker=spec.event_ticker,
            title=rung.ticker,
            sub_title="",
            created_ns=now_ns,
            open_ns=now_ns,
            close_ns=spec.close_ns,
            structure=_STRUCTURES.get(ranges, "linear_cent"),
            settlement_timer_ns=settlement_timer_ns,
        )
        for rung in spec.rungs
    )
    return x.Ladder(series, event, markets)
