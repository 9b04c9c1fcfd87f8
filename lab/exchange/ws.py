"""One WebSocket connection: commands in, frames out through a bounded queue."""

import asyncio
from contextlib import suppress

import msgspec
from aiohttp import WSMsgType, web

from lab.exchange.commands import Commands, Json, error_frame
from lab.exchange.feed import Feed, Subscription
from lab.exchange.wire import wire_ms
from libs.common.clock import Clock

MESSAGE_BYTES_MAX = 1_000_000
CLOSE_TIMEOUT_S = 1.0
_encoder = msgspec.json.Encoder()


class Connection:
    """Serve one client until it leaves, or is dropped for not reading."""

    def __init__(
        self, feed: Feed, clock: Clock, account: str, frames_max: int, ping_s: float
    ) -> None:
        self._clock = clock
        self._ping_s = ping_s
        self._frames: asyncio.Queue[Json] = asyncio.Queue(frames_max)
        self._overflow = asyncio.Event()
        self._overflow_sid: int | None = None
        self.commands = Commands(feed, account, self._put, self._put_numbered, clock.now_ns)
        self._socket = web.WebSocketResponse(
            timeout=CLOSE_TIMEOUT_S, autoping=True, compress=True, max_msg_size=MESSAGE_BYTES_MAX
        )

    async def serve(self, request: web.BaseRequest, date: str) -> web.WebSocketResponse:
        """Do the handshake and everything after it. Returns when the connection is over."""
        self._socket.headers["Date"] = date
        await self._socket.prepare(request)
        tasks = [
            asyncio.create_task(work)
            for work in (self._read(), self._write(), self._ping(), self._overflow.wait())
        ]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.commands.close()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._leave(request)
        return self._socket

    async def close(self) -> None:
        """Say good-bye from our side."""
        with suppress(ConnectionError, TimeoutError):
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self._socket.close(code=1001)

    async def _read(self) -> None:
        async for message in self._socket:
            if message.type in (WSMsgType.TEXT, WSMsgType.BINARY):
                self.commands.run(message.data)

    async def _write(self) -> None:
        with suppress(ConnectionError):
            while True:
                frame = await self._frames.get()
                await self._send(frame)

    async def _send(self, frame: Json) -> None:
        frame["sending_ts_ms"] = wire_ms(self._clock.now_ns())
        await self._socket.send_str(_encoder.encode(frame).decode() + "\n")

    async def _ping(self) -> None:
        with suppress(ConnectionError):
            while True:
                await self._clock.sleep(self._ping_s)
                await self._socket.ping(b"heartbeat")

    async def _leave(self, request: web.BaseRequest) -> None:
        with suppress(ConnectionError, TimeoutError):
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                if self._overflow.is_set():
                    frame = error_frame(25)
                    if self._overflow_sid is not None:
                        frame["sid"] = self._overflow_sid
                    await self._send(frame)
                await self._socket.close()
        if self._overflow.is_set() and request.transport is not None:
            request.transport.abort()

    def _put(self, frame: Json) -> None:
        self._enqueue(frame, None)

    def _put_numbered(self, subscription: Subscription, frame: Json) -> None:
        self._enqueue(frame, subscription.sid)

    def _enqueue(self, frame: Json, sid: int | None) -> None:
        if self._overflow.is_set():
            return
        try:
            self._frames.put_nowait(frame)
        except asyncio.QueueFull:
            self._overflow_sid = sid
            self._overflow.set()
