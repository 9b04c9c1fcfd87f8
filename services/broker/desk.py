"""Turn decisions about orders into effects: intent first, then the write, then the news of it."""

from collections.abc import Iterable

from libs.common.clock import NS_PER_S
from libs.common.effects import Effect, Publish, SetTimer
from libs.common.messages import OrderState, Verdict
from services.broker import reports
from services.broker.events import (
    Alert,
    AmendOrder,
    CancelOrders,
    CancelTarget,
    LookupOrders,
    SubmitOrder,
)
from services.broker.orders import Key, Order
from services.broker.plan import Change, Wanted
from services.broker.policy import Policy, to_ns
from services.broker.state import EventState, State
from services.broker.transitions import Trigger

Seen = tuple[OrderState, tuple[object, ...], int]
SET_BACK_NS = NS_PER_S
"""A clock that goes back by more was set; by less it is a matter of who read it first."""


class Desk:
    """The state, the effects of the present event, and how orders are written about."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.state = State(policy)
        self.epoch = 0
        self.now_ns = self.clock_ns = 0
        self.effects: list[Effect] = []
        self.touched: dict[str, None] = {}
        self.no_news = False
        """Whether the present event changed nothing by which quotes are placed, moved or cancelled;
        what stops an event is looked at all the same.
        """
        self.reached: dict[str, int] = {}
        """How many orders reached each state in this life: for the metrics."""
        self._differences: list[tuple[int, str, str]] = []
        self.booked: dict[str, int] = {}
        """How many fills of each series were booked in this life."""

    def begin(self, now_ns: int) -> bool:
        """Start collecting the effects of one event; tell whether the clock was set back.

        Short of that, time never runs back within the core.
        """
        set_back = now_ns < self.clock_ns - SET_BACK_NS
        if set_back:
            self.state.begin_waits_anew(now_ns)
        self.now_ns = now_ns if set_back else max(self.now_ns, now_ns)
        self.clock_ns = now_ns
        self.effects = []
        self.touched = {}
        self.no_news = False
        return set_back

    def alert(self, kind: str, text: str) -> None:
        """Tell a person."""
        self.effects.append(Alert(kind=kind, text=text))

    def differ(self, kind: str, alert: str, text: str) -> None:
        """Tell of a difference to the exchange's books that counts at once."""
        self._differences.append((self.now_ns, kind, text))
        self.alert(alert, text)

    def recent_differences(self) -> list[tuple[str, str]]:
        """Return kind and text of what differed of late, so that no reader misses it."""
        since_ns = self.now_ns - to_ns(self.policy.difference_shown_s)
        self._differences = [one for one in self._differences if one[0] >= since_ns]
        return [(kind, text) for _, kind, text in self._differences]

    def timer(self, event: EventState, name: str, at_ns: int) -> None:
        """Ask to be woken for an event at a time, once, however often it is asked."""
        if event.timers.get(name) != at_ns:
            event.timers[name] = at_ns
            self.effects.append(SetTimer(key=f"{name}:{event.event_ticker}", at_ns=at_ns))

    def deadline_ns(self, event: EventState) -> int:
        """Return when the event's last quote must be gone: T-2 s, in the exchange's seconds."""
        at_ns = event.target_ns - to_ns(self.policy.index_ops.cancel_buffer_s)
        return at_ns // NS_PER_S * NS_PER_S

    def retry_at(self, event: EventState, at_ns: int) -> None:
        """Ask to reconcile the event again at that time, or sooner if that was asked for."""
        if event.timers.get("retry", at_ns + 1) > at_ns:
            self.timer(event, "retry", at_ns)

    # News of an order

    @staticmethod
    def look(order: Order) -> Seen:
        """Remember an order as it is before a fact is applied to it."""
        return order.state, order.face(), order.filled_e2

    def settle(self, order: Order, before: Seen) -> None:
        """Publish what a fact changed, keep the indexes, draw what follows from an end."""
        state, face, filled_e2 = before
        self.touched[order.event_ticker] = None
        self.state.index(order)
        if order.fills_e2 > order.filled_e2:
            order.saw_filled(order.fills_e2, self.now_ns, "fills booked before it was known")
            self.state.index(order)
        self.state.note_used(order.key, order.filled_e2 - filled_e2, self.now_ns)
        if order.face() == face:
            return
        if order.state != "submitted":  # says nothing that its intent does not
            update = reports.update(order, state, self.epoch, self.clock_ns)
            self.effects.append(Publish(message=update, fenced=True))
        if order.state == state:
            return
        self.reached[order.state] = self.reached.get(order.state, 0) + 1
        if order.state == "unknown":
            self.state.events[order.event_ticker].lookup_wait_ns = 0
            self.alert("unknown_order", f"{order.client_order_id} {order.last_reason}")
        elif not order.is_open and order.state != "filled" and not order.cancel_asked:
            self._ended_unasked(order)

    def _ended_unasked(self, order: Order) -> None:
        """Keep a quote that the exchange took away from coming straight back."""
        if order.last_trigger == Trigger.WITHHOLD:
            self.state.retry_ns[order.key] = self.now_ns + to_ns(self.policy.retry_s)
        else:
            self.state.blocked_ns[order.key] = self.now_ns

    # Writes

    def place(self, event: EventState, verdict: Verdict, key: Key, goal: Wanted) -> None:
        """Place a new order for a quote, unless it was refused or tried too often."""
        state, policy = self.state, self.policy
        if state.blocked_ns.get(key, -1) >= verdict.ts_pub_ns:
            return
        if (retry_ns := state.retry_ns.get(key, 0)) > self.now_ns:
            self.retry_at(event, retry_ns)
            return
        generation = state.generations[verdict.id, key]
        expiration_ns = self.deadline_ns(event)
        lives_ns = min(expiration_ns, verdict.expires_at_ns) - self.now_ns
        if generation >= policy.tries_per_quote or lives_ns < to_ns(policy.min_rest_s):
            return
        if len(state.open) >= policy.max_open_orders:
            self.alert("too_many_orders", f"{policy.max_open_orders} open: {key[0]} not placed")
            return
        client_order_id = reports.client_order_id(verdict.id, *key, generation)
        if client_order_id in state.orders:
            return  # adopted: a broker that deposed us placed it, and we are about to be told
        order = Order(
            client_order_id=client_order_id,
            event_ticker=event.event_ticker,
            series_ticker=event.series_ticker,
            ticker=key[0],
            side=key[1],
            price_e4=goal.price_e4,
            count_e2=goal.count_e2,
            expiration_ns=expiration_ns,
            verdict_id=verdict.id,
            intent_id=reports.place_intent_id(client_order_id),
            correlation_id=verdict.correlation_id,
            order_group_id=event.group_id,
            in_flight="place",
            settled_ns=self.now_ns,
        )
        state.add(order)
        self._intend(order, "quote", goal.price_e4, goal.count_e2)
        self.effects.append(
            SubmitOrder(
                client_order_id=client_order_id,
                event_ticker=event.event_ticker,
                ticker=order.ticker,
                side=order.side,
                price_e4=order.price_e4,
                count_e2=order.count_e2,
                expiration_ns=expiration_ns,
                order_group_id=event.group_id,
                not_after_ns=min(expiration_ns, verdict.expires_at_ns),
            )
        )

    def amend(self, event: EventState, verdict: Verdict, change: Change) -> None:
        """Move or resize a resting order."""
        order = change.order
        order.in_flight = "amend"
        order.amend_price_e4, order.amend_total_e2 = change.price_e4, change.total_e2
        self._intend(order, "requote", change.price_e4, change.total_e2)
        self.effects.append(
            AmendOrder(
                client_order_id=order.client_order_id,
                order_id=order.order_id,
                ticker=order.ticker,
                side=order.side,
                price_e4=change.price_e4,
                total_e2=change.total_e2,
                not_after_ns=min(self.deadline_ns(event), verdict.expires_at_ns),
            )
        )

    def cancel(self, orders: Iterable[Order], reason: str, *, urgent: bool) -> None:
        """Cancel orders of one event, in batches that fit the exchange's budget."""
        chosen = [order for order in orders if order.order_id and order.in_flight is None]
        for start in range(0, len(chosen), self.policy.batch_cancel_max):
            batch = chosen[start : start + self.policy.batch_cancel_max]
            for order in batch:
                self.intend_cancel(order, reason)
            targets = tuple(CancelTarget(one.client_order_id, one.order_id) for one in batch)
            self.effects.append(CancelOrders(targets=targets, urgent=urgent))

    def cancel_event(self, event: EventState, reason: str) -> None:
        """Cancel all that rests for an event, orders of unknown outcome included."""
        due = [order for order in event.orders() if order.retry_ns <= self.now_ns]
        self.cancel(due, reason, urgent=True)
        later = [order.retry_ns for order in event.orders() if order.retry_ns > self.now_ns]
        if later:
            self.retry_at(event, min(later))

    def intend_cancel(self, order: Order, reason: str) -> None:
        """Say that an order is about to be cancelled."""
        order.in_flight = "cancel"
        order.cancel_asked = True
        self._intend(order, reason, order.price_e4, order.count_e2)

    def _intend(self, order: Order, reason: str, price_e4: int, count_e2: int) -> None:
        assert order.in_flight is not None, "an intent precedes a write"
        message = reports.intent(
            order, order.in_flight, price_e4, count_e2, self.epoch, self.clock_ns, reason
        )
        self.effects.append(Publish(message=message, fenced=True))

    # Questions

    def look_up(self, event: EventState) -> None:
        """Ask the exchange about an event's orders now, unless that is under way."""
        if event.lookup_busy:
            return
        event.lookup_busy = True
        event.timers.pop("lookup", None)
        order_ids = tuple(order.order_id for order in event.orders() if order.order_id)
        self.effects.append(LookupOrders(event_ticker=event.event_ticker, order_ids=order_ids))

    def look_up_later(self, event: EventState) -> None:
        """Look up at once the first time, then at growing distances until all is known."""
        if event.lookup_busy or "lookup" in event.timers:
            return
        if event.lookup_wait_ns == 0:
            event.lookup_wait_ns = to_ns(self.policy.lookup_every_s)
            self.look_up(event)
            return
        self.timer(event, "lookup", self.now_ns + event.lookup_wait_ns)
        longest_ns = to_ns(self.policy.lookup_every_max_s)
        event.lookup_wait_ns = min(2 * event.lookup_wait_ns, longest_ns)
