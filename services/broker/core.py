"""The broker's decisions: make what rests equal to the newest verdict, and never guess.

Everything that happens comes in through `handle`; everything wanted goes out as effects. An event
leads to facts about orders (orders.py, resolve.py), facts to news (desk.py), and then each event
that was touched is reconciled with its verdict (plan.py).
"""

from collections.abc import Callable
from typing import Any, Literal

from msgspec.structs import replace

from libs.common.clock import NS_PER_S
from libs.common.effects import Effect, Event, Received, TimerFired
from libs.common.messages import Verdict
from services.broker import events as e
from services.broker.compare import Comparison
from services.broker.desk import SET_BACK_NS, Desk
from services.broker.groups import NAMED_IN_REFUSAL, Groups
from services.broker.plan import plan, wanted_of
from services.broker.policy import Policy, to_ns
from services.broker.resolve import Resolver
from services.broker.state import EventState, State
from services.broker.transitions import Trigger
from services.broker.verdicts import refusal

Phase = Literal["folding", "resolving", "live"]


class BrokerCore:
    """The state of one broker. Engaged, until the kill switch is read as released."""

    def __init__(self, policy: Policy, *, live_only: bool) -> None:
        self._desk = Desk(policy)
        self._resolver = Resolver(self._desk)
        self._groups = Groups(self._desk)
        self._comparison = Comparison(self._desk)
        self._policy = policy
        self._live_only = live_only
        self.phase: Phase = "folding"
        self.killed = True
        self.kill_reason = "not read yet"
        self.draining = ""
        self._sweeping: set[str] = set()
        self._handlers: dict[type[Event], Callable[[Any], None]] = {
            e.Folded: self._on_folded,
            e.EpochTaken: self._on_epoch,
            e.RecoveryDone: self._on_recovered,
            Received: self._on_received,
            TimerFired: self._on_timer,
            e.WriteStarted: self._on_write_started,
            e.OrderAnswer: self._on_answer,
            e.FillSeen: lambda event: self._resolver.fill(event.fill),
            e.OrderSeen: lambda event: self._resolver.frame(event.order),
            e.OrdersRead: self._on_orders_read,
            e.PositionsRead: self._comparison.positions,
            e.BalanceRead: self._comparison.balance,
            e.SettlementsRead: self._resolver.payouts,
            e.EverythingCancelled: self._on_everything_cancelled,
            e.GroupAnswer: self._groups.answered,
            e.GroupSeen: self._groups.seen,
            e.GroupsRead: self._on_groups_read,
            e.GroupResetAsked: self._on_group_reset,
            e.KillSwitchChanged: self._on_kill_switch,
            e.ClockSet: self._on_clock_set,
            e.CancelAllAsked: self._on_cancel_all,
            e.DrainAsked: self._on_drain,
        }

    @property
    def state(self) -> State:
        """Return the books, to read."""
        return self._desk.state

    @property
    def reached(self) -> dict[str, int]:
        """Return how many orders reached each state in this life."""
        return self._desk.reached

    @property
    def booked(self) -> dict[str, int]:
        """Return how many fills of each series were booked in this life."""
        return self._desk.booked

    @property
    def differences(self) -> dict[str, int]:
        """Return how many differences to the exchange's books there were of late, by kind."""
        return self._comparison.counts

    @property
    def epoch(self) -> int:
        """Return the epoch under which we write."""
        return self._desk.epoch

    def handle(self, event: Event) -> list[Effect]:
        """Fold one event into the state and return what is to be done about it, in order."""
        if self._desk.begin(event.now_ns):
            self._on_clock_set_back()
        self._handlers[type(event)](event)
        if self.phase != "folding":
            if self.state.orphans:
                self._desk.no_news = False
                self._resolver.rematch()
            for event_ticker in list(self._desk.touched):
                self._reconcile(self.state.events[event_ticker])
        return self._desk.effects

    # Recovery

    def _on_folded(self, event: e.Folded) -> None:
        assert self.phase == "folding", "the log is read before anything else"
        self.state.fold(event.message, event.stream, event.sequence)

    def _on_epoch(self, event: e.EpochTaken) -> None:
        """Begin to write: what the log can't answer for is unknown from here on."""
        assert self.phase == "folding", "an epoch is taken once"
        self.phase = "resolving"
        self._desk.epoch = event.epoch
        self.state.begin_waits_anew(event.now_ns)  # an earlier life's clock may have been ahead
        for order in self.state.open_orders():
            before = self._desk.look(order)
            order.filled_e2 = max(order.filled_e2, order.fills_e2)
            if order.filled_e2 and order.filled_e2 >= order.total_max_e2:
                if order.state == "intent":  # it was sent after all, or there were no fills
                    order.apply(Trigger.LOSE, event.now_ns, "restart")
                order.apply(Trigger.FILL_ALL, event.now_ns, "fills of an earlier life")
            elif order.in_doubt or (order.filled_e2 and order.state == "resting"):
                order.apply(Trigger.LOSE, event.now_ns, "restart")
            self._desk.settle(order, before)

    def _on_recovered(self, event: e.RecoveryDone) -> None:
        assert self.phase == "resolving", "an epoch precedes the end of recovery"
        self.phase = "live"
        self._desk.touched.update(dict.fromkeys(self.state.events))

    # Verdicts

    def _on_received(self, event: Received) -> None:
        if isinstance(event.message, Verdict):
            self._on_verdict(event.message, event.sequence)

    def _on_verdict(self, verdict: Verdict, sequence: int) -> None:
        known = self.state.events.get(verdict.event_ticker)
        at = (verdict.ts_pub_ns, sequence)
        if known is not None and at <= known.verdict_at:
            # An older one, or the same one again; but a NO-GO is obeyed though its clock is behind.
            if verdict.decision == "GO" or sequence <= known.verdict_at[1]:
                return
            at = (known.verdict_at[0], sequence)
        target_ns = known.target_ns if known and known.verdict_at[0] else 0
        problem = refusal(verdict, target_ns, self._policy, live_only=self._live_only)
        event = self.state.event(verdict.event_ticker, verdict.series_ticker, verdict.target_ns)
        if not problem:
            event.target_ns = verdict.target_ns
        event.verdict_at = at
        # Fills are dated by our clock: behind risk's, it would else date new ones as seen.
        event.verdict_given_ns = min(verdict.ts_pub_ns, self._desk.now_ns)
        latest_ns = verdict.ts_pub_ns + to_ns(self._policy.verdict_age_s_max)
        if verdict.expires_at_ns > latest_ns:
            verdict = replace(verdict, expires_at_ns=latest_ns)
        event.verdict = None if problem else verdict
        if problem:
            self._desk.alert("verdict_refused", f"{verdict.id}: {problem}")
        self._desk.touched[event.event_ticker] = None

    # Writes and their answers

    def _on_write_started(self, event: e.WriteStarted) -> None:
        order = self.state.orders[event.client_order_id]
        before = self._desk.look(order)
        order.apply(Trigger.SENT, self._desk.now_ns)
        self._desk.settle(order, before)
        self._desk.no_news = True  # its write was in flight already

    def _on_answer(self, event: e.OrderAnswer) -> None:
        order = self.state.orders[event.client_order_id]
        before = self._desk.look(order)
        order.answered(event, self._desk.now_ns, to_ns(self._policy.retry_s))
        self._desk.settle(order, before)
        if order.is_open and order.retry_ns > self._desk.now_ns:
            self._desk.retry_at(self.state.events[order.event_ticker], order.retry_ns)
        if event.outcome == "refused":
            self._desk.alert(f"{event.call}_refused", f"{event.client_order_id}: {event.code}")
            if event.call == "place" and NAMED_IN_REFUSAL in event.code:
                self._groups.triggered(self.state.events[order.event_ticker])

    def _on_orders_read(self, event: e.OrdersRead) -> None:
        if event.complete and not event.event_ticker:
            self._comparison.orders(event)
        self._resolver.read(event)

    # Stops

    def _on_kill_switch(self, event: e.KillSwitchChanged) -> None:
        engaged_now = event.engaged and not self.killed
        self.killed, self.kill_reason = event.engaged, event.reason
        if self.phase != "live":
            return
        if engaged_now:
            self._desk.alert("kill_switch", f"engaged by {event.by}: {event.reason}")
            self._sweep("kill_switch")
        self._desk.touched.update(dict.fromkeys(self.state.events))

    def _on_cancel_all(self, event: e.CancelAllAsked) -> None:
        for event_ticker in [event.event_ticker] if event.event_ticker else list(self.state.events):
            if (known := self.state.events.get(event_ticker)) is not None:
                known.verdict = None
                self._desk.touched[event_ticker] = None

    def _on_groups_read(self, event: e.GroupsRead) -> None:
        self._groups.read(event, at_start=self.phase == "resolving")

    def _on_group_reset(self, event: e.GroupResetAsked) -> None:
        if (known := self.state.events.get(event.event_ticker)) is not None:
            self._groups.reset(known)

    def _on_drain(self, event: e.DrainAsked) -> None:
        self.draining = event.reason
        self._desk.touched.update(dict.fromkeys(self.state.events))

    def _sweep(self, reason: str) -> None:
        """Cancel the whole account with one call, and mark what it covers as in flight."""
        for order in self.state.open_orders():
            if order.in_flight is None and order.order_id:
                self._desk.intend_cancel(order, reason)
                self._sweeping.add(order.client_order_id)
        self._desk.effects.append(e.CancelEverything(reason=reason))

    def _on_everything_cancelled(self, event: e.EverythingCancelled) -> None:
        """Look every covered order up: the one answer does not say what became of each.

        An order that the look-up does not show as ended is cancelled by itself after a moment.
        """
        for client_order_id in self._sweeping:
            order = self.state.orders[client_order_id]
            before = self._desk.look(order)
            order.in_flight = None
            order.settled_ns = self._desk.now_ns
            if order.is_open and event.outcome in ("accepted", "unknown"):
                order.retry_ns = self._desk.now_ns + to_ns(self._policy.retry_s)
                self._desk.look_up(self.state.events[order.event_ticker])
                if event.outcome == "unknown":
                    order.apply(Trigger.LOSE, self._desk.now_ns, "cancel all unknown")
            self._desk.settle(order, before)
        self._sweeping.clear()

    # Time

    def _on_clock_set(self, event: e.ClockSet) -> None:
        """Let waits that are under way last as long as they would have: what was dated before a
        step forward would else look long past, and two reads far apart that were not.
        """
        if event.by_ns > SET_BACK_NS:
            by_s = event.by_ns / NS_PER_S
            self._desk.alert("clock_set_forward", f"by {by_s:.1f} s: verdicts end sooner")
        if event.by_ns > 0:
            for order in self.state.orders.values():
                order.wait_longer(event.by_ns)

    def _on_clock_set_back(self) -> None:
        """Void what was allowed until a time that nobody can tell any more."""
        self._desk.alert("clock_set_back", "no quote rests until verdicts are in time again")
        for known in self.state.events.values():
            known.verdict = None
            self._desk.touched[known.event_ticker] = None

    def _on_timer(self, event: TimerFired) -> None:
        name, _, event_ticker = event.key.partition(":")
        book = self.state.events[event_ticker]
        book.timers.pop(name, None)
        self._desk.touched[event_ticker] = None
        if name == "lookup" and self._has_questions(book):
            self._desk.look_up(book)
        elif name == "settle":
            self._resolver.fetch_payouts(book)

    # Desired state

    def _reconcile(self, event: EventState) -> None:
        """Make what rests for the event equal to its verdict, as far as it can be done now."""
        if self.phase == "live":
            stop = self._stop_reason(event)
            if stop:
                self._desk.cancel_event(event, stop)
            elif not self._desk.no_news:
                self._quote(event)
            self._groups.work(event, stop)
            self._set_timers(event)
            self._time_stop(event, stop)
        if self._has_questions(event):
            self._desk.look_up_later(event)
        self._resolver.settlement_due(event)

    def _quote(self, event: EventState) -> None:
        verdict = event.verdict
        assert verdict is not None, "without a verdict there is a reason to stop"
        wanted = wanted_of(verdict.quotes, self.state.used_since(verdict, event.verdict_given_ns))
        steps = plan(event.orders(), wanted, self._desk.now_ns)
        self._desk.cancel(steps.cancels, "not_wanted", urgent=False)
        for change in steps.changes:
            self._desk.amend(event, verdict, change)
        for key in steps.places if self._groups.lets_place(event) else ():
            self._desk.place(event, verdict, key, wanted[key])

    def _stop_reason(self, event: EventState) -> str:
        """Return why nothing may rest for the event now, "" if it may."""
        now_ns, verdict = self._desk.now_ns, event.verdict
        if self.killed:
            return "kill_switch"
        if self.draining:
            return "drain"
        if now_ns >= self._desk.deadline_ns(event):
            return "deadline"
        if verdict is None:
            return "no_verdict"
        if verdict.decision != "GO":
            return "no_go"
        if now_ns >= verdict.expires_at_ns:
            return "verdict_expired"
        return self._groups.stop_reason(event)

    def _time_stop(self, event: EventState, stop: str) -> None:
        """Time each stop from its trigger to the exchange's word that nothing is left."""
        now_ns = self._desk.now_ns
        if event.stopped_ns and not event.open:
            took_ns = now_ns - event.stopped_ns
            self._desk.effects.append(e.Stopped(reason=event.stopped_by, took_ns=took_ns))
            event.stopped_ns = 0
        elif not stop:
            event.stopped_ns = 0
        elif not event.stopped_ns and event.open:
            event.stopped_ns, event.stopped_by = now_ns, self.draining or stop

    def _set_timers(self, event: EventState) -> None:
        now_ns, deadline_ns = self._desk.now_ns, self._desk.deadline_ns(event)
        if now_ns < deadline_ns:
            self._desk.timer(event, "deadline", deadline_ns)
        verdict = event.verdict
        if verdict is not None and verdict.quotes and now_ns < verdict.expires_at_ns:
            self._desk.timer(event, "expiry", verdict.expires_at_ns)

    def _has_questions(self, event: EventState) -> bool:
        """Tell whether reads are due: an unknown order, or one that outlived the deadline."""
        late = self._desk.now_ns >= self._desk.deadline_ns(event)
        for order in event.open.values():
            if order.state == "unknown" or (late and order.in_flight is None):
                return True
        return False
