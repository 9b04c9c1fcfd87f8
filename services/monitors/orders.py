"""Our own orders: none of unknown outcome, none open when the window is over (invariant I9)."""

from libs.common.messages import Message, Reconciliation
from libs.common.own_orders import OpenOrder, OwnOrders
from libs.common.profit import Held, SettledProfit
from libs.domain.tickers import TickerError, parse_event_ticker, series_of_event
from libs.domain.windows import window_state
from services.monitors.policy import MonitorsPolicy
from services.monitors.reading import (
    NS_PER_S,
    Newest,
    Reading,
    Whole,
    family_name,
    judged,
    listed,
    nanoseconds,
    no_data,
)

FORGET_NS = 24 * 3_600 * NS_PER_S
EVENTS_MAX = 4_096


class Orders:
    """Fold ORDERS and FILLS; keep an event for a day after its target, longer while one is open."""

    def __init__(self) -> None:
        self.own = OwnOrders()
        self.profit = SettledProfit()
        self.held = Held(self.own)
        self._targets: dict[str, int] = {}

    def fold(self, message: Message, stream: str, sequence: int) -> None:
        """Fold a stored message; one that was folded before changes nothing."""
        event_ticker = getattr(message, "event_ticker", "")
        if not self.own.apply(message, stream, sequence):
            return
        self.profit.fold(message)
        self.held.fold(message)
        if event_ticker not in self._targets:
            self._targets[event_ticker] = _target_ns(event_ticker)

    def open_events(self) -> list[str]:
        """Return the events in which an order of ours is open."""
        return [event for event in self._targets if any(self.own.open_orders(event))]

    def open_past(self, due_ns: int) -> list[OpenOrder]:
        """Return the open orders of events with a target before `due_ns`, oldest event first."""
        return [
            order
            for event_ticker, target_ns in sorted(self._targets.items(), key=lambda item: item[1])
            if target_ns < due_ns
            for order in self.own.open_orders(event_ticker)
        ]

    def tidy(self, now_ns: int) -> None:
        """Let go of events that are long over."""
        for event_ticker, target_ns in list(self._targets.items()):
            is_over = target_ns + FORGET_NS < now_ns or len(self._targets) > EVENTS_MAX
            if is_over and not any(self.own.open_orders(event_ticker)):
                self.own.forget(event_ticker)
                del self._targets[event_ticker]


class UnknownOrders(Whole):
    """ALERT while nobody knows whether an order of ours rests."""

    name = "unknown_orders"

    def __init__(self, orders: Orders) -> None:
        self._orders = orders

    def judge(self, now_ns: int) -> Reading:
        unknown = self._orders.own.unknown_orders()
        if not unknown:
            return Reading("OK", 0.0, 0.0, "every outcome is known")
        texts = [f"{order.ticker} {order.client_order_id}" for order in unknown]
        return Reading("ALERT", float(len(unknown)), 0.0, listed(texts))


class RestingAfterCancel(Whole):
    """ALERT when an order is open past T-2 s and the moment that the news of a cancel takes."""

    name = "resting_after_t2"

    def __init__(self, policy: MonitorsPolicy, orders: Orders) -> None:
        self._orders = orders
        self._after_ns = nanoseconds(policy.resting_grace_s) - nanoseconds(
            policy.index_ops.cancel_buffer_s
        )

    def judge(self, now_ns: int) -> Reading:
        late = self._orders.open_past(now_ns - self._after_ns)
        if not late:
            return Reading("OK", 0.0, 0.0, "nothing rests past its time")
        texts = [f"{order.ticker} {order.state} {order.client_order_id}" for order in late]
        return Reading("ALERT", float(len(late)), 0.0, listed(texts))


class FreezeWindow(Whole):
    """ALERT when an order of ours is open in an event whose family is frozen now."""

    name = "freeze_window"

    def __init__(self, policy: MonitorsPolicy, orders: Orders) -> None:
        self._families = policy.families
        self._rules = policy.index_ops
        self._orders = orders

    def judge(self, now_ns: int) -> Reading:
        frozen, unknown = [], []
        for name in self._families:
            try:
                if window_state(name, now_ns, self._rules).frozen:
                    frozen.append(name)
            except ValueError as error:  # WindowError, CalendarError: no rule, or no such day
                unknown.append(str(error))
        if unknown:
            return no_data(0.0, listed(unknown))
        opened = [e for e in self._orders.open_events() if family_name(series_of(e)) in frozen]
        text = f"frozen: {', '.join(frozen) or 'none'}"
        if opened:
            text += f"; open all the same: {listed(opened)}"
        return judged(bool(opened), float(len(opened)), 0.0, text)


class BooksAgree(Whole):
    """ALERT when the broker's books differ from the exchange's; NO_DATA while nobody compares."""

    name = "books_agree"

    def __init__(self, policy: MonitorsPolicy) -> None:
        self._age_ns = nanoseconds(policy.reconciliation_age_s)
        self._newest = Newest(Reconciliation)

    def fold(self, message: Message) -> None:
        self._newest.hear(message)

    def judge(self, now_ns: int) -> Reading:
        fresh = self._newest.fresh(now_ns, self._age_ns)
        if not fresh:
            return no_data(0.0, "no recent comparison with the exchange")
        count = fresh[0].difference_count
        text = listed(fresh[0].differences) or "orders, fills, positions and balance agree"
        return judged(count > 0, float(count), 0.0, text)


def series_of(event_ticker: str) -> str:
    """Return an event's series; "" when its ticker can't be read."""
    try:
        return series_of_event(event_ticker)
    except TickerError:
        return ""


def _target_ns(event_ticker: str) -> int:
    """Return an event's target; 0, so that it counts as past, when its ticker can't be read."""
    try:
        return parse_event_ticker(event_ticker).target_ns
    except TickerError:
        return 0
