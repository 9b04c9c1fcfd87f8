"""NATS neither answers nor fails: what is not wanted leaves the exchange all the same."""

import asyncio

from libs.common.memory_bus import MemoryBus
from tests.services.broker.rig import A, quote
from tests.services.broker.stack import stack, until


class StuckBus(MemoryBus):
    """A bus whose server stops to acknowledge orders when told to."""

    stuck = False

    def publish(self, subject, data, *, message_id, fence=None):
        if self.stuck and subject.startswith("orders."):
            return asyncio.get_running_loop().create_future()
        return super().publish(subject, data, message_id=message_id, fence=fence)


async def test_a_quote_that_is_not_wanted_any_more_does_not_wait_for_a_stuck_bus(tmp_path):
    async with stack(tmp_path / "run") as running:
        running.make_bus = lambda service: StuckBus(running.hub, service)
        await running.start_broker()
        running.give(quote(A, "bid", 4_500, 500))
        await until(lambda: running.resting() == {(A, "bid"): (4_500, 500)}, "the quote at rest")
        running.runner.context.bus.stuck = True
        running.give()
        await until(lambda: running.resting() == {}, "nothing at rest", seconds=5.0)
        running.give(quote(A, "bid", 4_500, 500))
        await until(lambda: len(running.app.core.state.orders) == 2, "the intent of another")
        assert running.resting() == {}, "nothing is placed before its intent is stored"
