"""A runner over a bus in memory, with a service that does as the test says."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

from msgspec.structs import replace

from libs.common.clock import ManualClock
from libs.common.config import ServiceConfig
from libs.common.effects import (
    Effect,
    Event,
    Received,
    TimerFired,
)
from libs.common.memory_bus import MemoryHub
from libs.common.messages import (
    BrokerEpoch,
    DeadLetter,
    Heartbeat,
    Message,
    OrderUpdate,
    Verdict,
    decode,
    derived_id,
    encode,
)
from libs.common.runner import AppBase, Context, Runner
from libs.common.topology import Service, subject_of
from tests.libs.common.samples import NOON, SAMPLES

S = 1_000_000_000
NOW = NOON - 890 * S
TOKEN = "the-token-of-the-run"
(VERDICT,) = [sample for sample in SAMPLES if isinstance(sample, Verdict)]
(UPDATE,) = [sample for sample in SAMPLES if isinstance(sample, OrderUpdate)]
(EPOCH,) = [replace(s, id="epoch") for s in SAMPLES if isinstance(s, BrokerEpoch)]


class Act(Effect, frozen=True, kw_only=True):
    name: str


class Kick(Event, frozen=True, kw_only=True):
    name: str


class ScriptedCore:
    """A core that remembers events and answers as the test says."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.answer: Callable[[Event], Sequence[Effect]] = lambda _: ()

    def handle(self, event: Event) -> Sequence[Effect]:
        self.events.append(event)
        return self.answer(event)


class ScriptedApp(AppBase):
    """The broker's place in the topology, with nothing in it."""

    service = Service.BROKER

    def __init__(self) -> None:
        self.core = ScriptedCore()
        self.fence: int | None = None
        self.log: list[str] = []
        self.performed: list[tuple[str, list[bool]]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.context: Context | None = None
        self.end = asyncio.Event()
        self.fails_in = ""

    async def recover(self, context: Context) -> None:
        self.context = context
        self.log.append("recover")
        await self.gate.wait()
        self._fail("recover")
        self.log.append("recovered")

    async def run(self, context: Context) -> None:
        self.log.append("run")
        self._fail("run")
        await self.end.wait()

    async def drain(self, context: Context) -> None:
        self.log.append("drain")
        self._fail("drain")

    def perform(self, effect: Effect, after: Sequence[asyncio.Future[int]]) -> None:
        assert isinstance(effect, Act)
        self._fail("perform")
        self.performed.append((effect.name, [future.done() for future in after]))

    def detail(self) -> str:
        return "all quiet"

    def _fail(self, place: str) -> None:
        if self.fails_in == place:
            raise ValueError(f"broken in {place}")


class Rig:
    def __init__(self, directory: Path) -> None:
        self.clock = ManualClock(NOW)
        self.hub = MemoryHub(self.clock.now_ns)
        self.app = ScriptedApp()
        token = directory / "token"
        token.write_text(TOKEN)
        self.config = ServiceConfig(
            service="broker",
            instance="broker-1",
            nats_url="unused",
            nats_password_file=str(token),
            admin_token_file=str(token),
        )
        self.bus = self.hub.bus(Service.BROKER)
        self.runner: Runner | None = None
        self.task: asyncio.Task[None] | None = None
        self.count = 0

    def store(self, message: Message) -> None:
        self.put(subject_of(message), encode(message))

    def put(self, subject: str, data: bytes) -> None:
        self.count += 1
        self.hub.append(subject, data, derived_id("m", self.count), None)

    def start(self) -> None:
        self.runner = Runner(self.app, self.bus, self.clock, self.config)
        self.bus.fatal.add_done_callback(self.runner.context.fail_with)
        self.task = asyncio.create_task(self.runner.run())

    async def until(self, wanted: Callable[[], object]) -> None:
        async with asyncio.timeout(10):
            while not wanted():
                if self.task is not None and self.task.done():
                    raise AssertionError(f"ended early: {self.task.exception()!r}")
                await asyncio.sleep(0.001)

    async def ready(self) -> None:
        self.start()
        await self.until(lambda: "run" in self.app.log)

    async def ended(self) -> BaseException | None:
        assert self.task is not None
        async with asyncio.timeout(20):
            await asyncio.wait({self.task})
        return self.task.exception()

    def kick(self, name: str = "kick") -> list[asyncio.Future[int]]:
        assert self.app.context is not None
        return self.app.context.dispatch(Kick(now_ns=self.clock.now_ns(), name=name))

    def beats(self) -> list[Heartbeat]:
        found = [decode(one.data) for one in self.hub.log("STATUS").after(0)]
        return [message for message in found if isinstance(message, Heartbeat)]

    def letters(self) -> list[DeadLetter]:
        found = [decode(one.data) for one in self.hub.log("DEAD").after(0)]
        return [message for message in found if isinstance(message, DeadLetter)]

    def received(self) -> list[Message]:
        return [e.message for e in self.app.core.events if isinstance(e, Received)]

    def fired(self) -> list[tuple[str, int, int]]:
        events = [e for e in self.app.core.events if isinstance(e, TimerFired)]
        return [(e.key, e.at_ns, e.now_ns) for e in events]
