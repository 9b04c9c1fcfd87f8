"""The Massive indices WebSocket: one connection, authenticated, per-second aggregates."""

import asyncio
import random
from collections.abc import Callable

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, WebSocketException

from libs.common.clock import Clock
from libs.common.effects import Event
from libs.common.logs import Logger
from libs.common.metrics import Metrics
from libs.kalshi.skew import SkewEstimate, parse_http_date_ns
from services.feeds.config import FeedsConfig
from services.feeds.events import INDEX, FeedFailed, IndexBar, SkewMeasured
from services.feeds.massive_wire import FRAME_MAX_BYTES, Aggregate, Status, command, read_frame
from services.feeds.raw import RawLog

OPEN_TIMEOUT_S = 5.0
ANSWER_TIMEOUT_S = 5.0
BACKOFF_FIRST_S = 0.25
BACKOFF_MAX_S = 15.0
POLICY_VIOLATION = 1008
REFUSALS_MAX = 2
REFUSED_WAIT_S = 2.0
"""A server may not yet have noticed that our previous process is gone, so a connection that is
refused as one too many is tried once more; the second refusal ends the feed."""


class FeedRefused(Exception):
    """The source won't have us; trying again would not help."""


class OneTooMany(FeedRefused):
    """Another connection uses our key."""


class MassiveFeed:
    """Keep the index connection, hand each bar on, say when it is down."""

    def __init__(
        self,
        config: FeedsConfig,
        key: str,
        clock: Clock,
        dispatch: Callable[[Event], object],
        raw: RawLog,
        log: Logger,
        metrics: Metrics,
        refused_wait_s: float = REFUSED_WAIT_S,
    ) -> None:
        self._config = config
        self._key = key
        self._clock = clock
        self._dispatch = dispatch
        self._raw = raw
        self._log = log
        self._metrics = metrics
        self._jitter = random.Random()  # noqa: S311 - spreads reconnects, no secret
        self._refused_wait_s = refused_wait_s
        self._failures = 0
        self._losses = 0

    async def run(self) -> None:
        """Run until the source refuses us; network trouble is retried for ever, with bounds."""
        refusals = 0
        while True:
            try:
                reason = await self._one_connection()
                refusals = 0
            except OneTooMany as error:
                refusals += 1
                if refusals >= REFUSALS_MAX:
                    self._fail(f"ended: {error}")
                    return
                self._fail(str(error))
                await asyncio.sleep(self._refused_wait_s)
                continue
            except FeedRefused as error:
                self._fail(f"ended: {error}")
                return
            self._fail(reason)
            self._metrics.disconnects_total.labels(INDEX).inc()
            await asyncio.sleep(self._backoff_s())

    async def _one_connection(self) -> str:
        """Serve one connection and return why it ended; raise `FeedRefused` for good."""
        sent_ns = self._clock.now_ns()
        try:
            async with connect(
                self._config.index_url,
                open_timeout=OPEN_TIMEOUT_S,
                close_timeout=1.0,
                max_size=FRAME_MAX_BYTES,
                proxy=None,
            ) as socket:
                self._measure_skew(socket, sent_ns)
                await self._log_in(socket)
                try:
                    async for frame in socket:
                        self._take(frame)
                finally:
                    self._losses += 1
                return "the server closed the connection"
        except ConnectionClosed as closed:
            if closed.rcvd is not None and closed.rcvd.code == POLICY_VIOLATION:
                raise OneTooMany(f"policy violation: {closed.rcvd.reason or 'no reason'}") from None
            return f"connection lost: {closed}"
        except (InvalidHandshake, WebSocketException, OSError, TimeoutError) as error:
            return f"connection failed: {type(error).__name__} {error}"

    async def _log_in(self, socket: ClientConnection) -> None:
        channels = ",".join(f"A.{symbol}" for symbol in self._config.index_symbols)
        await self._expect(socket, "connected")
        await socket.send(command("auth", self._key))
        await self._expect(socket, "auth_success")
        await socket.send(command("subscribe", channels))

    async def _expect(self, socket: ClientConnection, wanted: str) -> None:
        """Read until the wanted status; bars that come before it are taken as they are."""
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            while True:
                if self._take(await socket.recv(), wanted):
                    return

    def _take(self, frame: str | bytes, wanted: str = "") -> bool:
        """Handle one frame; return whether it held the wanted status."""
        now_ns = self._clock.now_ns()
        self._raw.add(frame, now_ns)
        self._metrics.frames_total.labels(INDEX).inc()
        found = False
        for item in read_frame(frame):
            if isinstance(item, Aggregate):
                self._failures = 0  # a log-in alone is no success: it may be refused again at once
                self._dispatch(
                    IndexBar(
                        now_ns=now_ns,
                        symbol=item.symbol,
                        level_e4=item.level_e4,
                        start_ns=item.start_ns,
                        end_ns=item.end_ns,
                    )
                )
            elif isinstance(item, Status):
                found = found or item.status == wanted
                _check_status(item)
            else:
                self._metrics.bad_frames_total.labels(INDEX, "unreadable").inc()
                self._log.warning("index frame refused", why=item.reason)
        return found

    def _measure_skew(self, socket: ClientConnection, sent_ns: int) -> None:
        date = socket.response.headers.get("Date", "") if socket.response else ""
        date_ns = parse_http_date_ns(date)
        if date_ns is None:
            return
        now_ns = self._clock.now_ns()
        estimate = SkewEstimate()
        estimate.observe(sent_ns, now_ns, date_ns)
        if estimate.skew_ns is not None and estimate.uncertainty_ns is not None:
            self._dispatch(
                SkewMeasured(
                    now_ns=now_ns,
                    reference="massive",
                    skew_ns=estimate.skew_ns,
                    uncertainty_ns=estimate.uncertainty_ns,
                )
            )

    def _fail(self, detail: str) -> None:
        self._log.warning("index feed is down", why=detail)
        self._dispatch(
            FeedFailed(now_ns=self._clock.now_ns(), feed=INDEX, detail=detail, losses=self._losses)
        )

    def _backoff_s(self) -> float:
        wait_s: float = min(BACKOFF_MAX_S, BACKOFF_FIRST_S * 2.0 ** min(self._failures, 20))
        self._failures += 1
        return wait_s * (0.5 + self._jitter.random() / 2)


def _check_status(status: Status) -> None:
    """Raise what a refusal means; other statuses are news."""
    if status.status == "max_connections":
        raise OneTooMany(f"max_connections: {status.message}")
    if "policy violation" in status.message.lower():
        raise OneTooMany(status.message)
    if status.status in ("auth_failed", "auth_timeout"):
        raise FeedRefused(
            f"{status.status}: {status.message}; expected a valid key in index_key_file"
        )
    if status.status == "error":
        raise FeedRefused(f"the source says: {status.message}")
