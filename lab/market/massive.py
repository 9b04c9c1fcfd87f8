"""A WebSocket server that speaks the Massive (formerly Polygon) indices protocol.

The client authenticates, subscribes to `A.I:SPX` (seconds) or `AM.I:SPX` (minutes, `*` for
all), and gets arrays of events. One connection a key: a later one is told `max_connections`
after it authenticated, as the real service does, and closed with 1008. Each aggregate goes
out when its window has ended, by the given clock, and only within cash hours.
"""

import asyncio
import contextlib
import hmac
from email.utils import formatdate
from http import HTTPStatus
from types import TracebackType
from typing import Literal

import msgspec
from msgspec import Struct
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from lab.market.faults import Fault, bad_frames
from lab.market.path import NS_PER_S, Aggregate, IndexPath
from libs.common.clock import Clock

NS_PER_MS = 1_000_000
MINUTE_NS = 60 * NS_PER_S
URL_PATH = "/indices"
FRAME_BYTES_MAX = 65_536
BAD_FRAMES_MAX = 20
# After a stall longer than this the feed goes on from now instead of sending every second.
CATCH_UP_NS_MAX = 60 * NS_PER_S
POLICY_VIOLATION = 1008
GOING_AWAY = 1001

Channel = tuple[str, str]


class Command(Struct):
    """What a client sends."""

    action: str
    params: str


class Status(Struct, tag_field="ev", tag="status"):
    """What the server says about the connection itself."""

    status: str
    message: str


class AggregateEvent(Struct):
    """One aggregate: window [s, e) in milliseconds, levels as JSON numbers, `op` today's open."""

    ev: Literal["A", "AM"]
    sym: str
    op: float
    o: float
    c: float
    h: float
    l: float  # noqa: E741 the wire's name for low
    s: int
    e: int


