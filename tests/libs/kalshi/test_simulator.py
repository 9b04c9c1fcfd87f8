"""Client, signer and stream against the exchange simulator: one order's whole life."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from lab.exchange.app import serve
from lab.exchange.config import ExchangeConfig
from lab.exchange.ladders import LadderConfig
from libs.common.clock import ManualClock
from libs.domain.tickers import parse_event_ticker
from libs.kalshi.errors import RefusedError
from libs.kalshi.rest import KalshiClient
from libs.kalshi.signing import WEBSOCKET_METHOD, WEBSOCKET_PATH
from libs.kalshi.transport import AiohttpTransport
from libs.kalshi.wire.frames import OrderUpdate
from libs.kalshi.wire.orders import Amendment, NewOrder
from libs.kalshi.ws import BOOKS, KalshiStream
from libs.kalshi.ws_events import Delta, Snapshot, StreamEvent
from libs.kalshi.ws_session import StreamSession
from services.broker.signing import Ed25519Signer, RsaSigner, load_signer

EVENT = "KXINXU-26OCT02H1100"
TARGET_NS = parse_event_ticker(EVENT).target_ns
START_NS = TARGET_NS - 900_000_000_000
KEY_ID = "11111111-1111-4111-8111-111111111111"


class Desk:
    """A started exchange, our client and our signer on one clock."""

    def __init__(self, port: int, clock: ManualClock, signer: RsaSigner | Ed25519Signer) -> None:
        self.clock = clock
        self.signer = signer
        self.host = f"127.0.0.1:{port}"
        url = f"http://{self.host}/trade-api/v2"
        self.client = KalshiClient(url, AiohttpTransport(), clock, signer)

    async def headers(self) -> Mapping[str, str]:
        now_ms = self.clock.now_ns() // 1_000_000
        return self.signer.sign(now_ms, WEBSOCKET_METHOD, WEBSOCKET_PATH)


@pytest.fixture(params=["rsa", "ed25519"])
async def desk(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Desk]:
    key: rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey
    if request.param == "rsa":
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    else:
        key = ed25519.Ed25519PrivateKey.generate()
    keys = tmp_path / "keys"
    keys.mkdir()
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (keys / f"{KEY_ID}.pub.pem").write_bytes(public)
    private = tmp_path / "key.pem"
    private.touch(0o600)
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    ladder = LadderConfig(
        series="KXINXU", target_ns=TARGET_NS, centre_e4=78_700_000, step_e4=100_000, rungs=5
    )
    config = ExchangeConfig(
        keys_dir=str(keys), truth_path=str(tmp_path / "truth.jsonl"), ladders=(ladder,)
    )
    clock = ManualClock(START_NS)
    server = await serve(config, clock)
    running = Desk(server.port, clock, load_signer(KEY_ID, private))
    yield running
    await running.client.close()
    await server.stop()


async def test_an_order_is_placed_seen_amended_and_cancelled(desk: Desk) -> None:
    client = desk.client
    assert (await client.exchange_status()).trading_active
    (event,) = await client.events("KXINXU")
    assert event.event_ticker == EVENT
    assert event.markets is not None
    market = event.markets[2]
    assert market.strike_type == "greater"
    assert market.floor_e4 is not None
    assert (await client.account_limits()).write.bucket_capacity > 0
    order = NewOrder(
        ticker=market.ticker,
        client_order_id="first",
        side="ask",
        price_e4=6000,
        count_e2=250,
        expires_ns=TARGET_NS - 2_000_000_000,
    )
    created = await client.create_order(order)
    assert (created.filled_e2, created.remaining_e2) == (0, 250)
    with pytest.raises(RefusedError) as refused:
        await client.create_order(order)
    assert (refused.value.status, refused.value.code) == (409, "order_already_exists")
    assert (await client.orderbook(market.ticker)).asks == ((6000, 250),)
    (resting,) = await client.orders(status="resting")
    assert (resting.client_order_id, resting.side, resting.price_e4) == ("first", "ask", 6000)
    assert resting.expiration_ns == TARGET_NS - 2_000_000_000
    (queue,) = await client.queue_positions(event_ticker=EVENT)
    assert queue.order_id == created.order_id
    change = Amendment(ticker=market.ticker, side="ask", price_e4=6100, total_e2=100)
    amended = await client.amend_order(created.order_id, change)
    assert amended.remaining_e2 in (None, 100)
    assert (await client.cancel_order(amended.order_id)).reduced_by_e2 == 100
    with pytest.raises(RefusedError) as gone:
        await client.cancel_order(amended.order_id)
    assert gone.value.status == 404
    await client.cancel_all()
    assert await client.fills() == []
    assert await client.positions() == []
    assert client.last_skew_ns is not None
    assert abs(client.last_skew_ns) <= 1_000_000_000


async def test_the_stream_shows_our_own_order(desk: Desk) -> None:
    (event,) = await desk.client.events("KXINXU")
    assert event.markets is not None
    tickers = [market.ticker for market in event.markets]
    stream = KalshiStream()
    stream.want(BOOKS, tickers, now_ns=0)
    stream.want("user_orders", now_ns=0)
    stream.want("fill", now_ns=0)
    arrived: asyncio.Queue[StreamEvent] = asyncio.Queue()

    async def handle(events: list[StreamEvent], received_ns: int) -> None:
        for one in events:
            arrived.put_nowait(one)

    url = f"ws://{desk.host}{WEBSOCKET_PATH}"
    session = StreamSession(url, stream, desk.headers, handle, desk.clock)
    task = asyncio.create_task(session.run())
    async with asyncio.timeout(20):
        seen: list[StreamEvent] = []
        while sum(isinstance(one, Snapshot) for one in seen) < len(tickers):
            seen.append(await arrived.get())
        assert not any(stream.is_stale(ticker) for ticker in tickers)
        order = NewOrder(
            ticker=tickers[0],
            client_order_id="seen",
            side="ask",
            price_e4=7000,
            count_e2=100,
            expires_ns=None,
        )
        created = await desk.client.create_order(order)
        seen.clear()
        while not {Delta, OrderUpdate} <= {type(one) for one in seen}:
            seen.append(await arrived.get())
    (change,) = [one for one in seen if isinstance(one, Delta)]
    assert (change.ticker, change.side, change.price_e4, change.change_e2) == (
        tickers[0],
        "ask",
        7000,
        100,
    )
    (update,) = [one for one in seen if isinstance(one, OrderUpdate)]
    assert (update.order_id, update.client_order_id) == (created.order_id, "seen")
    assert (update.status, update.remaining_e2) == ("resting", 100)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
