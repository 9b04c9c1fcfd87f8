"""The runner sees when this machine's clock is set, and tells the core before anything else."""

from collections.abc import Sequence
from pathlib import Path

from libs.common.clock import ManualClock
from libs.common.config import ServiceConfig
from libs.common.effects import Effect, Event
from libs.common.memory_bus import MemoryHub
from libs.common.runner import AppBase, Context
from libs.common.topology import Service

S = 1_000_000_000


class SetClock(ManualClock):
    """A clock that somebody sets."""

    ahead_ns = 0

    def now_ns(self) -> int:
        return super().now_ns() + self.ahead_ns


class Named(Event, frozen=True, kw_only=True):
    name: str


class Listener(AppBase):
    """An app and its core in one, which note what they are told."""

    service = Service.BROKER

    def __init__(self) -> None:
        self.core = self
        self.heard: list[str] = []

    def handle(self, event: Event) -> Sequence[Effect]:
        assert isinstance(event, Named)
        self.heard.append(event.name)
        return ()

    def clock_set(self, by_ns: int) -> Event | None:
        return Named(now_ns=0, name=f"set by {by_ns / S:.2f} s")

    async def recover(self, context: Context) -> None:
        """Do nothing."""

    async def run(self, context: Context) -> None:
        """Do nothing."""


async def test_the_core_is_told_before_it_is_told_more(tmp_path: Path) -> None:
    clock, app = SetClock(1_000 * S), Listener()
    config = ServiceConfig(
        service="broker", nats_url="unused", nats_password_file="", admin_token_file=""
    )
    context = Context(app, MemoryHub(clock.now_ns).bus(Service.BROKER), clock, config)

    def tell(name: str) -> None:
        context.dispatch(Named(now_ns=clock.now_ns(), name=name))

    tell("one")
    clock.ahead_ns = 300 * S
    tell("two")
    await clock.advance_to(1_005 * S)
    tell("three")
    clock.ahead_ns += S // 20  # a correction, not a step
    tell("four")
    clock.ahead_ns = 0
    tell("five")
    set_back = "set by -300.05 s"
    assert app.heard == ["one", "set by 300.00 s", "two", "three", "four", set_back, "five"]
