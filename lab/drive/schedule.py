"""Virtual time: what is due happens in order of time, and of one time in order of asking."""

from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any


class Schedule:
    """A clock that jumps from one due call to the next; nothing waits and nothing is lost."""

    def __init__(self, now_ns: int) -> None:
        self.now_ns = now_ns
        self._due: list[tuple[int, int, Callable[..., None], tuple[Any, ...]]] = []
        self._asked = 0

    def at(self, at_ns: int, call: Callable[..., None], *arguments: Any) -> None:
        """Ask for a call at a time; what lies in the past happens now."""
        self._asked += 1
        if at_ns < self.now_ns:
            at_ns = self.now_ns
        heappush(self._due, (at_ns, self._asked, call, arguments))

    def run_until(self, until_ns: int) -> None:
        """Do all that is due by then, and whatever that asks for; the clock then shows that time.

        The time never runs back: an earlier `until_ns` does nothing.
        """
        due = self._due
        while due and due[0][0] <= until_ns:
            self.now_ns, _, call, arguments = heappop(due)
            call(*arguments)
        if until_ns > self.now_ns:
            self.now_ns = until_ns
