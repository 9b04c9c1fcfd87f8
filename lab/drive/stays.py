"""Every stay of an order of ours at one price, filled or not: what fill models are fitted from."""

from collections import deque

from msgspec import Struct

from lab.exchange import model as x
from lab.exchange.engine import Engine


class Resting(Struct, frozen=True, kw_only=True):
    """One stay of an order of ours at one price: what the fill models are fitted from.

    `ahead_e2` is what would have traded before us when it came to rest; `best_*` are the other
    participants' best prices then, 0 and 10,000 when there were none.
    """

    client_order_id: str
    order_id: str
    event_ticker: str
    ticker: str
    side: x.Side
    price_e4: int
    count_e2: int
    ahead_e2: int
    best_bid_e4: int
    best_ask_e4: int
    target_ns: int
    rested_ns: int
    ended_ns: int
    filled_e2: int


class _Stay(Struct):
    order: x.Order
    price_e4: int
    count_e2: int
    ahead_e2: int
    best_bid_e4: int
    best_ask_e4: int
    rested_ns: int
    filled_before_e2: int


class Stays:
    """Watch our orders in the exchange's own book, where the queue is known."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._open: dict[str, _Stay] = {}
        self.ended: deque[Resting] = deque()

    def note(self, order: x.Order, reason: x.Reason) -> None:
        """Hear that an order of ours changed: an amend or an end ends its stay."""
        stay = self._open.get(order.order_id)
        if stay is not None and (order.status != "resting" or reason is x.Reason.AMEND):
            self._end(stay)

    def begin(self, order_id: str) -> None:
        """Note where an order of ours has come to rest, if it rests."""
        order = self._engine.state.orders.get(order_id)
        if order is None or order.status != "resting" or order_id in self._open:
            return
        book = self._engine.market(order.ticker).book
        ahead_e2 = book.side(order.side).ahead_of(order)
        view = book.view()
        self._open[order_id] = _Stay(
            order=order,
            price_e4=order.price_e4,
            count_e2=order.remaining_e2,
            ahead_e2=ahead_e2,
            best_bid_e4=_best_other(view.bids, order, "bid"),
            best_ask_e4=_best_other(view.asks, order, "ask"),
            rested_ns=self._engine.state.now_ns,
            filled_before_e2=order.filled_e2,
        )

    def _end(self, stay: _Stay) -> None:
        order = stay.order
        del self._open[order.order_id]
        event = self._engine.market(order.ticker).event
        self.ended.append(
            Resting(
                client_order_id=order.client_order_id,
                order_id=order.order_id,
                event_ticker=event.ticker,
                ticker=order.ticker,
                side=order.side,
                price_e4=stay.price_e4,
                count_e2=stay.count_e2,
                ahead_e2=stay.ahead_e2,
                best_bid_e4=stay.best_bid_e4,
                best_ask_e4=stay.best_ask_e4,
                target_ns=event.target_ns,
                rested_ns=stay.rested_ns,
                ended_ns=self._engine.state.now_ns,
                filled_e2=order.filled_e2 - stay.filled_before_e2,
            )
        )


def _best_other(levels: tuple[tuple[int, int], ...], order: x.Order, side: x.Side) -> int:
    """Return the best price of others on one side; our own order alone at a price is none."""
    for price_e4, count_e2 in levels:
        mine = side == order.side and price_e4 == order.price_e4
        if not mine or count_e2 > order.remaining_e2:
            return price_e4
    return 0 if side == "bid" else x.ONE_DOLLAR_E4
