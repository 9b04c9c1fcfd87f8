"""What a core is told (events) and what it wants done (effects): data, never calls."""

from collections.abc import Sequence
from typing import Protocol

from msgspec import Struct

from libs.common.messages import Message


class Event(Struct, frozen=True, kw_only=True):
    """Something that happened; `now_ns` is the service's clock when it was noticed."""

    now_ns: int


class Received(Event, frozen=True, kw_only=True):
    """A message of a stream, with its place there."""

    message: Message
    stream: str
    sequence: int


class TimerFired(Event, frozen=True, kw_only=True):
    """A timer that the core had set is due."""

    key: str
    at_ns: int


class Effect(Struct, frozen=True, kw_only=True):
    """Something that the shell is to do; a service adds its own kinds."""


class Publish(Effect, frozen=True, kw_only=True):
    """Publish a message on its subject. `fenced` asks the server to check the writer's epoch."""

    message: Message
    fenced: bool = False


class SetTimer(Effect, frozen=True, kw_only=True):
    """Ask for `TimerFired(key)` at `at_ns`; replaces an earlier timer of the same key."""

    key: str
    at_ns: int


class CancelTimer(Effect, frozen=True, kw_only=True):
    """Forget the timer of that key, if there is one."""

    key: str


class Core(Protocol):
    """A service's state and decisions: pure, deterministic, no clock and no I/O."""

    def handle(self, event: Event) -> Sequence[Effect]:
        """Fold one event into the state and return what is to be done about it, in order."""
        ...
