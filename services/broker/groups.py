"""One order group per event: the exchange's own brake on how fast we can be filled.

The exchange counts what was matched within a rolling 15 s; above the group's limit it cancels all
of the group's orders and takes no new ones until a reset (kalshi-api.md §2.4). Nothing is placed
without its group. Groups have no names: which one is an event's stands in its intents, and a
group that no intent names is deleted at the start.

No read of the exchange tells that a group is triggered. A frame does, and so does a refusal: a
broker that forgot it in a restart is told again by its first order.
"""

from collections.abc import Mapping

from libs.common.effects import Effect
from services.broker.desk import Desk
from services.broker.events import CreateGroup, DeleteGroup, GroupAnswer, GroupSeen, ResetGroup
from services.broker.policy import to_ns
from services.broker.state import EventState

NAMED_IN_REFUSAL = "group"
"""The codes of a refusal that is about the order's group hold this word."""


class Groups:
    """Keep each event's group: made in time, reset when allowed, deleted when the event is over."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self.demanded = desk.policy.group_limit_e2 > 0

    def stop_reason(self, event: EventState) -> str:
        """Return why nothing may rest for the event, "" if its group is no reason."""
        return "group_triggered" if event.group_triggered_ns else ""

    def lets_place(self, event: EventState) -> bool:
        """Tell whether new orders of the event have the group that they need."""
        return bool(event.group_id) or not self.demanded

    def work(self, event: EventState, stop: str) -> None:
        """Create, reset or delete the event's group if that is due now."""
        desk, policy = self._desk, self._desk.policy
        if not self.demanded or event.group_busy:
            return
        if event.group_retry_ns > desk.now_ns:
            desk.retry_at(event, event.group_retry_ns)
            return
        over_ns = event.target_ns + to_ns(policy.settle_after_s)
        group = {"event_ticker": event.event_ticker, "order_group_id": event.group_id}
        if not event.group_id:
            if stop in ("", "no_go"):
                limit_e2 = policy.group_limit_e2
                self._ask(event, CreateGroup(event_ticker=event.event_ticker, limit_e2=limit_e2))
        elif event.target_ns and over_ns <= desk.now_ns:
            if not event.open:
                self._ask(event, DeleteGroup(**group))
        else:
            if event.target_ns:
                desk.timer(event, "group", over_ns)
            if event.group_triggered_ns and policy.group_reset_s:
                reset_ns = event.group_triggered_ns + to_ns(policy.group_reset_s)
                if reset_ns <= desk.now_ns:
                    self._ask(event, ResetGroup(**group))
                else:
                    desk.timer(event, "reset", reset_ns)

    def reset(self, event: EventState) -> None:
        """Reset the group because an operator wants it."""
        if event.group_id and not event.group_busy:
            group_id = event.group_id
            self._ask(event, ResetGroup(event_ticker=event.event_ticker, order_group_id=group_id))

    def _ask(self, event: EventState, effect: Effect) -> None:
        event.group_busy = True
        self._desk.effects.append(effect)

    # What the exchange says

    def answered(self, answer: GroupAnswer) -> None:
        """Take what became of a call. Each may be repeated: a group made twice stays empty."""
        event = self._desk.state.events.get(answer.event_ticker)
        if event is None:
            return
        event.group_busy = False
        self._desk.touched[event.event_ticker] = None
        done = answer.outcome == "accepted"
        if answer.call == "delete" and answer.outcome in ("accepted", "refused"):
            event.group_id, event.group_triggered_ns = "", 0
        elif not done:
            event.group_retry_ns = self._desk.now_ns + to_ns(self._desk.policy.group_retry_s)
            if answer.outcome in ("refused", "unknown"):
                text = f"{answer.call} for {event.event_ticker}: {answer.outcome} {answer.code}"
                self._desk.alert("group_refused", text)
        elif answer.call == "create":
            event.group_id, event.group_triggered_ns = answer.order_group_id, 0
        else:
            event.group_triggered_ns = 0

    def seen(self, news: GroupSeen) -> None:
        """Take a frame about a group."""
        for event in self._desk.state.events.values():
            if event.group_id != news.order_group_id:
                continue
            if news.change == "triggered":
                self.triggered(event)
            elif news.change == "reset":
                event.group_triggered_ns = 0
            elif news.change == "deleted":
                event.group_id, event.group_triggered_ns = "", 0
            self._desk.touched[event.event_ticker] = None

    def triggered(self, event: EventState) -> None:
        """Stop the event: the exchange has cancelled its orders and takes no new ones."""
        if event.group_triggered_ns == 0:
            event.group_triggered_ns = self._desk.now_ns
            text = f"{event.event_ticker}: more than {self._desk.policy.group_limit_e2} (count_e2)"
            self._desk.alert("group_triggered", f"{text} filled within 15 s")

    def read(self, limits_e2: Mapping[str, int]) -> None:
        """Compare with all groups of the account, at the start: what no event needs is deleted."""
        if not self.demanded:
            return
        kept: set[str] = set()
        for event in self._desk.state.events.values():
            over = event.is_over(self._desk.now_ns)
            if over or limits_e2.get(event.group_id) != self._desk.policy.group_limit_e2:
                event.group_id = ""
            else:
                kept.add(event.group_id)
        for group_id in limits_e2:
            if group_id not in kept:
                self._desk.effects.append(DeleteGroup(event_ticker="", order_group_id=group_id))
