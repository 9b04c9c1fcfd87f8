"""One WebSocket connection: commands in, frames out through a bounded queue and the faults."""

import asyncio
from collections import Counter, deque
from collections.abc import Sequence
from contextlib import suppress

import msgspec
from aiohttp import WSMsgType, web
from msgspec import Struct

from lab.exchange.commands import Commands, Json, error_frame
from lab.exchange.fault_book import Entry, FaultBook, FramePlan
from lab.exchange.faults import FrameFacts, OnFrame, TerminalError
from lab.exchange.feed import SEQUENCED, Feed, Subscription
from lab.exchange.garbage import garbage_frame
from lab.exchange.model import NS_PER_S
from lab.exchange.wire import wire_ms
from libs.common.clock import Clock

MESSAGE_BYTES_MAX = 1_000_000
CLOSE_TIMEOUT_S = 1.0
_encoder = msgspec.json.Encoder()


class _Out(Struct, frozen=True):
    """What waits to be sent: a frame (None: just look again), and a fault to show first."""

    frame: Json | None
    subscription: Subscription | None = None
    strike: FramePlan | None = None


class Connection:
    """Serve one client until it leaves, or is dropped for not reading."""

    def __init__(
        self,
        number: int,
        key_id: str,
        account: str,
        feed: Feed,
        clock: Clock,
        faults: FaultBook,
        frames_max: int,
        ping_s: float,
    ) -> None:
        self.number = number
        self.key_id = key_id
        self.account = account
        self._clock = clock
        self._faults = faults
        self._ping_s = ping_s
        self._frames_max = frames_max
        self._frames: asyncio.Queue[_Out] = asyncio.Queue()  # bounded by what waits per sid
        self._waiting: Counter[int] = Counter()
        self._held: deque[tuple[int, _Out]] = deque()
        self._wakers: set[asyncio.Task[None]] = set()
        self._overflow = asyncio.Event()
        self._full_sids: set[int] = set()
        self._ended_sids: set[int] = set()
        self._is_cut = False
        self._close_code = 1000
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
            tasks += self._wakers
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._faults.forget(self.number)
            await self._leave(request)
        return self._socket

    async def close(self) -> None:
        """Say good-bye from our side."""
        with suppress(ConnectionError, TimeoutError):
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self._socket.close(code=1001)

    def strike(self, entry: Entry, now_ns: int) -> None:
        """Show a timed fault, once or on each subscription that it names."""
        fault = entry.fault
        assert isinstance(fault, OnFrame), fault
        chosen: Sequence[Subscription | None] = [
            each for each in self.commands.subscriptions.values() if self._is_hit(fault, each)
        ]
        if not isinstance(fault, TerminalError):
            chosen = chosen[:1]
            if fault.where.whole_connection:
                chosen = [None] if fault.where.matches(self._facts(None, "", "")) else []
        for subscription in chosen:
            plan = self._faults.strike_connection(entry, self.number, now_ns)
            self._enqueue(_Out(None, subscription, plan))

    def release(self) -> None:
        """Send at once what a silence holds back."""
        self._held = deque((0, out) for _, out in self._held)
        self._enqueue(_Out(None))

    async def _read(self) -> None:
        async for message in self._socket:
            if message.type in (WSMsgType.TEXT, WSMsgType.BINARY):
                self.commands.run(message.data)

    async def _write(self) -> None:
        with suppress(ConnectionError):
            while not self._is_cut:
                out = await self._frames.get()
                self._waiting[_sid_of(out)] -= 1
                if self._faults.watches_frames or self._held or self._ended_sids or not out.frame:
                    await self._write_through_faults(out)
                else:
                    await self._send(out.frame)

    async def _write_through_faults(self, out: _Out) -> None:
        await self._send_held()
        if out.strike is not None:
            await self._show(out.strike, out)
        if out.frame is None or self._is_cut:
            return
        if out.subscription is not None and out.subscription.sid in self._ended_sids:
            return
        facts = self._facts(out.subscription, out.frame["type"], _market_of(out.frame))
        plan = self._faults.on_frame(facts, self._clock.now_ns())
        if plan is None:
            await self._send(out.frame)
            return
        await self._show(plan, out)
        if self._is_cut or plan.terminal_code is not None or plan.lost:
            return
        if plan.hold_until_ns:
            self._hold(out, plan.hold_until_ns)
            return
        await self._send(out.frame)
        if plan.twice:
            await self._send(out.frame)

    async def _show(self, plan: FramePlan, out: _Out) -> None:
        """Do all of a plan that comes before the frame itself."""
        if plan.delay_ns:
            await self._clock.sleep(plan.delay_ns / NS_PER_S)
        if plan.garbage is not None:
            text = self._text(out.frame if out.frame is not None else {"type": "ok"})
            garbage = garbage_frame(*plan.garbage, text)
            if isinstance(garbage, bytes):
                await self._socket.send_bytes(garbage)
            else:
                await self._socket.send_str(garbage)
        if plan.terminal_code is not None and out.subscription is not None:
            await self._end_subscription(out.subscription, plan.terminal_code)
        if plan.disconnect is not None:
            self._is_cut = True
            self._close_code = plan.disconnect.code or 0

    async def _end_subscription(self, subscription: Subscription, code: int) -> None:
        if not self.commands.drop(subscription):
            return
        self._ended_sids.add(subscription.sid)
        frame: Json = {**error_frame(code), "sid": subscription.sid}
        if subscription.channel in SEQUENCED:
            frame["seq"] = subscription.seq + 1
        await self._send(frame)

    def _hold(self, out: _Out, until_ns: int) -> None:
        if len(self._held) >= self._frames_max:
            self._overflows(out.subscription)
            return
        if not self._held or self._held[-1][0] != until_ns:
            waker = asyncio.create_task(self._wake(until_ns))
            self._wakers.add(waker)
            waker.add_done_callback(self._wakers.discard)
        self._held.append((until_ns, out))

    async def _wake(self, at_ns: int) -> None:
        await self._clock.sleep_until(at_ns)
        self._enqueue(_Out(None))

    async def _send_held(self) -> None:
        while self._held and self._held[0][0] <= self._clock.now_ns():
            _, out = self._held.popleft()
            if out.frame is not None:
                await self._send(out.frame)

    async def _send(self, frame: Json) -> None:
        await self._socket.send_str(self._text(frame))

    def _text(self, frame: Json) -> str:
        frame["sending_ts_ms"] = wire_ms(self._clock.now_ns())
        return _encoder.encode(frame).decode() + "\n"

    async def _ping(self) -> None:
        with suppress(ConnectionError):
            while True:
                await self._clock.sleep(self._ping_s)
                if not self._faults.is_silent(self.number, self._clock.now_ns()):
                    await self._socket.ping(b"heartbeat")

    async def _leave(self, request: web.BaseRequest) -> None:
        is_torn = self._is_cut and not self._close_code
        if not is_torn and not self._overflow.is_set():
            with suppress(ConnectionError, TimeoutError):
                async with asyncio.timeout(CLOSE_TIMEOUT_S):
                    await self._socket.close(code=self._close_code)
        if (is_torn or self._overflow.is_set()) and request.transport is not None:
            request.transport.abort()

    def _facts(self, subscription: Subscription | None, kind: str, market: str) -> FrameFacts:
        return FrameFacts(
            connection=self.number,
            key_id=self.key_id,
            account=self.account,
            sid=None if subscription is None else subscription.sid,
            channel="" if subscription is None else subscription.channel,
            type=kind,
            market=market,
        )

    def _is_hit(self, fault: OnFrame, subscription: Subscription) -> bool:
        markets = subscription.tickers or {""}
        return any(fault.where.matches(self._facts(subscription, "", name)) for name in markets)

    def _put(self, frame: Json) -> None:
        self._enqueue(_Out(frame))

    def _put_numbered(self, subscription: Subscription, frame: Json) -> None:
        self._enqueue(_Out(frame, subscription))

    def _enqueue(self, out: _Out) -> None:
        sid = _sid_of(out)
        if sid in self._full_sids or self._overflow.is_set():
            return
        if self._waiting[sid] >= self._frames_max:
            self._overflows(out.subscription)
            return
        self._put_out(out)

    def _put_out(self, out: _Out) -> None:
        self._waiting[_sid_of(out)] += 1
        self._frames.put_nowait(out)

    def _overflows(self, subscription: Subscription | None) -> None:
        """End a subscription that waits for a slow client with 25; without one, cut the client."""
        if subscription is None:
            self._overflow.set()
        elif subscription.sid not in self._full_sids:
            self._full_sids.add(subscription.sid)
            self._put_out(_Out(None, subscription, FramePlan(terminal_code=25)))


def _sid_of(out: _Out) -> int:
    """Return a sid; 0 stands for answers to commands."""
    return 0 if out.subscription is None else out.subscription.sid


def _market_of(frame: Json) -> str:
    message = frame.get("msg")
    if not isinstance(message, dict):
        return ""
    market = message.get("market_ticker") or message.get("ticker") or ""
    assert isinstance(market, str), market
    return market
