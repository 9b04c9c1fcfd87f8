"""monitors with its own rights on a running server: what it reads, and what it may say."""

import asyncio
from pathlib import Path

from msgspec.structs import replace

from libs.common.clock import ManualClock
from libs.common.messages import Message, MonitorResult, decode, encode
from libs.common.runner import Runner
from libs.common.topology import Service, subject_of
from services.monitors.app import MonitorsApp
from tests.nats_fixture import NatsRig
from tests.services.monitors.test_app import config
from tests.services.monitors.watching import NOW, S, order, skew


async def test_it_recovers_reads_and_tells(fresh_nats: NatsRig, tmp_path: Path) -> None:
    async def store(service: Service, message: Message) -> None:
        bus = await fresh_nats.connect(service)
        await bus.publish(subject_of(message), encode(message), message_id=message.id)
        await bus.close()

    await store(Service.BROKER, order("unknown"))
    clock, settings = ManualClock(NOW), config(tmp_path)
    runner = Runner(
        MonitorsApp(settings), await fresh_nats.connect(Service.MONITORS), clock, settings
    )
    task = asyncio.create_task(runner.run())
    reader = await fresh_nats.connect(Service.REPORTING)
    try:
        states: dict[str, list[str]] = {}
        told = False
        async with asyncio.timeout(30):
            while "OK" not in states.get("clock_skew", []):
                assert not task.done(), task.exception()
                await clock.advance_to(clock.now_ns() + S)
                stored = [decode(one.data) for one in await reader.read("STATUS", 0)]
                states = {}
                for message in stored:
                    if isinstance(message, MonitorResult):
                        states.setdefault(message.monitor, []).append(message.state)
                if states and not told:
                    told = True
                    await store(Service.FEEDS, replace(skew(0.1, clock.now_ns()), id="skew"))
        assert states["unknown_orders"][0] == "ALERT"
        assert states["clock_skew"][0] == "NO_DATA"
        assert "ALERT" in states["kill_switch"]  # never set
    finally:
        runner.stop()
        await asyncio.gather(task, return_exceptions=True)
        await reader.close()
    assert task.exception() is None
