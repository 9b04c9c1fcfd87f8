"""What the bus tests share: a collecting handler, consuming in the background."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Sequence

from libs.common.bus import Bus, Handler, Stored
from libs.common.topology import Durable, Service, durables_of

Connect = Callable[[Service], Awaitable[Bus]]
PATIENCE_S = 30.0


def durable_of(service: Service, stream: str) -> Durable:
    """Return a service's durable on a stream."""
    return next(row for row in durables_of(service) if row.stream == stream)


def at_once() -> Sequence[Awaitable[int]]:
    """Let a batch be acknowledged at once."""
    return ()


def never() -> Sequence[Awaitable[int]]:
    """Keep a batch from being acknowledged."""
    return [asyncio.get_running_loop().create_future()]


class Collector:
    """A handler that keeps what it is given."""

    def __init__(self, outcome: Callable[[], Sequence[Awaitable[int]]] = at_once) -> None:
        self.batches: list[list[Stored]] = []
        self._outcome = outcome
        self._changed = asyncio.Event()

    def __call__(self, batch: Sequence[Stored]) -> Sequence[Awaitable[int]]:
        self.batches.append(list(batch))
        self._changed.set()
        return self._outcome()

    @property
    def messages(self) -> list[Stored]:
        return list(itertools.chain.from_iterable(self.batches))

    @property
    def data(self) -> list[bytes]:
        return [message.data for message in self.messages]

    async def until(self, done: Callable[[list[bytes]], bool]) -> list[bytes]:
        """Wait until the data so far pleases `done`; return them."""
        async with asyncio.timeout(PATIENCE_S):
            while not done(self.data):
                self._changed.clear()
                await self._changed.wait()
        return self.data


class Consuming:
    """`async with Consuming(bus, durable, handler)`: consume in the background."""

    def __init__(self, bus: Bus, durable: Durable, handler: Handler) -> None:
        self._work = bus.consume(durable, handler)

    async def __aenter__(self) -> "asyncio.Task[None]":
        self._task = asyncio.ensure_future(self._work)
        return self._task

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
