"""A process that waits for another one's work says nothing in the service's name."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from libs.common.runner import Context
from tests.libs.common.runner_rig import NOW, Rig, S, ScriptedApp


class StandingBy(ScriptedApp):
    """Wait for the gate as a broker waits for the lease."""

    async def recover(self, context: Context) -> None:
        await context.stand_by(True)
        self.log.append("waits")
        await self.gate.wait()
        await context.stand_by(False)


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    rig = Rig(tmp_path)
    rig.app = StandingBy()
    rig.app.gate.clear()
    rig.start()
    await rig.until(lambda: "waits" in rig.app.log)
    yield rig
    if rig.runner is not None and rig.task is not None:
        rig.runner.stop()
        await asyncio.gather(rig.task, return_exceptions=True)


async def test_no_heartbeat_before_it_takes_over(rig: Rig) -> None:
    await rig.clock.advance_to(NOW + 60 * S)  # a dozen would have been due
    assert rig.beats() == []
    rig.app.gate.set()
    await rig.until(lambda: [beat.state for beat in rig.beats()] == ["READY"])
    await rig.clock.advance_to(NOW + 66 * S)
    assert [beat.state for beat in rig.beats()] == ["READY", "READY"]


async def test_one_that_ends_waiting_does_not_say_that_the_service_ends(rig: Rig) -> None:
    assert rig.runner is not None
    rig.runner.stop()
    assert await rig.ended() is None
    assert rig.beats() == []
