"""One order group per event: the exchange's own brake on how fast we can be filled.

The exchange counts what was matched within a rolling 15 s; above the group's limit it cancels all
of the group's orders and takes no new ones until a reset (kalshi-api.md §2.4). Nothing is placed
without its group. Groups have no names: which one is an event's stands in its intents, and a
group that no intent names is deleted at the start.

A frame tells that a group is triggered, and so does a refusal. After a restart, or when a frame may
be lost, the groups are read: whether each is there and with our limit; and our own fills tell
whether the limit was hit.

A read shows `is_auto_cancel_enabled` too. The exchange's documents say no more of it than its name,
and no call sets it. Read as "the brake works" it is true of a healthy group; a public client's test
against the demo exchange has it true after a trigger and false after a reset, so false of a healthy
one. So neither value stops an event. What stops it is another value than the first read showed
since the group was made or reset, which is when it takes orders for sure: either way that is a
group which was triggered, or whose brake was taken off. Who triggered a group before our first
read of it is learned by the first refusal.
"""

from collections import deque

from libs.common.clock import NS_PER_S
from libs.common.effects import Effect
from services.broker.desk import Desk
from services.broker.events import (
    CreateGroup,
    DeleteGroup,
    ExchangeGroup,
    GroupAnswer,
    GroupSeen,
    GroupsRead,
    ResetGroup,
)
from services.broker.policy import to_ns
from services.broker.state import EventState

WINDOW_NS = 15 * NS_PER_S
"""The exchange's rolling window (kalshi-api.md §2.4)."""
SETTLED_NS = 5 * NS_PER_S
"""What rests or is filled so long after a group was stopped shows that it was reset since: longer
than clocks may differ and fills of the same moment take to be booked."""
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
        if not event.group_id:
            if stop in ("", "no_go"):
                limit_e2 = policy.group_limit_e2
                self._ask(event, CreateGroup(event_ticker=event.event_ticker, limit_e2=limit_e2))
        elif event.target_ns and over_ns <= desk.now_ns:
            if not event.open:
                self._ask(event, DeleteGroup(**_group_of(event)))
        else:
            if event.target_ns:
                desk.timer(event, "group", over_ns)
            if event.group_triggered_ns and policy.group_reset_s:
                reset_ns = event.group_triggered_ns + to_ns(policy.group_reset_s)
                if reset_ns <= desk.now_ns:
                    self._ask(event, ResetGroup(**_group_of(event)))
                else:
                    desk.timer(event, "reset", reset_ns)

    def reset(self, event: EventState) -> None:
        """Reset the group because an operator wants it."""
        if event.group_id and not event.group_busy:
            self._ask(event, ResetGroup(**_group_of(event)))

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
            self._gone(event)
        elif not done:
            event.group_retry_ns = self._desk.now_ns + to_ns(self._desk.policy.group_retry_s)
            if answer.outcome in ("refused", "unknown"):
                text = f"{answer.call} for {event.event_ticker}: {answer.outcome} {answer.code}"
                self._desk.alert("group_refused", text)
        elif answer.call == "create":
            event.group_id = answer.order_group_id
            self._takes_orders(event)
        else:
            self._takes_orders(event)

    def seen(self, news: GroupSeen) -> None:
        """Take a frame about a group."""
        for event in self._desk.state.events.values():
            if event.group_id != news.order_group_id:
                continue
            if news.change == "triggered":
                self.triggered(event)
            elif news.change == "reset":
                self._takes_orders(event)
            elif news.change == "deleted":
                self._gone(event)
            self._desk.touched[event.event_ticker] = None

    def _takes_orders(self, event: EventState) -> None:
        event.group_triggered_ns, event.group_since_ns = 0, self._desk.now_ns
        event.group_auto_cancel = None

    def _gone(self, event: EventState) -> None:
        event.group_id, event.group_triggered_ns, event.group_auto_cancel = "", 0, None
        self._desk.touched[event.event_ticker] = None

    def triggered(self, event: EventState, why: str = "") -> None:
        """Stop the event: the exchange has cancelled its orders and takes no new ones."""
        if event.group_triggered_ns == 0:
            event.group_triggered_ns = self._desk.now_ns
            limit = f"more than {self._desk.policy.group_limit_e2} (count_e2) filled within 15 s"
            self._desk.alert("group_triggered", f"{event.event_ticker}: {why or limit}")
            self._desk.touched[event.event_ticker] = None

    def read(self, event: GroupsRead, *, at_start: bool) -> None:
        """Compare with all groups of the account. At the start what no event needs is deleted;
        later one that we don't know may be a creation of ours that is not answered yet.
        """
        if not self.demanded:
            return
        shown = {one.order_group_id: one for one in event.groups}
        kept: set[str] = set()
        unfit: list[str] = []
        for book in self._desk.state.events.values():
            news = book.group_busy or book.group_since_ns > event.started_ns
            if not book.group_id or (news and not at_start):
                continue
            group = shown.get(book.group_id)
            over = at_start and book.is_over(self._desk.now_ns)
            changed = group is not None and self._is_changed(group, at_start=at_start)
            if group is None or over or (changed and not book.group_triggered_ns):
                unfit += [book.group_id] if group is not None else []
                self._gone(book)
            else:
                kept.add(book.group_id)
                self._check(book, group)
        gone = [name for name in shown if name not in kept] if at_start else unfit
        for group_id in gone:
            self._desk.effects.append(DeleteGroup(event_ticker="", order_group_id=group_id))

    def _is_changed(self, group: ExchangeGroup, *, at_start: bool) -> bool:
        """Tell whether its limit is not ours. Untold, it is what we asked for in this life."""
        if group.limit_e2 is None:
            return at_start
        return group.limit_e2 != self._desk.policy.group_limit_e2

    def _check(self, event: EventState, group: ExchangeGroup) -> None:
        hit_ns = self._hit_ns(event.group_id)
        orders = self._desk.state.orders.values()
        rested_ns = [one.rested_ns for one in orders if one.order_group_id == event.group_id]
        if hit_ns and max(event.group_since_ns, *rested_ns) <= hit_ns + SETTLED_NS:
            self.triggered(event)
        elif event.group_auto_cancel is None:
            if not event.group_triggered_ns:
                event.group_auto_cancel = group.auto_cancel
        elif event.group_auto_cancel != group.auto_cancel:
            self.triggered(event, f"its order group's auto-cancel became {group.auto_cancel}")

    def _hit_ns(self, group_id: str) -> int:
        """Return when our fills last hit the group's limit, 0 if they did not or it was reset."""
        window: deque[tuple[int, int]] = deque()
        total_e2 = hit_ns = 0
        for at_ns, count_e2 in sorted(self._desk.state.group_fills[group_id]):
            if hit_ns and at_ns > hit_ns + SETTLED_NS:  # later: it was reset, and counts anew
                window.clear()
                total_e2 = hit_ns = 0
            window.append((at_ns, count_e2))
            total_e2 += count_e2
            while window[0][0] <= at_ns - WINDOW_NS:
                total_e2 -= window.popleft()[1]
            if total_e2 >= self._desk.policy.group_limit_e2:
                hit_ns = hit_ns or at_ns
        return hit_ns


def _group_of(event: EventState) -> dict[str, str]:
    return {"event_ticker": event.event_ticker, "order_group_id": event.group_id}
