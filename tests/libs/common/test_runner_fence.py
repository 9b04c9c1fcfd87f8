"""How the runner lets a fence move: nothing refused, nothing lost, nothing out of order."""

import asyncio

import pytest
from msgspec.structs import replace

from libs.common.bus import Fence, FenceRefused
from libs.common.effects import Publish
from libs.common.memory_bus import MemoryBus
from libs.common.messages import decode, encode
from libs.common.topology import Service, subject_of
from tests.libs.common.runner_rig import EPOCH, UPDATE, Rig


class LateBus(MemoryBus):
    """A bus whose acknowledgements wait until they are let through."""

    let_through: asyncio.Event

    def publish(
        self, subject: str, data: bytes, *, message_id: str, fence: Fence | None = None
    ) -> asyncio.Future[int]:
        stored = super().publish(subject, data, message_id=message_id, fence=fence)

        async def acknowledged() -> int:
            await self.let_through.wait()
            return await stored

        return asyncio.ensure_future(acknowledged())


async def test_nothing_fenced_is_under_way_while_the_fence_moves(rig: Rig) -> None:
    """Else the server would refuse it, and its writer would take itself for deposed."""
    late = LateBus(rig.hub, Service.BROKER)
    late.let_through = asyncio.Event()
    rig.bus = late
    await rig.ready()
    rig.store(EPOCH)
    app, context = rig.app, rig.app.context
    assert context is not None
    app.fence = rig.hub.log("ORDERS").last_sequence
    names = iter("abc")
    app.core.answer = lambda _: [Publish(message=replace(UPDATE, id=next(names)), fenced=True)]
    sent = rig.kick()
    again = replace(EPOCH, id="again")

    async def move() -> None:
        assert sent[0].done(), "what names the old fence has its answer"
        sent.extend(rig.kick())
        fence = Fence(subject_of(again), 1)
        app.fence = await late.publish(fence.subject, encode(again), message_id="m", fence=fence)

    moving = asyncio.create_task(context.move_fence(move))
    await asyncio.sleep(0)
    sent += rig.kick()
    late.let_through.set()
    await moving
    assert await asyncio.gather(*sent) == [2, 4, 5]
    stored = [decode(one.data).id for one in rig.hub.log("ORDERS").after(0)]
    assert stored == ["epoch", "a", "again", "b", "c"]


async def test_what_waited_for_a_fence_that_another_moved_is_refused(rig: Rig) -> None:
    await rig.ready()
    rig.store(EPOCH)
    app, context = rig.app, rig.app.context
    assert context is not None
    app.fence = rig.hub.log("ORDERS").last_sequence
    app.core.answer = lambda _: [Publish(message=UPDATE, fenced=True)]

    async def move() -> None:
        held.extend(rig.kick())
        rig.store(EPOCH)  # another broker took over meanwhile
        fence = Fence(subject_of(EPOCH), 1)
        await rig.bus.publish(fence.subject, encode(EPOCH), message_id="again", fence=fence)

    held: list[asyncio.Future[int]] = []
    with pytest.raises(FenceRefused):
        await context.move_fence(move)
    with pytest.raises(FenceRefused):
        await held[0]
    assert "FenceRefused" in str(await rig.ended())
    assert len(rig.hub.log("ORDERS").after(0)) == 2
