"""What one look at one monitor gives, and small tools that monitors share; pure."""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Generic, Literal, Protocol, TypeVar

from msgspec import Struct

from libs.common.messages import Message
from libs.domain.eastern import NS_PER_S as NS_PER_S
from libs.domain.families import UnknownFamilyError, family_of_series

ALL = "all"
"""The scope of a monitor that watches one thing only."""
OTHER = "other"
"""The family of a series that the naming table does not hold."""
SHOWN_MAX = 6
TIMES_MAX = 1_000

State = Literal["OK", "ALERT", "NO_DATA"]


class Reading(Struct, frozen=True):
    """A state with the value that was measured, the limit it was held to, and what was seen."""

    state: State
    value: float | None
    threshold: float | None
    evidence: str


def judged(alert: bool, value: float, threshold: float, evidence: str) -> Reading:
    """Return ALERT or OK with what was measured."""
    return Reading("ALERT" if alert else "OK", value, threshold, evidence)


OTHER_CAUSE = "not the value"


def caused(value: float, threshold: float, evidence: str) -> Reading:
    """Return ALERT; when the value is within its limit the evidence says that it is no cause."""
    text = f"{OTHER_CAUSE}: {evidence}" if value < threshold else evidence
    return Reading("ALERT", value, threshold, text)


LEAST = frozenset({"var_headroom", "calendar_ends", "exchange"})
"""Monitors that alert when the value falls below the threshold, as all with a negative one do."""


def is_least(monitor: str, threshold: float) -> bool:
    """Tell whether a threshold is the least that the value may be, and not the most."""
    return monitor in LEAST or threshold < 0


class Monitor(Protocol):
    """One thing to watch. `fold` sees every message; `look` judges at any time, without one."""

    name: str

    def fold(self, message: Message) -> None:
        """Remember what matters of a message."""
        ...

    def look(self, now_ns: int) -> Mapping[str, Reading]:
        """Say how it is now, by scope: a series family, a feed, or "all"."""
        ...


class Whole(ABC):
    """A monitor that watches one thing: its scope is "all"."""

    def fold(self, message: Message) -> None:  # noqa: B027 - most read what others fold
        """Remember nothing, unless a monitor says otherwise."""

    def look(self, now_ns: int) -> dict[str, Reading]:
        return {ALL: self.judge(now_ns)}

    @abstractmethod
    def judge(self, now_ns: int) -> Reading:
        """Say how it is now."""


def no_data(threshold: float | None, evidence: str) -> Reading:
    """Return that it can't be known."""
    return Reading("NO_DATA", None, threshold, evidence)


def family_name(series_ticker: str) -> str:
    """Return a series' family; "other" for one that no family holds."""
    try:
        return family_of_series(series_ticker).name
    except UnknownFamilyError:
        return OTHER


class Since(Struct):
    """From when on the monitors judge: what was not heard of yet is missing since then."""

    at_ns: int = 0


class Age(Struct, frozen=True):
    """How old something is, the limit for it, and what it is called."""

    name: str
    age_ns: int
    limit_ns: int

    @property
    def too_old(self) -> bool:
        return self.age_ns > self.limit_ns

    def text(self) -> str:
        """Return the age for people."""
        return f"{self.name} {seconds(self.age_ns):.1f} s old, limit {seconds(self.limit_ns):g} s"


MessageType = TypeVar("MessageType", bound=Message)


class Newest(Generic[MessageType]):
    """The newest message of a kind for each key, of so many keys; an older one changes nothing."""

    def __init__(
        self,
        kind: type[MessageType],
        key: Callable[[MessageType], str] = lambda _: "",
        keys_max: int = 1,
    ) -> None:
        self._kind = kind
        self._key = key
        self._keys_max = keys_max
        self._newest: dict[str, MessageType] = {}

    def hear(self, message: Message) -> None:
        """Keep a message if it is of the kind and not older than the one that is known."""
        if not isinstance(message, self._kind):
            return
        key = self._key(message)
        known = self._newest.get(key)
        if known is None and len(self._newest) >= self._keys_max:
            return
        if known is None or message.ts_pub_ns >= known.ts_pub_ns:
            self._newest[key] = message

    def all(self) -> list[MessageType]:
        """Return the newest of each key."""
        return list(self._newest.values())

    def fresh(self, now_ns: int, age_ns: int) -> list[MessageType]:
        """Return those that are not older than that."""
        return [each for each in self._newest.values() if now_ns - each.ts_pub_ns <= age_ns]


class RecentTimes:
    """How many things happened within a window; at most 1,000 are told apart."""

    def __init__(self, window_ns: int) -> None:
        self._window_ns = window_ns
        self._times: deque[int] = deque(maxlen=TIMES_MAX)

    def add(self, at_ns: int, times: int = 1) -> None:
        """Note that it happened."""
        self._times.extend([at_ns] * min(times, TIMES_MAX))

    def count(self, now_ns: int) -> int:
        """Return how often it happened within the window."""
        since_ns = now_ns - self._window_ns
        return sum(1 for at_ns in self._times if at_ns > since_ns)


def nanoseconds(value_s: float) -> int:
    """Return seconds as whole nanoseconds."""
    return round(value_s * NS_PER_S)


def seconds(value_ns: int) -> float:
    """Return nanoseconds as seconds."""
    return value_ns / NS_PER_S


def listed(items: Sequence[str]) -> str:
    """Return the first few items as one text, with how many more there are."""
    shown = "; ".join(items[:SHOWN_MAX])
    more = len(items) - SHOWN_MAX
    return f"{shown}; and {more} more" if more > 0 else shown


def worst(ages: Sequence[Age]) -> Age:
    """Return the age that is furthest beyond its limit, or nearest to it."""
    return max(ages, key=lambda age: age.age_ns / age.limit_ns)
