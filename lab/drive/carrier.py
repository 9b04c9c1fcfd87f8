"""How a message gets from its writer to its readers: the bus, one message at a time.

The order of everything is the schedule's, whatever carries it, so a run over NATS does what a
run in memory does.
"""

from collections.abc import Callable
from typing import Protocol

from msgspec.structs import replace

from libs.common.bus import Fence
from libs.common.memory_bus import MemoryHub
from libs.common.messages import Message
from libs.common.topology import DAY_S, MIB, ORDERS_EPOCH, STREAMS, Service, Stream

NEVER_S = 100 * 365 * DAY_S
KEPT_BYTES = MIB
"""Nobody reads a stream back within a run: only so much of each is kept."""


class Carrier(Protocol):
    """Stores messages under a stream sequence and hands them out again."""

    def publish(
        self, service: Service, subject: str, data: bytes, message_id: str, fence: Fence | None
    ) -> int:
        """Store a message and return its sequence. Raises BusError."""
        ...

    def fetch(self, reader: Service, stream: str, sequence: int, message: Message) -> Message:
        """Return a stored message as its reader gets it; `message` is what was published."""
        ...

    def close(self) -> None:
        """Let go of everything."""
        ...


class MemoryCarrier:
    """The `MemoryHub` as the server. Messages are frozen: readers share the published one."""

    def __init__(self, hub: MemoryHub) -> None:
        self._append = hub.append

    def publish(
        self, service: Service, subject: str, data: bytes, message_id: str, fence: Fence | None
    ) -> int:
        del service
        return self._append(subject, data, message_id, fence)

    def fetch(self, reader: Service, stream: str, sequence: int, message: Message) -> Message:
        del reader, stream, sequence
        return message

    def close(self) -> None:
        """Nothing to let go of."""


MakeCarrier = Callable[[Callable[[], int]], Carrier]
"""Make a run's bus, given what tells the run's time."""


def memory_carrier(now_ns: Callable[[], int]) -> Carrier:
    """Return a bus in memory, with a server of its own."""
    return MemoryCarrier(MemoryHub(now_ns, lab_streams(), remembered=(ORDERS_EPOCH,)))


def lab_streams() -> tuple[Stream, ...]:
    """Return the streams with little kept of each, and that little whatever its age.

    Between two days of bars may lie a year; the broker's epoch, its fence, is remembered apart.
    """
    return tuple(
        replace(stream, max_age_s=NEVER_S, max_bytes=KEPT_BYTES, refuse_when_full=False)
        for stream in STREAMS
    )
