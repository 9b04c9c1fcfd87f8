"""Order groups: a brake that cancels all its orders when its limit trades within 15 seconds."""

from collections import deque

from msgspec import Struct, field

from lab.exchange.execution import Execution
from lab.exchange.model import NS_PER_S, GroupChanged, GroupStep, Reason, Rejected
from lab.exchange.rules import NOT_FOUND
from lab.exchange.state import State

WINDOW_NS = 15 * NS_PER_S
TRIGGERED = Rejected(
    status=409, code="order_group_triggered", message="order group triggered: reset it first"
)


class Group(Struct, kw_only=True):
    """One account's group with what traded in its rolling window."""

    group_id: str
    account: str
    limit_e2: int
    triggered: bool = False
    matched: deque[tuple[int, int]] = field(default_factory=deque)
    matched_e2: int = 0


class Groups:
    """Every order group of the exchange."""

    def __init__(self, state: State, execution: Execution) -> None:
        self._state = state
        self._execution = execution
        self._groups: dict[str, Group] = {}

    def create(self, account: str, limit_e2: int) -> Group:
        """Make a group that stops at `limit_e2` matched within the window."""
        group = Group(group_id=self._state.next_id("group"), account=account, limit_e2=limit_e2)
        self._groups[group.group_id] = group
        self._tell(group, "created")
        return group

    def get(self, account: str, group_id: str) -> Group | None:
        """Return that account's group, None when it has no such one."""
        group = self._groups.get(group_id)
        return group if group is not None and group.account == account else None

    def of_account(self, account: str) -> list[Group]:
        """Return an account's groups, oldest first."""
        return [group for group in self._groups.values() if group.account == account]

    def refuse(self, account: str, group_id: str) -> Rejected | None:
        """Refuse an order for a group that is unknown or triggered."""
        group = self.get(account, group_id)
        if group is None:
            return NOT_FOUND
        return TRIGGERED if group.triggered else None

    def orders(self, group: Group) -> list[str]:
        """Return the ids of the group's resting orders, oldest first."""
        orders = self._state.accounts[group.account].resting_orders()
        return [order.order_id for order in orders if order.group_id == group.group_id]

    def delete(self, group: Group) -> None:
        """Cancel the group's orders and forget it."""
        self._cancel_orders(group)
        del self._groups[group.group_id]
        self._tell(group, "deleted")

    def reset(self, group: Group) -> None:
        """Let the group take orders again, with an empty window."""
        group.triggered = False
        group.matched.clear()
        group.matched_e2 = 0
        self._tell(group, "reset")

    def trigger(self, group: Group) -> None:
        """Cancel the group's orders and refuse new ones until it is reset."""
        group.triggered = True
        self._cancel_orders(group)
        self._tell(group, "triggered")

    def set_limit(self, group: Group, limit_e2: int) -> None:
        """Give the group another limit, which may trigger it at once."""
        group.limit_e2 = limit_e2
        self._tell(group, "limit_updated")
        self._check(group)

    def count_matches(self) -> None:
        """Take in what traded since the last call, and trigger the groups that hit their limit."""
        matched, self._state.group_fills = self._state.group_fills, []
        for group_id, count_e2 in matched:
            group = self._groups.get(group_id)
            if group is None:
                continue
            group.matched.append((self._state.now_ns, count_e2))
            group.matched_e2 += count_e2
            self._check(group)

    def _check(self, group: Group) -> None:
        while group.matched and group.matched[0][0] <= self._state.now_ns - WINDOW_NS:
            group.matched_e2 -= group.matched.popleft()[1]
        if not group.triggered and group.matched_e2 >= group.limit_e2:
            self.trigger(group)

    def _cancel_orders(self, group: Group) -> None:
        for order_id in self.orders(group):
            self._execution.end(self._state.orders[order_id], Reason.GROUP)

    def _tell(self, group: Group, event_type: GroupStep) -> None:
        self._state.emit(
            GroupChanged(
                account=group.account,
                group_id=group.group_id,
                event_type=event_type,
                limit_e2=group.limit_e2,
                at_ns=self._state.now_ns,
            )
        )
