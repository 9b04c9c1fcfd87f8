"""The port to the message bus; `NatsBus` and `MemoryBus` pass one contract suite."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from msgspec import Struct

from libs.common.topology import Durable


class BusError(Exception):
    """Root of what a bus raises.

    BusError
    ├── PublishRefused      the server said no; nothing was stored
    │   └── FenceRefused    the writer's epoch is over: another broker took over
    ├── PublishUnknown      no acknowledgement in time: it may or may not be stored
    ├── BusMismatch         server, streams or durables are not as the topology says
    ├── BusUnavailable      no server there, or it refused the user
    └── RevisionMismatch    a compare-and-set lost
    """


class PublishRefused(BusError):
    """The server refused a message; nothing was stored."""


class FenceRefused(PublishRefused):
    """The server refused a fenced message: the writer's epoch is over."""


class PublishUnknown(BusError):
    """No acknowledgement came in time: stored or not, nobody knows."""


class BusMismatch(BusError):
    """What runs differs from the topology; the text lists each difference."""


class BusUnavailable(BusError):
    """There is no server at the address, or it refused our user."""


class RevisionMismatch(BusError):
    """A key changed since it was read."""


class Stored(Struct, frozen=True):
    """A message as a stream holds it."""

    subject: str
    sequence: int
    data: bytes


class Fence(Struct, frozen=True):
    """The last sequence of `subject` that a writer knows; the server refuses if it moved."""

    subject: str
    sequence: int


class KeyValue(Struct, frozen=True):
    """A value of a bucket and the revision to compare with on the next write."""

    data: bytes
    revision: int


Handler = Callable[[Sequence[Stored]], Sequence[Awaitable[int]]]
"""Handle a batch in order, return what must be done before the batch is acknowledged."""


def conflate(messages: Sequence[Stored]) -> list[Stored]:
    """Return only the newest message of each subject, in sequence order."""
    newest = {message.subject: message for message in messages}
    return sorted(newest.values(), key=lambda message: message.sequence)


class Bus(Protocol):
    """What a service may ask of the message bus.

    `fatal` gets an exception when the connection has become useless (refused rights, closed
    by the other side, messages dropped): await it beside the work, and end the process.
    """

    fatal: asyncio.Future[None]

    def publish(
        self, subject: str, data: bytes, *, message_id: str, fence: Fence | None = None
    ) -> asyncio.Future[int]:
        """Send now, in call order; the future gives the stored sequence.

        A message id that the stream has seen within its duplicate window stores nothing and
        gives the first one's sequence. The future raises `PublishRefused`, `FenceRefused` or,
        after bounded retries, `PublishUnknown`.
        """
        ...

    async def consume(self, durable: Durable, handler: Handler) -> None:
        """Deliver the durable's messages in batches until cancelled or closed.

        Within one call the handler sees sequences only rise, each message once, nothing left
        out, whatever the connection does. A batch is acknowledged once everything that the
        handler returned is done; the first failure of that ends `consume` with it, and what
        was not acknowledged is delivered again to the next one. On a conflated durable only
        the newest message of each subject in a batch reaches the handler.

        After a server crash a stream without `durable_writes` may have lost its newest
        messages and give their sequences to others: its conflated durables then start over
        with the newest of each subject, at lower sequences.
        """
        ...

    async def read(self, stream: str, after: int, limit: int = 1_000) -> list[Stored]:
        """Return up to `limit` messages with a sequence above `after`, in order."""
        ...

    async def last_per_subject(self, stream: str, subject_filter: str) -> list[Stored]:
        """Return the newest message of each subject that matches, in sequence order."""
        ...

    async def get(self, bucket: str, key: str) -> KeyValue | None:
        """Return the value of a key, None if it has none; may be stale on a replica."""
        ...

    async def put(self, bucket: str, key: str, data: bytes, *, revision: int) -> int:
        """Write a key if its revision is still `revision` (0: no value yet); return the new one.

        Raise `RevisionMismatch` when somebody else wrote it.
        """
        ...

    async def request(self, subject: str, data: bytes, timeout_s: float) -> bytes:
        """Ask and return the answer; raise `TimeoutError` when none comes."""
        ...

    async def serve(self, subject: str, answer: Callable[[bytes], Awaitable[bytes]]) -> None:
        """Answer requests on a subject from now on."""
        ...

    async def backlog(self, durable: Durable) -> int:
        """Return how many messages of the durable are not acknowledged yet, for the metrics."""
        ...

    async def stored_bytes(self, stream: str) -> int:
        """Return how much a stream holds, for the metrics."""
        ...

    async def round_trip(self) -> None:
        """Return when the server has answered a ping; raise `TimeoutError` otherwise."""
        ...

    async def verify(self) -> None:
        """Raise `BusMismatch` unless the server, streams and durables are the topology's."""
        ...

    async def close(self) -> None:
        """Send what is waiting, then let go of the connection."""
        ...
