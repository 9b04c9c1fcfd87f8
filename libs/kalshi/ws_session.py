"""Keep one WebSocket connection for a KalshiStream: the thin shell with the socket in it.

Liveness is judged by what arrives, not by the connection's state (kalshi-api.md §3): a quiet
stream is asked for its list of subscriptions, and silence after that means a new connection.
"""

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence

from msgspec import Struct
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidHandshake, WebSocketException
from websockets.uri import parse_uri

from libs.common.clock import Clock
from libs.kalshi.fields import NS_PER_S
from libs.kalshi.ws import KalshiStream
from libs.kalshi.ws_events import Command, Reconnect, StreamEvent

Handler = Callable[[list[StreamEvent], int], Awaitable[None]]
Headers = Callable[[], Awaitable[Mapping[str, str]]]

TICK_EVERY_NS = 100_000_000
CLOSE_TIMEOUT_S = 1.0


class SessionLimits(Struct, frozen=True, kw_only=True):
    """Bounds of a session. Silence and backoff are on the Clock; the others are real seconds."""

    probe_after_s: float = 1.0
    silence_s: float = 10.0
    open_timeout_s: float = 5.0
    backoff_first_s: float = 0.25
    backoff_max_s: float = 15.0
    frame_bytes_max: int = 4 * 1024 * 1024
    poll_s: float = 0.1

    def __post_init__(self) -> None:
        if not 0 < self.probe_after_s < self.silence_s:
            raise ValueError("session limits: expected 0 < probe_after_s < silence_s")
        if not 0 < self.backoff_first_s <= self.backoff_max_s:
            raise ValueError("session limits: expected 0 < backoff_first_s <= backoff_max_s")


class _LeaveError(Exception):
    """Leave this connection; its text is the reason."""


class _HandlerError(Exception):
    """Carry what the handler raised past the handling of network errors."""

    def __init__(self, raised: Exception) -> None:
        super().__init__(str(raised))
        self.raised = raised


class _Connect(connect):
    """Follow no redirect: signed headers are for the host that was configured."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


class _SteadyTime:
    """Time on a clock that may be set: a step back is no time, so no wait becomes longer."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._last_ns = clock.now_ns()
        self._passed_ns = self._last_ns

    def now_ns(self) -> int:
        """Return nanoseconds that only grow; they begin at the clock's."""
        now_ns = self._clock.now_ns()
        self._passed_ns += max(0, now_ns - self._last_ns)
        self._last_ns = now_ns
        return self._passed_ns


