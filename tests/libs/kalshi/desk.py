"""Our client and signer at a running simulator, with other participants and a hand-moved clock."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from libs.common.clock import ManualClock
from libs.kalshi.caller import ONCE, Repeats
from libs.kalshi.rest import KalshiClient
from libs.kalshi.signing import WEBSOCKET_METHOD, WEBSOCKET_PATH
from libs.kalshi.transport import AiohttpTransport, Timeouts
from libs.kalshi.wire.orders import Created, NewOrder
from services.broker.signing import Ed25519Signer, RsaSigner
from tests.lab.exchange.harness import (
    ED_ID,
    ED_KEY,
    MARKET,
    RSA_ID,
    RSA_KEY,
    Exchange,
    running_exchange,
)

Signer = RsaSigner | Ed25519Signer
SIGNERS: dict[str, Signer] = {
    "rsa": RsaSigner(RSA_ID, RSA_KEY),
    "ed25519": Ed25519Signer(ED_ID, ED_KEY),
}


class OffClock:
    """The exchange's clock, seen from a machine whose own is wrong."""

    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock
        self.ahead_ns = 0

    def now_ns(self) -> int:
        return self._clock.now_ns() + self.ahead_ns

    def steady_ns(self) -> int:
        return self._clock.steady_ns()

    async def sleep_until(self, at_ns: int) -> None:
        await self._clock.sleep_until(at_ns - self.ahead_ns)

    async def sleep(self, seconds: float) -> None:
        await self._clock.sleep(seconds)


class Desk:
    """One account's client; `exchange` is the other end of it."""

    def __init__(self, exchange: Exchange, signer: Signer, repeats: Repeats = ONCE) -> None:
        self.exchange = exchange
        self.signer = signer
        self.clock = OffClock(exchange.clock)
        url = f"http://127.0.0.1:{exchange.server.port}/trade-api/v2"
        transport = AiohttpTransport(Timeouts(connect_s=2.0, total_s=2.0))
        self.client = KalshiClient(url, transport, self.clock, signer, repeats)

    @property
    def ws_url(self) -> str:
        return self.exchange.ws_url

    async def headers(self) -> Mapping[str, str]:
        return self.signer.sign(self.client.signing_ms, WEBSOCKET_METHOD, WEBSOCKET_PATH)

    async def rest(self, name: str, side: Any = "bid", price_e4: int = 2000, **more: Any) -> str:
        """Let an order rest and return its id."""
        created = await self.client.create_order(order(name, side, price_e4, **more))
        assert created.filled_e2 == 0
        return created.order_id

    async def trade(self) -> Created:
        """Buy 5 of 8 contracts at 0.45 from somebody; 3 go on resting."""
        self.exchange.other_places("ask", 4_500, 500)
        self.exchange.other_places("ask", 4_700, 500)
        bought = order("bought", price_e4=4500, count_e2=800, post_only=False)
        return await self.client.create_order(bought)


def order(
    name: str, side: Any = "bid", price_e4: int = 2000, count_e2: int = 100, **more: Any
) -> NewOrder:
    """Return an order in the exchange's middle market."""
    return NewOrder(
        ticker=more.pop("ticker", MARKET),
        client_order_id=name,
        side=side,
        price_e4=price_e4,
        count_e2=count_e2,
        expires_ns=more.pop("expires_ns", None),
        **more,
    )


@asynccontextmanager
async def desk_at(
    path: Path, signer: str = "ed25519", repeats: Repeats = ONCE, **settings: Any
) -> AsyncIterator[Desk]:
    """Serve an exchange and sit at it."""
    async with running_exchange(path, **settings) as exchange:
        desk = Desk(exchange, SIGNERS[signer], repeats)
        try:
            yield desk
        finally:
            await desk.client.close()
