"""The session over real sockets: handshake headers, recovery, silence, and what ends it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager

import msgspec
import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import InvalidURI

from libs.common.clock import Clock, ManualClock, SystemClock
from libs.kalshi.ws import BOOKS, KalshiStream
from libs.kalshi.ws_events import BadFrame, Gap, Snapshot, StreamEvent, Subscribed
from libs.kalshi.ws_session import SessionLimits, StreamSession

LIMITS = SessionLimits(
    probe_after_s=1.0, silence_s=10.0, backoff_first_s=0.001, backoff_max_s=0.002
)
S = 1_000_000_000
Serve = Callable[[ServerConnection], Awaitable[None]]


async def headers() -> Mapping[str, str]:
    return {"KALSHI-ACCESS-KEY": "key"}


def frame(**fields: object) -> str:
    return msgspec.json.encode(fields).decode() + "\n"


async def answer_subscribe(socket: ServerConnection) -> None:
    """Take one subscribe and give the subscription and a snapshot of each market."""
    command = msgspec.json.decode(await socket.recv())
    assert command["params"]["use_yes_price"] is True
    await socket.send(frame(type="subscribed", id=command["id"], msg={"channel": BOOKS, "sid": 1}))
    for seq, ticker in enumerate(command["params"]["market_tickers"], 1):
        msg = {"market_ticker": ticker, "yes_dollars_fp": [["0.4700", "3.00"]]}
        await socket.send(frame(type="orderbook_snapshot", sid=1, seq=seq, msg=msg))


class Consumer:
    """Keep the events; `seen(count)` waits until that many came."""

    def __init__(self) -> None:
        self.events: list[StreamEvent] = []
        self._changed = asyncio.Event()

    async def __call__(self, events: list[StreamEvent], received_ns: int) -> None:
        self.events += events
        self._changed.set()

    async def seen(self, count: int) -> list[StreamEvent]:
        async with asyncio.timeout(10):
            while len(self.events) < count:
                self._changed.clear()
                await self._changed.wait()
        return self.events


@asynccontextmanager
async def running(
    behave: Serve, consumer: Consumer, clock: Clock | None = None
) -> AsyncIterator[StreamSession]:
    async with serve(behave, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        stream = KalshiStream()
        stream.want(BOOKS, ["T1"], now_ns=0)
        session = StreamSession(
            f"ws://127.0.0.1:{port}/trade-api/ws/v2",
            stream,
            headers,
            consumer,
            clock or SystemClock(),
            LIMITS,
        )
        task = asyncio.create_task(session.run())
        try:
            yield session
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def test_a_book_arrives_over_a_signed_compressed_connection() -> None:
    seen: dict[str, str] = {}

    async def behave(socket: ServerConnection) -> None:
        assert socket.request is not None
        seen.update(socket.request.headers.raw_items())
        seen["path"] = socket.request.path
        await answer_subscribe(socket)
        await socket.wait_closed()

    consumer = Consumer()
    async with running(behave, consumer) as session:
        assert await consumer.seen(2) == [
            Subscribed(BOOKS, 1),
            Snapshot("T1", ((4700, 300),), (), 1, 1, None),
        ]
        assert session.is_connected
    assert seen["path"] == "/trade-api/ws/v2"
    assert seen["KALSHI-ACCESS-KEY"] == "key"
    assert "permessage-deflate" in seen["Sec-WebSocket-Extensions"]


async def test_a_lost_connection_is_a_gap_and_comes_back() -> None:
    async def behave(socket: ServerConnection) -> None:
        await answer_subscribe(socket)
        await socket.close()

    consumer = Consumer()
    async with running(behave, consumer) as session:
        events = await consumer.seen(6)
        assert [type(event) for event in events[:6]] == 2 * [Subscribed, Snapshot, Gap]
        assert session.connections_count >= 2


async def test_a_frame_over_the_limit_and_garbage_do_not_end_the_session() -> None:
    async def behave(socket: ServerConnection) -> None:
        await answer_subscribe(socket)
        await socket.send("garbage")
        await socket.send("x" * (LIMITS.frame_bytes_max + 1))
        await socket.wait_closed()

    consumer = Consumer()
    async with running(behave, consumer):
        events = await consumer.seen(8)
        assert [type(one) for one in events[:5]] == [
            Subscribed,
            Snapshot,
            BadFrame,
            Gap,
            Subscribed,
        ]


async def test_a_refused_handshake_is_tried_again() -> None:
    tried = 0

    async def behave(socket: ServerConnection) -> None:
        await answer_subscribe(socket)
        await socket.wait_closed()

    async def unsigned() -> Mapping[str, str]:
        nonlocal tried
        tried += 1
        if tried < 3:
            raise TimeoutError("the signer does not answer")
        return {}

    consumer = Consumer()
    async with serve(behave, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        stream = KalshiStream()
        stream.want(BOOKS, ["T1"], now_ns=0)
        url = f"ws://127.0.0.1:{port}/"
        session = StreamSession(url, stream, unsigned, consumer, SystemClock(), LIMITS)
        task = asyncio.create_task(session.run())
        events = await consumer.seen(4)
        assert [type(one) for one in events] == [Gap, Gap, Subscribed, Snapshot]
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_silence_is_probed_and_then_left() -> None:
    """On a hand-moved clock: a probe after 1 s, a new connection after 10 s without an answer."""
    clock = ManualClock(S)
    probed = asyncio.Event()
    left = asyncio.Event()

    async def behave(socket: ServerConnection) -> None:
        await answer_subscribe(socket)
        async for text in socket:
            if msgspec.json.decode(text)["cmd"] == "list_subscriptions":
                probed.set()
        left.set()

    consumer = Consumer()
    async with running(behave, consumer, clock) as session, asyncio.timeout(20):
        await consumer.seen(2)
        await clock.advance_to(2 * S)
        await probed.wait()
        assert session.connections_count == 1
        await clock.advance_to(12 * S)
        await consumer.seen(4)
        reasons = [event.reason for event in consumer.events if isinstance(event, Gap)]
        assert reasons == ["no answer to get_snapshot", "nothing heard for 11.0 s"]
        await left.wait()


async def test_silence_is_noticed_on_a_clock_that_was_set_back() -> None:
    noticed = asyncio.Event()

    class SetBack(ManualClock):
        behind_ns = 0

        def now_ns(self) -> int:
            if self.behind_ns:
                noticed.set()
            return super().now_ns() - self.behind_ns

    clock = SetBack(1000 * S)
    left = asyncio.Event()

    async def behave(socket: ServerConnection) -> None:
        await answer_subscribe(socket)
        await socket.wait_closed()
        left.set()

    consumer = Consumer()
    async with running(behave, consumer, clock), asyncio.timeout(20):
        await consumer.seen(2)
        clock.behind_ns = 300 * S
        await noticed.wait()
        await clock.advance_to(1011 * S)
        await left.wait()


@pytest.mark.parametrize("location", ["ws://127.0.0.1:1/", "http://[", "\x00", "/elsewhere"])
async def test_a_redirect_is_refused_and_the_session_goes_on(location: str) -> None:
    """Signed headers are for one host; and a redirect to nonsense must not end the process."""
    requests = 0

    async def redirect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal requests
        await reader.readuntil(b"\r\n\r\n")
        requests += 1
        head = f"HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n"
        writer.write(head.encode())
        writer.close()

    consumer = Consumer()
    async with await asyncio.start_server(redirect, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        stream = KalshiStream()
        stream.want(BOOKS, ["T1"], now_ns=0)
        url = f"ws://127.0.0.1:{port}/trade-api/ws/v2"
        session = StreamSession(url, stream, headers, consumer, SystemClock(), LIMITS)
        task = asyncio.create_task(session.run())
        gaps = await consumer.seen(3)
        assert all(isinstance(one, Gap) and "handshake refused" in one.reason for one in gaps)
        assert requests >= 3
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def test_an_impossible_address_is_refused_at_once() -> None:
    with pytest.raises(InvalidURI):
        StreamSession("http://host/", KalshiStream(), headers, Consumer(), SystemClock())


async def test_what_the_handler_raises_ends_the_session() -> None:
    async def behave(socket: ServerConnection) -> None:
        await answer_subscribe(socket)
        await socket.wait_closed()

    async def broken(events: list[StreamEvent], received_ns: int) -> None:
        raise ConnectionError("the bus is gone")

    async with serve(behave, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        stream = KalshiStream()
        stream.want(BOOKS, ["T1"], now_ns=0)
        url = f"ws://127.0.0.1:{port}/"
        session = StreamSession(url, stream, headers, broken, SystemClock(), LIMITS)
        with pytest.raises(ConnectionError, match="the bus is gone"):
            async with asyncio.timeout(10):
                await session.run()