class MassiveServer:
    """Serve one index path to clients that know the key. Use as an async context manager."""

    def __init__(
        self,
        path: IndexPath,
        clock: Clock,
        api_key: str,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        faults: tuple[Fault, ...] = (),
        queue_frames_max: int = 256,
        auth_timeout_s: float = 10.0,
    ) -> None:
        assert api_key, "an empty key would let everybody in"
        self._path = path
        self._clock = clock
        self._api_key = api_key
        self._address = (host, port)
        self._faults = faults
        self._started_ns = 0
        self._queue_frames_max = queue_frames_max
        self._auth_timeout_s = auth_timeout_s
        self._clients: set[_Client] = set()
        self._holder: _Client | None = None
        self._server: Server | None = None
        self._emitter: asyncio.Task[None] | None = None

    async def __aenter__(self) -> "MassiveServer":
        """Listen and begin to emit. Raises OSError when the port is taken."""
        self._started_ns = self._clock.now_ns()
        self._server = await serve(
            self._handle,
            *self._address,
            process_request=_refuse_other_paths,
            process_response=self._stamp_date,
            compression=None,
            max_size=FRAME_BYTES_MAX,
            close_timeout=2.0,
        )
        self._emitter = asyncio.create_task(self._emit(), name="massive-emit")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop emitting, close every connection and the listening socket."""
        assert self._emitter is not None, "left before it was entered"
        assert self._server is not None, "left before it was entered"
        self._emitter.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._emitter
        self._server.close()
        await self._server.wait_closed()

    @property
    def url(self) -> str:
        """The address to connect to, with the port that was bound."""
        assert self._server is not None, "not serving yet"
        host, port = next(iter(self._server.sockets)).getsockname()[:2]
        return f"ws://{host}:{port}{URL_PATH}"

    async def run_until(self, stop: asyncio.Event) -> None:
        """Return when `stop` is set; raise what ended the emitter, should it end first."""
        assert self._emitter is not None, "not serving yet"
        waiter = asyncio.create_task(stop.wait(), name="massive-stop")
        try:
            await asyncio.wait({waiter, self._emitter}, return_when=asyncio.FIRST_COMPLETED)
            if self._emitter.done():
                self._emitter.result()
        finally:
            waiter.cancel()

    # The feed

    async def _emit(self) -> None:
        at_ns = (self._clock.now_ns() // NS_PER_S + 1) * NS_PER_S
        pending = list(self._faults)
        while True:
            await self._clock.sleep_until(at_ns)
            if self._clock.now_ns() - at_ns > CATCH_UP_NS_MAX:
                at_ns = self._clock.now_ns() // NS_PER_S * NS_PER_S
            silent = self._apply_faults(at_ns, pending)
            if not silent and self._clients:
                self._publish(at_ns)
            at_ns += NS_PER_S

    def _apply_faults(self, at_ns: int, pending: list[Fault]) -> bool:
        """Do the faults that are due; return whether the feed is silent now."""
        since_ns = at_ns - self._started_ns
        silent = False
        for fault in [fault for fault in pending if fault.start_ns <= since_ns]:
            if fault.kind == "silence" and since_ns < fault.end_ns:
                silent = True
                continue
            pending.remove(fault)
            for client in list(self._clients):
                if fault.kind == "disconnect":
                    client.doom(GOING_AWAY, "going away")
                elif fault.kind == "garbage" and client.channels:
                    for frame in bad_frames(at_ns):
                        client.offer(frame)
        return silent

    def _publish(self, end_ns: int) -> None:
        """Send what ended at `end_ns` to those who subscribed to it."""
        events = self._events("A", end_ns - NS_PER_S, end_ns)
        if end_ns % MINUTE_NS == 0:
            events |= self._events("AM", end_ns - MINUTE_NS, end_ns)
        if not events:
            return
        for client in list(self._clients):
            chosen = [event for channel, event in events.items() if channel in client.channels]
            if chosen:
                client.offer(msgspec.json.encode(chosen).decode())

    def _events(
        self, kind: Literal["A", "AM"], start_ns: int, end_ns: int
    ) -> dict[Channel, AggregateEvent]:
        session = self._path.session_at(start_ns)
        if not session.open_ns <= start_ns < session.close_ns:
            return {}
        return {
            (kind, symbol): _event(
                kind,
                symbol,
                self._window(kind, symbol, start_ns, end_ns),
                self._path.opening_e4(symbol, start_ns),
            )
            for symbol in self._path.symbols
        }

    def _window(self, kind: str, symbol: str, start_ns: int, end_ns: int) -> Aggregate:
        """Return one aggregate. A second ends with the print of its end, as the hour's settlement
        print ends the hour's last second; a minute holds the prints since its start, as the
        recorded minute bars do.
        """
        if kind == "AM":
            return self._path.aggregate(symbol, start_ns, end_ns)
        level_e4 = self._path.level_e4(symbol, end_ns)
        return Aggregate(start_ns, end_ns, level_e4, level_e4, level_e4, level_e4)

    # One connection

    async def _handle(self, connection: ServerConnection) -> None:
        client = _Client(connection, self._queue_frames_max)
        client.say("connected", "Connected Successfully")
        tasks = {
            asyncio.create_task(self._read(client), name="massive-read"),
            asyncio.create_task(client.send_all(), name="massive-send"),
            asyncio.create_task(client.doomed.wait(), name="massive-doom"),
        }
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                with contextlib.suppress(ConnectionClosed):
                    task.result()
        finally:
            self._clients.discard(client)
            if self._holder is client:
                self._holder = None
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await client.flush_and_close()

    async def _read(self, client: "_Client") -> None:
        connection = client.connection
        try:
            async with asyncio.timeout(self._auth_timeout_s):
                while not client.authenticated:
                    self._obey(client, await connection.recv())
                    if client.doomed.is_set():
                        return
        except TimeoutError:
            client.say("auth_timeout", "No authentication request received.")
            client.doom(POLICY_VIOLATION, "policy violation")
            return
        async for frame in connection:
            self._obey(client, frame)

    def _obey(self, client: "_Client", frame: str | bytes) -> None:
        try:
            command = msgspec.json.decode(frame, type=Command)
        except (msgspec.DecodeError, UnicodeDecodeError):
            client.complain('expected {"action": ..., "params": ...} with two strings')
            return
        if command.action == "auth":
            self._authenticate(client, command.params)
        elif not client.authenticated:
            client.complain("not authenticated: send auth first")
        elif command.action in ("subscribe", "unsubscribe"):
            self._subscribe(client, command)
        else:
            client.complain("unknown action: expected auth, subscribe or unsubscribe")

    def _authenticate(self, client: "_Client", key: str) -> None:
        if client.authenticated:
            client.say("auth_success", "authenticated")
            return
        if not hmac.compare_digest(key.encode(), self._api_key.encode()):
            client.say("auth_failed", "authentication failed")
            client.doom(POLICY_VIOLATION, "policy violation")
            return
        client.authenticated = True
        client.say("auth_success", "authenticated")
        if self._holder is not None:
            client.say("max_connections", "Maximum number of websocket connections exceeded.")
            client.doom(POLICY_VIOLATION, "policy violation")
            return
        self._holder = client
        self._clients.add(client)

    def _subscribe(self, client: "_Client", command: Command) -> None:
        for text in command.params.split(",")[:100]:
            channels = self._channels(text.strip())
            if not channels:
                client.complain(f"unknown channel {text.strip()[:40]!r}: expected A.I:SPX or AM.*")
            elif command.action == "subscribe":
                client.channels |= channels
                client.say("success", f"subscribed to: {text.strip()}")
            else:
                client.channels -= channels
                client.say("success", f"unsubscribed to: {text.strip()}")

    def _channels(self, text: str) -> set[Channel]:
        kind, _, name = text.partition(".")
        if kind not in ("A", "AM"):
            return set()
        return {(kind, symbol) for symbol in self._path.symbols if name in ("*", symbol)}

    def _stamp_date(
        self, connection: ServerConnection, request: Request, response: Response
    ) -> Response:
        del connection, request
        del response.headers["Date"]
        response.headers["Date"] = formatdate(self._clock.now_ns() / NS_PER_S, usegmt=True)
        return response


class _Client:
    """One connection: its rights, its subscriptions and its bounded queue of frames."""

    def __init__(self, connection: ServerConnection, queue_frames_max: int) -> None:
        self.connection = connection
        self.authenticated = False
        self.channels: set[Channel] = set()
        self.doomed = asyncio.Event()
        self._queue: asyncio.Queue[str | bytes] = asyncio.Queue(queue_frames_max)
        self._bad_frames = 0
        self._close: tuple[int, str] = (1000, "")

    def offer(self, frame: str | bytes) -> None:
        """Queue a frame; a reader too slow to keep the queue short is closed."""
        if self.doomed.is_set():
            return
        try:
            self._queue.put_nowait(frame)
        except asyncio.QueueFull:
            self.doom(POLICY_VIOLATION, "slow consumer")

    def say(self, status: str, message: str) -> None:
        """Queue a status frame."""
        self.offer(msgspec.json.encode([Status(status, message)]).decode())

    def complain(self, message: str) -> None:
        """Answer a frame that cannot be obeyed; close after too many of them."""
        self._bad_frames += 1
        self.say("error", message)
        if self._bad_frames >= BAD_FRAMES_MAX:
            self.doom(POLICY_VIOLATION, "too many bad frames")

    def doom(self, code: int, reason: str) -> None:
        """Ask for this connection to be closed, once what is queued has been sent."""
        if not self.doomed.is_set():
            self._close = (code, reason)
            self.doomed.set()

    async def send_all(self) -> None:
        """Send queued frames until the connection ends."""
        while True:
            await self.connection.send(await self._queue.get())

    async def flush_and_close(self) -> None:
        """Send the last words, unless the client is the slow one, and close."""
        code, reason = self._close
        with contextlib.suppress(ConnectionClosed, TimeoutError):
            async with asyncio.timeout(1.0):
                while reason != "slow consumer" and not self._queue.empty():
                    await self.connection.send(self._queue.get_nowait())
        await self.connection.close(code, reason)


def _event(
    kind: Literal["A", "AM"], symbol: str, window: Aggregate, opening_e4: int
) -> AggregateEvent:
    return AggregateEvent(
        ev=kind,
        sym=symbol,
        op=opening_e4 / 10_000,
        o=window.open_e4 / 10_000,
        c=window.close_e4 / 10_000,
        h=window.high_e4 / 10_000,
        l=window.low_e4 / 10_000,
        s=window.start_ns // NS_PER_MS,
        e=window.end_ns // NS_PER_MS,
    )


def _refuse_other_paths(connection: ServerConnection, request: Request) -> Response | None:
    if request.path.partition("?")[0] == URL_PATH:
        return None
    return connection.respond(HTTPStatus.NOT_FOUND, f"expected the path {URL_PATH}\n")
