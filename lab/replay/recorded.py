"""The exchange of a replay: recorded books, in which our own orders stand at the back.

Recorded books are plain counts. Only our orders are on the exchange's engine, so they are accepted,
filled, charged and settled as anywhere; what was recorded ahead of each is counted here, and a
recorded quote that gets through it is one order that takes ours.

It flatters nothing: what is taken off a level is taken from behind us first, so we move up only
when there is no other way, and only a recorded quote that reaches our price fills us, after all
that was recorded ahead of us. Who would have taken our quote because it was there is not known:
a replay fills less than the market would have.
"""

from msgspec import Struct

from lab.exchange import model as x
from lab.exchange.engine import Engine
from lab.exchange.rules import invalid_order
from libs.domain.book import BookError, OrderBook
from libs.domain.families import family_of_series
from services.feeds.events import LadderSpec

RECORDED = "recorded"
CASH_E6 = 10**15
_STRUCTURES = {ranges: name for name, ranges in x.PRICE_RANGES.items()}
_OTHER: dict[x.Side, x.Side] = {"bid": "ask", "ask": "bid"}
Book = dict[tuple[x.Side, int], int]


class _Ours(Struct):
    """An order of ours that rests, and how much was recorded before it at its price."""

    order: x.Order
    ahead_e2: int


class RecordedMarket:
    """Books from a capture, and the queue places of our orders in them."""

    def __init__(self, engine: Engine, ours: str) -> None:
        self._engine = engine
        self._account = ours
        self._books: dict[str, Book] = {}
        """What was recorded, (side, price_e4) -> count_e2."""
        self._ours: dict[str, dict[str, _Ours]] = {}
        self.refused = 0
        """Changes that could not be true of a recorded book."""
        engine.open_account(RECORDED, CASH_E6, keep_history=False)

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
        book: Book = {("bid", price): count for price, count in bids}
        book.update({("ask", price): count for price, count in asks})
        self._books[ticker] = book
        for place in list(self._ours.get(ticker, {}).values()):
            level = (place.order.side, place.order.price_e4)
            place.ahead_e2 = min(place.ahead_e2, book.get(level, 0))
        for (side, price_e4), count_e2 in book.items():
            self._meet(ticker, side, price_e4, count_e2, now_ns)

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
        if ours := self._ours.get(ticker):
            if change_e2 > 0:
                self._meet(ticker, side, price_e4, change_e2, now_ns)
                return
            for place in ours.values():
                if place.order.price_e4 == price_e4 and place.order.side == side:
                    place.ahead_e2 = min(place.ahead_e2, count_e2)

    def view(self, ticker: str) -> x.BookView | None:
        """Return the recorded book with our orders in it, None for a market that is not known."""
        if ticker not in self._books:
            return None
        whole = _sorted(self._books[ticker])
        for place in self._ours.get(ticker, {}).values():
            order = place.order
            whole.apply_delta(order.side, order.price_e4, order.remaining_e2)
        clock = self._engine.market(ticker).book.clock
        return x.BookView(whole.top("bid"), whole.top("ask"), clock)

    # Our orders

    def place(self, new: x.NewOrder, now_ns: int) -> x.Placed | x.Rejected:
        """Place an order of ours, unless it would take what was recorded."""
        book = self._books.get(new.ticker, {})
        if any(
            side != new.side and count_e2 and _reaches(side, price_e4, new.price_e4)
            for (side, price_e4), count_e2 in book.items()
        ):
            return invalid_order("post only cross")
        return self._engine.place(self._account, new, now_ns)

    def take(self, changed: x.OrderChanged) -> None:
        """Hear what became of an order of ours: a new price is a place at the back."""
        order = changed.order
        ours = self._ours.setdefault(order.ticker, {})
        if order.status != "resting":
            ours.pop(order.order_id, None)
        elif changed.reason in (x.Reason.NEW, x.Reason.AMEND):
            level_e2 = self._books.get(order.ticker, {}).get((order.side, order.price_e4), 0)
            known = ours.get(order.order_id)
            stays = known is not None and changed.reduced_e2 > 0
            ahead_e2 = known.ahead_e2 if known is not None and stays else level_e2
            ours[order.order_id] = _Ours(order, ahead_e2)

    def ahead_e2(self, order: x.Order) -> int:
        """Return what was recorded before a resting order of ours at its price."""
        return self._ours[order.ticker][order.order_id].ahead_e2

    def _meet(self, ticker: str, side: x.Side, price_e4: int, count_e2: int, now_ns: int) -> None:
        """Let a recorded quote take what of ours it reaches, after what was recorded ahead."""
        reached = [
            place
            for place in self._ours.get(ticker, {}).values()
            if place.order.side != side and _reaches(side, price_e4, place.order.price_e4)
        ]
        sign = -1 if side == "ask" else 1
        for place in sorted(reached, key=lambda one: sign * one.order.price_e4):
            order = place.order
            better_e2 = self._better_e2(ticker, order)
            passed_e2 = min(place.ahead_e2, max(0, count_e2 - better_e2))
            place.ahead_e2 -= passed_e2
            left_e2 = count_e2 - better_e2 - passed_e2
            if left_e2 <= 0:
                continue
            before_e2 = order.filled_e2
            taken = x.NewOrder(
                ticker=ticker,
                side=side,
                price_e4=order.price_e4,
                count_e2=min(left_e2, order.remaining_e2),
                time_in_force="immediate_or_cancel",
            )
            self._engine.place(RECORDED, taken, now_ns)
            count_e2 -= order.filled_e2 - before_e2

    def _better_e2(self, ticker: str, order: x.Order) -> int:
        """Return what is recorded at better prices than an order's, on its side."""
        return sum(
            count_e2
            for (side, price_e4), count_e2 in self._books[ticker].items()
            if side == order.side
            and price_e4 != order.price_e4
            and _reaches(_OTHER[side], order.price_e4, price_e4)
        )


def _reaches(side: x.Side, price_e4: int, other_e4: int) -> bool:
    """Tell whether a quote of that side and price trades with one of the other side."""
    return price_e4 <= other_e4 if side == "ask" else price_e4 >= other_e4


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