class StreamSession:
    """Connect, feed the stream, send its commands, hand the other events on, again and again.

    `handler(events, received_ns)` is awaited for every frame before the next one is read, so a
    slow handler slows the socket and never fills memory. Commands and Reconnect are not handed on.
    `on_frame(text, received_ns)` sees every frame as it came, to keep a copy.
    """

    def __init__(
        self,
        url: str,
        stream: KalshiStream,
        headers: Headers,
        handler: Handler,
        clock: Clock,
        limits: SessionLimits | None = None,
        jitter: random.Random | None = None,
        on_frame: Callable[[str | bytes, int], None] | None = None,
    ) -> None:
        parse_uri(url)  # raises InvalidURI here, once, and not in the middle of a reconnect
        self._url = url
        self._stream = stream
        self._headers = headers
        self._handler = handler
        self._clock = clock
        self._limits = limits or SessionLimits()
        self._jitter = jitter or random.Random()  # noqa: S311 - spreads reconnects, no secret
        self._on_frame = on_frame
        self._socket: ClientConnection | None = None
        self._failures = 0
        self._steady = _SteadyTime(clock)
        self._quiet_since_ns = self._probed_ns = 0
        self.connections_count = 0
        self.last_heard_ns: int | None = None
        self.last_failure: str | None = None

    @property
    def is_connected(self) -> bool:
        """Tell whether a connection is open; whether it lives is `last_heard_ns`."""
        return self._socket is not None

    def heard_ns(self, channel: str) -> int | None:
        """Return the clock's time when a channel's subscription last spoke, None without one."""
        steady_ns = self._stream.heard_ns(channel)
        if steady_ns is None:
            return None
        return self._clock.now_ns() - (self._steady.now_ns() - steady_ns)

    async def want(self, channel: str, tickers: tuple[str, ...] = ()) -> None:
        """Subscribe to more; see KalshiStream.want."""
        await self._send_now(self._stream.want(channel, tickers, now_ns=self._steady.now_ns()))

    async def drop(self, channel: str, tickers: tuple[str, ...]) -> None:
        """Subscribe to less; see KalshiStream.drop."""
        await self._send_now(self._stream.drop(channel, tickers))

    async def run(self) -> None:
        """Run until cancelled. What `handler` raises ends it; what the network does never."""
        try:
            while True:
                reason = await self._one_connection()
                self.last_failure = reason
                await self._deliver(self._stream.on_disconnected(reason), self._clock.now_ns())
                await self._clock.sleep(self._backoff_s())
        except _HandlerError as failed:
            raise failed.raised from None
        finally:
            self._socket = None

    async def _one_connection(self) -> str:
        """Serve one connection to its end and return why it ended."""
        try:
            headers = await self._headers()
        except (TimeoutError, ConnectionError, OSError) as error:
            return f"no signed headers: {error}"
        try:
            async with _Connect(
                self._url,
                additional_headers=dict(headers),
                compression="deflate",
                max_size=self._limits.frame_bytes_max,
                open_timeout=self._limits.open_timeout_s,
                close_timeout=CLOSE_TIMEOUT_S,
                ping_interval=None,
                proxy=None,
            ) as socket:
                self._socket = socket
                return await self._serve(socket)
        except InvalidHandshake as error:
            return f"handshake refused: {error}"
        except (WebSocketException, OSError, TimeoutError) as error:
            return f"connection lost: {type(error).__name__} {error}"
        finally:
            self._socket = None

    async def _serve(self, socket: ClientConnection) -> str:
        steady_ns = self._quiet_since_ns = self._probed_ns = self._steady.now_ns()
        received_ns = self.last_heard_ns = self._clock.now_ns()
        self.connections_count += 1
        tick_ns = steady_ns
        try:
            await self._deliver(self._stream.on_connected(steady_ns), received_ns)
            while True:
                text = await _receive(socket, self._limits.poll_s)
                steady_ns, received_ns = self._steady.now_ns(), self._clock.now_ns()
                if text is not None:
                    self._quiet_since_ns, self.last_heard_ns = steady_ns, received_ns
                    self._failures = 0
                    if self._on_frame is not None:
                        self._on_frame(text, received_ns)
                    await self._deliver(self._stream.on_text(text, steady_ns), received_ns)
                if steady_ns >= tick_ns:
                    tick_ns = steady_ns + TICK_EVERY_NS
                    await self._deliver(self._stream.on_tick(steady_ns), received_ns)
                    await self._check_life(steady_ns)
        except _LeaveError as left:
            return str(left)

    async def _check_life(self, steady_ns: int) -> None:
        silent_ns = steady_ns - self._quiet_since_ns
        if silent_ns >= self._limits.silence_s * NS_PER_S:
            raise _LeaveError(f"nothing heard for {silent_ns / NS_PER_S:.1f} s")
        probe_after_ns = self._limits.probe_after_s * NS_PER_S
        if silent_ns >= probe_after_ns and steady_ns - self._probed_ns >= probe_after_ns:
            self._probed_ns = steady_ns
            await self._send([self._stream.probe()])

    async def _deliver(self, events: list[StreamEvent], now_ns: int) -> None:
        if not events:
            return
        await self._send(events)
        handed_on: list[StreamEvent] = [
            event for event in events if not isinstance(event, Command | Reconnect)
        ]
        if handed_on:
            try:
                await self._handler(handed_on, now_ns)
            except Exception as error:
                raise _HandlerError(error) from error
        for event in events:
            if isinstance(event, Reconnect):
                raise _LeaveError(event.reason)

    async def _send_now(self, events: list[StreamEvent]) -> None:
        """Send from outside the reading loop; a dying connection is that loop's to notice."""
        with contextlib.suppress(WebSocketException, OSError):
            await self._send(events)

    async def _send(self, events: Sequence[StreamEvent]) -> None:
        for event in events:
            if isinstance(event, Command) and self._socket is not None:
                await self._socket.send(event.text)

    def _backoff_s(self) -> float:
        """Return the next wait: doubling to a bound, between half and all of it at random."""
        wait_s: float = min(
            self._limits.backoff_first_s * 2.0 ** min(self._failures, 20),
            self._limits.backoff_max_s,
        )
        self._failures += 1
        return wait_s * (0.5 + self._jitter.random() / 2)


async def _receive(socket: ClientConnection, poll_s: float) -> str | bytes | None:
    """Return the next frame, or None when none came for a moment (recv is safe to cancel)."""
    try:
        async with asyncio.timeout(poll_s):
            return await socket.recv()
    except TimeoutError:
        return None
