"""The end of the broker while the exchange is slow: what lands late is cancelled too."""

import asyncio

from libs.kalshi.transport import AiohttpTransport
from services.broker.app import BrokerApp
from tests.services.broker.rig import A, quote
from tests.services.broker.stack import stack


class Late:
    """A transport on which an order arrives only after the account was cancelled."""

    def __init__(self):
        self._inner = AiohttpTransport()
        self.asked = asyncio.Event()
        self._swept = asyncio.Event()

    async def send(self, method, url, headers, body):
        if method == "POST" and url.endswith("/orders"):
            self.asked.set()
            await self._swept.wait()
        answer = await self._inner.send(method, url, headers, body)
        if method == "DELETE" and url.endswith("/orders"):
            self._swept.set()
        return answer

    async def close(self):
        await self._inner.close()


async def test_an_order_that_lands_after_the_last_sweep_is_still_cancelled(tmp_path):
    transport = Late()

    class App(BrokerApp):
        def make_transport(self):
            return transport

    async with stack(tmp_path / "run") as running:
        running.make_app = App
        running.changes = {"drain_s": 4.0}
        await running.start_broker()
        running.give(quote(A, "bid", 4_500, 500))
        async with asyncio.timeout(10):
            await transport.asked.wait()
        await running.stop_broker()
        assert running.resting() == {}
        assert set(running.states().values()) == {"cancelled"}
