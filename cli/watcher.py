"""Read every stream as the console user and fold it into a `SessionView`."""

import asyncio
from typing import Self, TypeVar

from cli.run_directory import RunDirectory
from cli.session import SessionView
from libs.common.bus import BusError
from libs.common.clock import Clock
from libs.common.inbox import Refused, read_stored
from libs.common.messages import Message
from libs.common.nats_bus import NatsBus
from libs.common.topology import STREAMS, SUBJECTS, Service, wildcard

MessageType = TypeVar("MessageType", bound=Message)
READ_LIMIT = 2_000
ROUNDS_MAX = 50


class Watcher:
    """The console's eyes: polls the streams, holds the view, counts what can't be read."""

    def __init__(self, bus: NatsBus, clock: Clock) -> None:
        self.bus = bus
        self._clock = clock
        self.view = SessionView()
        self.bad = 0
        self._places: dict[str, int] = {stream.name: 0 for stream in STREAMS}

    @classmethod
    async def connect(cls, run: RunDirectory, nats_url: str, clock: Clock) -> Self:
        """Return a connected watcher; raise BusUnavailable."""
        password = run.token(f"nats-{Service.CONSOLE}.password").read_text(encoding="utf-8")
        return cls(await NatsBus.connect(nats_url, Service.CONSOLE, password), clock)

    async def catch_up(self) -> None:
        """Fold everything that is stored and not yet folded; a bus that is away is tried later."""
        for stream in self._places:
            try:
                await self._read(stream)
            except (BusError, TimeoutError):
                return

    async def all_of(self, stream: str) -> list[Message]:
        """Return every message of a stream that the services would take, from its first one."""
        found: list[Message] = []
        after = 0
        while batch := await self.bus.read(stream, after, READ_LIMIT):
            for stored in batch:
                after = stored.sequence
                try:
                    found.append(read_stored(stored, self._clock.now_ns()))
                except Refused:
                    self.bad += 1
        return found

    async def newest_of(self, kind: type[MessageType]) -> list[MessageType]:
        """Return the newest message of a kind on each of its subjects; raise BusError."""
        (subject,) = [one for one in SUBJECTS if kind in one.carries]
        found: list[MessageType] = []
        for stored in await self.bus.last_per_subject(subject.stream, wildcard(subject.pattern)):
            try:
                message = read_stored(stored, self._clock.now_ns())
            except Refused:
                self.bad += 1
                continue
            if isinstance(message, kind):
                found.append(message)
        return found

    async def close(self) -> None:
        """Let go of the bus."""
        await self.bus.close()

    async def _read(self, stream: str) -> None:
        for _ in range(ROUNDS_MAX):
            batch = await self.bus.read(stream, self._places[stream], READ_LIMIT)
            if not batch:
                return
            for stored in batch:
                self._places[stream] = stored.sequence
                try:
                    message = read_stored(stored, self._clock.now_ns())
                except Refused:
                    self.bad += 1
                else:
                    self.view.apply(message, stream, stored.sequence)
            await asyncio.sleep(0)
