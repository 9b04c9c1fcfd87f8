"""Our own open orders and positions per market, folded from ORDERS and FILLS; pure.

What can't be known counts against us: an order whose outcome is unknown is open, an amendment in
flight counts at the larger of its two sizes, and a fill that an order update reports counts from
then on, whether its `Fill` has come yet or not (the two streams have no common order).
"""

from collections import deque
from collections.abc import Iterator

from msgspec import Struct
from msgspec.structs import replace

from libs.common.messages import (
    OPEN_STATES,
    ExchangeSettlement,
    Fill,
    Message,
    OrderIntent,
    OrderState,
    OrderUpdate,
    Side,
)
from libs.domain.money import PRICE_ONE_E4

_OF_A_MARKET = (OrderIntent, OrderUpdate, Fill)
_SIGN = {"bid": 1, "ask": -1}
ENDED_KEPT = 2_000
"""Ended orders remembered per event, for late words about them; the oldest are forgotten."""

_UNRESOLVED = frozenset({"intent", "submitted", "unknown"})
"""States that say nothing of what became of an amendment in flight."""


class OwnOrder(Struct, frozen=True, kw_only=True, gc=False):
    """One order as its newest messages have it; counts are totals in `count_e2`.

    `amend_price_e4` and `amend_count_e2` are what an amendment in flight asks for, else None.
    """

    client_order_id: str
    order_id: str
    event_ticker: str
    ticker: str
    side: Side
    price_e4: int
    count_e2: int
    filled_e2: int
    state: OrderState
    changed_ns: int
    amend_price_e4: int | None = None
    amend_count_e2: int | None = None

    @property
    def is_open(self) -> bool:
        """Return whether it rests or may come to rest; unknown counts as open."""
        return self.state in OPEN_STATES


class OpenOrder(Struct, frozen=True, kw_only=True, gc=False):
    """What of an order may still fill, at the price that costs most if an amend is in flight."""

    client_order_id: str
    ticker: str
    side: Side
    price_e4: int
    remaining_e2: int
    state: OrderState


class Position(Struct, frozen=True, gc=False):
    """What one market's fills add up to: signed contracts (YES positive) and cash paid in."""

    count_e2: int = 0
    cash_e6: int = 0

    def worst_loss_e6(self) -> int:
        """Return the larger loss of the two outcomes, zero if both gain."""
        payoff_e6 = self.count_e2 * PRICE_ONE_E4
        return max(0, -self.cash_e6, -(self.cash_e6 + payoff_e6))


