"""Our books against the exchange's own, at each read of the account.

A read and our books are never of one moment, so a difference of state counts when two comparisons
running show the same. What can't be explained by time (an order that no intent of ours names, a
fill of no order, money that moved while nothing of ours did) counts at once. Each is an alert,
and all of them go out with every comparison.
"""

from libs.common.effects import Publish
from services.broker import reports
from services.broker.desk import Desk
from services.broker.events import BalanceRead, OrdersRead, PositionsRead
from services.broker.orders import Order
from services.broker.policy import to_ns
from services.broker.state import event_of

KINDS = ("order", "fill", "position", "balance")
SHOWN_MAX = 20
AT_REST = frozenset({"resting", "partially_filled"})
Differences = dict[tuple[str, str], str]
"""What differs, by kind and what it is about."""


class Comparison:
    """Take the parts of one read of the account; the balance comes last and concludes it."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._orders: Differences = {}
        self._positions: Differences = {}
        self._before: Differences = {}
        self._told: Differences = {}
        self._mark: object = None
        self._mark_ns = 0
        self._balance_e6: int | None = None
        self.counts = dict.fromkeys(KINDS, 0)
        """How many differences of each kind the newest comparison found, for the metrics."""

    def orders(self, read: OrdersRead) -> None:
        """Compare what rests, before the books learn from the read. An order that was written to
        too shortly before the read says nothing.
        """
        state = self._desk.state
        settled_ns = read.started_ns - to_ns(self._desk.policy.stale_read_s)
        found: Differences = {}
        shown: set[str] = set()
        for one in read.orders:
            order = state.find(one.client_order_id, one.order_id)
            if order is None:
                continue  # noted when it is taken into the books
            shown.add(order.client_order_id)
            if not _is_settled(order, settled_ns):
                continue
            total_e2 = one.filled_e2 + one.remaining_e2
            if not order.is_open:
                found["order", order.client_order_id] = f"rests, {order.state} in our books"
            elif order.state in AT_REST and (order.price_e4, order.count_e2) != (
                one.price_e4,
                total_e2,
            ):
                found["order", order.client_order_id] = (
                    f"{one.price_e4} × {total_e2} at the exchange,"
                    f" {order.price_e4} × {order.count_e2} in our books"
                )
        for order in state.open_orders():
            if order.state == "unknown":
                found["order", order.client_order_id] = "its outcome is unknown"
            elif order.client_order_id not in shown and _is_settled(order, settled_ns):
                found["order", order.client_order_id] = "rests in our books alone"
        self._orders = found

    def positions(self, read: PositionsRead) -> None:
        """Compare positions with the sum of our fills; what is settled may be gone already."""
        state = self._desk.state
        shown = dict(read.positions)
        tickers = set(shown)
        for event in state.events.values():
            if not event.is_over(self._desk.now_ns):
                tickers |= event.filled_tickers
        found: Differences = {}
        for ticker in tickers:
            held_e2, booked_e2 = shown.get(ticker, 0), state.positions.get(ticker, 0)
            if held_e2 != booked_e2 and not self._may_be_paid(ticker):
                found["position", ticker] = f"exchange {held_e2}, fills {booked_e2} (count_e2)"
        self._positions = found

    def _may_be_paid(self, ticker: str) -> bool:
        event = self._desk.state.events.get(event_of(ticker)[1])
        return event is not None and (ticker in event.paid or event.is_over(self._desk.now_ns))

    def balance(self, read: BalanceRead) -> None:
        """Compare the balance, then say how the whole comparison came out."""
        desk = self._desk
        self._compare_balance(read)
        fills: Differences = {
            ("fill", order.client_order_id): f"{order.filled_e2} filled, {order.fills_e2} booked"
            for order in desk.state.short.values()
        }
        found = {**self._orders, **fills, **self._positions}
        sure = {key: text for key, text in found.items() if self._before.get(key) == text}
        for (kind, about), text in sure.items():
            if self._told.get((kind, about)) != text:
                desk.alert(f"{kind}_differs", f"{about}: {text}")
        self._before, self._told = found, sure
        told = [(kind, f"{about}: {text}") for (kind, about), text in sure.items()]
        told += desk.recent_differences()
        self.counts = dict.fromkeys(KINDS, 0)
        for kind, _ in told:
            self.counts[kind] += 1
        message = reports.reconciliation(
            [f"{kind} {text}" for kind, text in sorted(told)[:SHOWN_MAX]],
            len(told),
            read,
            desk.epoch,
            desk.clock_ns,
        )
        desk.effects.append(Publish(message=message))

    def _compare_balance(self, read: BalanceRead) -> None:
        """While nothing of ours changes, the balance must not move."""
        desk, state = self._desk, self._desk.state
        faces = tuple((order.client_order_id, order.face()) for order in state.open_orders())
        mark = (faces, len(state.fills), len(state.payouts))
        if mark != self._mark:
            self._mark, self._mark_ns, self._balance_e6 = mark, desk.now_ns, None
        due = [event for event in state.events.values() if event.is_over(self._desk.now_ns)]
        quiet = read.started_ns >= self._mark_ns + to_ns(desk.policy.stale_read_s)
        if not quiet or any(state.unpaid(event) for event in due):
            self._balance_e6 = None
            return
        if self._balance_e6 not in (None, read.balance_e6):
            moved_e6 = read.balance_e6 - (self._balance_e6 or 0)
            desk.differ("balance", "balance_differs", f"moved by {moved_e6} (e6) while we did not")
        self._balance_e6 = read.balance_e6


def _is_settled(order: Order, settled_ns: int) -> bool:
    return order.in_flight is None and order.settled_ns <= settled_ns