class OwnOrders:
    """Fold order and fill messages of any market; ask for open orders and positions."""

    def __init__(self) -> None:
        self._orders: dict[str, OwnOrder] = {}
        self._client_of_order: dict[str, str] = {}
        self._open: dict[str, dict[str, None]] = {}
        self._ended: dict[str, deque[str]] = {}
        self._missing: dict[str, dict[str, None]] = {}
        self._tickers: dict[str, dict[str, None]] = {}
        self._booked: dict[str, Position] = {}
        self._fills_seen_e2: dict[str, int] = {}
        self._trades: dict[str, set[str]] = {}
        self._changed_ns: dict[str, int] = {}
        self._last_sequence: dict[str, int] = {}
        self._settled: dict[str, str] = {}

    def order_count(self) -> int:
        """Return how many orders are remembered, ended ones included."""
        return len(self._orders)

    def apply(self, message: Message, stream: str, sequence: int) -> bool:
        """Fold one stored message; return False if it was folded before or is not about orders."""
        if sequence <= self._last_sequence.get(stream, 0):
            return False
        self._last_sequence[stream] = sequence
        if isinstance(message, ExchangeSettlement):
            self._settle(message)
            return True
        if not isinstance(message, _OF_A_MARKET):
            return False
        if message.ticker in self._settled:
            return True  # late words about a market that is over: nothing of it is at risk
        if isinstance(message, OrderUpdate):
            self._update(message)
        elif isinstance(message, OrderIntent):
            self._intend(message)
        else:
            self._fill(message)
        return True

    def last_sequence(self, stream: str) -> int:
        """Return the newest folded sequence of a stream, 0 for none."""
        return self._last_sequence.get(stream, 0)

    def open_orders(self, event_ticker: str) -> Iterator[OpenOrder]:
        """Yield what may still fill of each order of an event, oldest first."""
        for client_order_id in self._open.get(event_ticker, ()):
            order = self._orders[client_order_id]
            if (remaining_e2 := self._remaining_e2(order)) > 0:
                yield OpenOrder(
                    client_order_id=client_order_id,
                    ticker=order.ticker,
                    side=order.side,
                    price_e4=_dearer_price_e4(order),
                    remaining_e2=remaining_e2,
                    state=order.state,
                )

    def resting_e2(self, event_ticker: str) -> dict[tuple[str, Side, int], int]:
        """Return the counts that the exchange's books may show as ours, by ticker, side, price."""
        found: dict[tuple[str, Side, int], int] = {}
        for client_order_id in self._open.get(event_ticker, ()):
            order = self._orders[client_order_id]
            prices = {order.price_e4, order.amend_price_e4 or order.price_e4}
            for price_e4 in prices:  # under an amendment nobody knows which of the two it shows
                key = (order.ticker, order.side, price_e4)
                found[key] = found.get(key, 0) + self._remaining_e2(order)
        return found

    def position(self, ticker: str) -> Position:
        """Return a market's position with fills that were reported but have not come yet."""
        booked = self._booked.get(ticker, Position())
        count_e2, cash_e6 = booked.count_e2, booked.cash_e6
        for client_order_id in self._missing.get(ticker, ()):
            order = self._orders[client_order_id]
            seen_e2 = self._fills_seen_e2.get(client_order_id, 0)
            missing_e2 = _SIGN[order.side] * (order.filled_e2 - seen_e2)
            count_e2 += missing_e2
            cash_e6 -= missing_e2 * order.price_e4
        return Position(count_e2, cash_e6)

    def positions(self, event_ticker: str) -> dict[str, Position]:
        """Return the positions of an event's markets, without those in which nothing happened."""
        found: dict[str, Position] = {}
        for ticker in self._tickers.get(event_ticker, ()):
            if ticker in self._booked or self._missing.get(ticker):
                position = self.position(ticker)
                if position.count_e2 or position.cash_e6:
                    found[ticker] = position
        return found

    def unknown_orders(self) -> list[OwnOrder]:
        """Return the orders of which nobody knows whether they rest."""
        opened = (self._orders[client] for clients in self._open.values() for client in clients)
        return [order for order in opened if order.state == "unknown"]

    def forget(self, event_ticker: str) -> None:
        """Let go of an event that is over, so that a reader of months of orders stays small."""
        self._drop(list(self._orders_of(event_ticker)))
        for ticker in [t for t, event in self._settled.items() if event == event_ticker]:
            del self._settled[ticker]
        for ticker in self._tickers.pop(event_ticker, ()):
            self._booked.pop(ticker, None)
            self._missing.pop(ticker, None)
        for table in (self._trades, self._changed_ns, self._open, self._ended):
            table.pop(event_ticker, None)

    def changed_ns(self, event_ticker: str) -> int:
        """Return when an order of this event last changed, 0 for never."""
        return self._changed_ns.get(event_ticker, 0)

    def _orders_of(self, event_ticker: str) -> Iterator[OwnOrder]:
        """Yield every remembered order of an event: each is open, or among the ended."""
        clients = (*self._open.get(event_ticker, ()), *self._ended.get(event_ticker, ()))
        for client in dict.fromkeys(clients):
            if (order := self._orders.get(client)) is not None:
                yield order

    def _filled_e2(self, order: OwnOrder) -> int:
        return max(order.filled_e2, self._fills_seen_e2.get(order.client_order_id, 0))

    def _remaining_e2(self, order: OwnOrder) -> int:
        wanted_e2 = max(order.count_e2, order.amend_count_e2 or 0)
        return max(0, wanted_e2 - self._filled_e2(order))

    def _intend(self, message: OrderIntent) -> None:
        known = self._known(message.client_order_id, message.order_id)
        if message.action == "place":
            if known is None:
                self._keep(_intended(message))
        elif message.action == "amend" and known is not None:
            order = replace(
                known,
                amend_price_e4=message.price_e4,
                amend_count_e2=message.count_e2,
                changed_ns=message.ts_event_ns,
            )
            self._keep(order)

    def _update(self, message: OrderUpdate) -> None:
        known = self._known(message.client_order_id, message.order_id)
        if known is not None and known.client_order_id != message.client_order_id:
            self._rename(known, message.client_order_id)
        filled_e2 = message.filled_count_e2
        if known is not None:
            filled_e2 = max(filled_e2, known.filled_e2)
        unresolved = known is not None and (
            message.state in _UNRESOLVED or _is_only_a_fill(message, known)
        )
        order = OwnOrder(
            client_order_id=message.client_order_id,
            order_id=message.order_id or (known.order_id if known else ""),
            event_ticker=message.event_ticker,
            ticker=message.ticker,
            side=message.side,
            price_e4=message.price_e4,
            count_e2=max(message.count_e2, message.filled_count_e2 + message.remaining_count_e2),
            filled_e2=filled_e2,
            state=message.state,
            changed_ns=message.ts_event_ns,
            amend_price_e4=known.amend_price_e4 if known and unresolved else None,
            amend_count_e2=known.amend_count_e2 if known and unresolved else None,
        )
        self._keep(order)

    def _fill(self, message: Fill) -> None:
        trades = self._trades.setdefault(message.event_ticker, set())
        if message.trade_id in trades:
            return
        trades.add(message.trade_id)
        self._tickers.setdefault(message.event_ticker, {})[message.ticker] = None
        booked = self._booked.get(message.ticker, Position())
        signed_e2 = _SIGN[message.side] * message.count_e2
        self._booked[message.ticker] = Position(
            booked.count_e2 + signed_e2,
            booked.cash_e6 - signed_e2 * message.price_e4 - message.fee_e6,
        )
        client = message.client_order_id or self._client_of_order.get(message.order_id, "")
        if client:
            seen_e2 = self._fills_seen_e2.get(client, 0)
            self._fills_seen_e2[client] = seen_e2 + message.count_e2
            if client in self._orders:
                self._weigh(self._orders[client])
        self._changed_ns[message.event_ticker] = message.ts_event_ns

    def _settle(self, message: ExchangeSettlement) -> None:
        """Forget a settled market: nothing of it is at risk any more."""
        self._settled[message.ticker] = message.event_ticker
        self._booked.pop(message.ticker, None)
        orders = list(self._orders_of(message.event_ticker))
        self._drop([order for order in orders if order.ticker == message.ticker])

    def _drop(self, orders: list[OwnOrder]) -> None:
        for order in orders:
            client = order.client_order_id
            del self._orders[client]
            self._client_of_order.pop(order.order_id, None)
            self._fills_seen_e2.pop(client, None)
            self._open.get(order.event_ticker, {}).pop(client, None)
            self._missing.get(order.ticker, {}).pop(client, None)

    def _known(self, client_order_id: str, order_id: str) -> OwnOrder | None:
        known = self._orders.get(client_order_id)
        if known is None and order_id:
            known = self._orders.get(self._client_of_order.get(order_id, ""))
        return known

    def _rename(self, known: OwnOrder, client_order_id: str) -> None:
        # An amendment may give an order a new client id; its fills go with it.
        old = known.client_order_id
        del self._orders[old]
        self._open.get(known.event_ticker, {}).pop(old, None)
        self._missing.get(known.ticker, {}).pop(old, None)
        if old in self._fills_seen_e2:
            moved_e2 = self._fills_seen_e2.pop(old)
            seen_e2 = self._fills_seen_e2.get(client_order_id, 0)
            self._fills_seen_e2[client_order_id] = seen_e2 + moved_e2

    def _keep(self, order: OwnOrder) -> None:
        client, event_ticker = order.client_order_id, order.event_ticker
        known = self._orders.get(client)
        self._orders[client] = order
        if known is None or known.ticker != order.ticker:
            self._tickers.setdefault(event_ticker, {})[order.ticker] = None
        self._changed_ns[event_ticker] = order.changed_ns
        if order.order_id:
            self._client_of_order[order.order_id] = client
        if order.is_open:
            self._open.setdefault(event_ticker, {})[client] = None
        elif known is None or known.is_open:
            self._open.get(event_ticker, {}).pop(client, None)
            self._end(event_ticker, client)
        self._weigh(order)

    def _weigh(self, order: OwnOrder) -> None:
        """Keep the list of orders whose reported fills have not all come."""
        client = order.client_order_id
        if order.filled_e2 > self._fills_seen_e2.get(client, 0):
            self._missing.setdefault(order.ticker, {})[client] = None
        else:
            self._missing.get(order.ticker, {}).pop(client, None)

    def _end(self, event_ticker: str, client: str) -> None:
        ended = self._ended.setdefault(event_ticker, deque())
        ended.append(client)
        if len(ended) <= ENDED_KEPT:
            return
        oldest = self._orders.get(ended.popleft())
        if oldest is not None and not oldest.is_open:
            if oldest.client_order_id in self._missing.get(oldest.ticker, {}):
                ended.append(oldest.client_order_id)
                return
            del self._orders[oldest.client_order_id]
            self._client_of_order.pop(oldest.order_id, None)


def _is_only_a_fill(message: OrderUpdate, known: OwnOrder) -> bool:
    """Tell whether an update tells of a fill and so leaves open what an amendment came to."""
    return (
        message.state == "partially_filled"
        and message.filled_count_e2 > known.filled_e2
        and (message.price_e4, message.count_e2) == (known.price_e4, known.count_e2)
    )


def _intended(message: OrderIntent) -> OwnOrder:
    return OwnOrder(
        client_order_id=message.client_order_id,
        order_id=message.order_id,
        event_ticker=message.event_ticker,
        ticker=message.ticker,
        side=message.side,
        price_e4=message.price_e4,
        count_e2=message.count_e2,
        filled_e2=0,
        state="intent",
        changed_ns=message.ts_event_ns,
    )


def _dearer_price_e4(order: OwnOrder) -> int:
    if order.amend_price_e4 is None:
        return order.price_e4
    pick = max if order.side == "bid" else min
    return pick(order.price_e4, order.amend_price_e4)
