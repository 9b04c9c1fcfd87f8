"""Kalshi's ladders and status: discovery by REST, books and stopped markets by WebSocket."""

import asyncio
from collections.abc import Callable, Mapping

import msgspec

from libs.common.bus import Bus
from libs.common.clock import NS_PER_S, Clock
from libs.common.effects import Event
from libs.common.logs import Logger
from libs.common.messages import FeeChangeTold, PriceRange
from libs.common.messages.base import HORIZON_NS
from libs.common.messages.evidence import CHANGES_MAX
from libs.common.metrics import Metrics
from libs.common.topology import SIGN_WEBSOCKET
from libs.domain.families import UnknownFamilyError, family_of_series
from libs.domain.strikes import Ladder as DomainLadder
from libs.domain.strikes import Rung as DomainRung
from libs.domain.strikes import StrikeError, StrikeType, order_rungs
from libs.domain.tickers import TickerError, parse_event_ticker
from libs.kalshi.errors import KalshiError
from libs.kalshi.rest import KalshiClient
from libs.kalshi.signing import WEBSOCKET_PATH
from libs.kalshi.wire.market import Event as WireEvent
from libs.kalshi.wire.market import Market as WireMarket
from libs.kalshi.ws import BOOKS, LIFECYCLE, KalshiStream
from libs.kalshi.ws_events import StreamEvent
from libs.kalshi.ws_session import StreamSession
from services.feeds.config import FeedsConfig
from services.feeds.events import (
    CLOCK,
    LADDERS,
    STATUS,
    BooksHeard,
    ExchangeStatusRead,
    FeedAlive,
    FeedFailed,
    FeeFactsRead,
    LaddersListed,
    LadderSpec,
    SkewMeasured,
)
from services.feeds.minutes import LEVEL_MAX_E4
from services.feeds.raw import RawLog

SIGN_TIMEOUT_S = 2.0
ALIVE_EVERY_S = 0.5
DISCOVERY_RETRY_S = 5.0
READS_APART_S = 1.0
STATUS_RETRY_S = 2.0
SHARD = 0
"""The exchange's shard of all our series; the client's orders name it."""
ENDED = frozenset({"closed", "determined", "disputed", "amended", "finalized"})
"""Statuses of markets that trade no more; those of any other stay rungs of their ladder."""
TRADES = "active"
NAME_MAX = 128
"""What a message may carry (messages.base.Name)."""


class UnreadableEvent(ValueError):
    """An event that we can't follow; the text says why."""


class SignedHeaders:
    """Ask the broker, which alone holds keys, to sign one WebSocket handshake."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def __call__(self) -> Mapping[str, str]:
        """Return the headers; raise ConnectionError when the broker won't or can't."""
        asked = msgspec.json.encode({"path": WEBSOCKET_PATH})
        answer = await self._bus.request(SIGN_WEBSOCKET, asked, SIGN_TIMEOUT_S)
        try:
            headers = msgspec.json.decode(answer, type=dict[str, str])
        except msgspec.DecodeError as error:
            raise ConnectionError(f"unreadable answer from the broker: {error}") from None
        if "error" in headers:
            raise ConnectionError(headers["error"])
        return headers


class KalshiFeed:
    """Follow the open events of our series."""

    def __init__(
        self,
        config: FeedsConfig,
        client: KalshiClient,
        bus: Bus,
        clock: Clock,
        dispatch: Callable[[Event], object],
        raw: RawLog,
        log: Logger,
        metrics: Metrics,
    ) -> None:
        self._config = config
        self._client = client
        self._clock = clock
        self._dispatch = dispatch
        self._log = log
        self._metrics = metrics
        self._watched: set[str] = set()
        self._list_now = asyncio.Event()
        self._fees_now = asyncio.Event()
        self._open: dict[str, tuple[str, ...]] = {}
        """The events ahead of each series, once they were listed."""
        self._stream = KalshiStream(use_yes_price=True)
        self.session = StreamSession(
            config.exchange_ws_url,
            self._stream,
            SignedHeaders(bus),
            self._heard,
            clock,
            on_frame=raw.add,
        )

    async def watch(self, tickers: tuple[str, ...]) -> None:
        """Subscribe to the books of these markets."""
        self._watched |= set(tickers)
        await self.session.want(BOOKS, tickers)

    async def drop(self, tickers: tuple[str, ...]) -> None:
        """Let go of these markets."""
        self._watched -= set(tickers)
        await self.session.drop(BOOKS, tickers)

    async def resync(self, tickers: tuple[str, ...]) -> None:
        """Take the books of these markets anew."""
        await self.session.drop(BOOKS, tickers)
        if wanted := tuple(ticker for ticker in tickers if ticker in self._watched):
            await self.session.want(BOOKS, wanted)

    def list_soon(self) -> None:
        """Look for open events before it is due."""
        self._list_now.set()

    def read_fees_soon(self) -> None:
        """Read the fees before that is due."""
        self._fees_now.set()

    async def run_session(self) -> None:
        """Keep the WebSocket until cancelled."""
        await self.session.want(LIFECYCLE)
        await self.session.run()

    async def run_alive(self) -> None:
        """Say until when the books are vouched for, or that they are not."""
        said: str | None = None
        losses = 0
        while True:
            await self._clock.sleep(ALIVE_EVERY_S)
            session = self.session
            connected = session.is_connected
            heard_ns = session.heard_ns(BOOKS) if self._watched else session.last_heard_ns
            lost = session.connections_count - connected
            self._metrics.disconnects_total.labels(LADDERS).inc(max(0, lost - losses))
            losses = lost
            now_ns = self._clock.now_ns()
            if connected and heard_ns is not None:
                said = None
                as_of_ns = self._as_of_ns(heard_ns)
                self._dispatch(
                    FeedAlive(now_ns=now_ns, feed=LADDERS, heard_ns=as_of_ns, losses=losses)
                )
            elif said != (detail := self._why_unheard(connected)):
                said = detail
                self._dispatch(
                    FeedFailed(now_ns=now_ns, feed=LADDERS, detail=detail, losses=losses)
                )

    def _why_unheard(self, connected: bool) -> str:
        if connected:
            return "the books are not subscribed to"
        return self.session.last_failure or "not connected"

    async def run_discovery(self) -> None:
        """Look for our series' open events now, every so often and when asked; soon again if that
        failed.
        """
        while True:
            wait_s = self._config.discovery_every_s
            self._list_now.clear()
            for series in self._config.series:
                asked_ns = self._clock.now_ns()
                try:
                    events = await self._client.events(series, status="open")
                except KalshiError as error:
                    self._log.warning("discovery failed", series=series, why=str(error))
                    wait_s = min(wait_s, DISCOVERY_RETRY_S)
                else:
                    self._list(series, events, asked_ns)
            await self._until_asked(self._list_now, wait_s)

    async def _until_asked(self, asked: asyncio.Event, most_s: float) -> None:
        """Wait until asked to read again, for so long at most, and a moment at least."""
        await self._clock.sleep(READS_APART_S)
        async with asyncio.TaskGroup() as group:
            waits = (
                group.create_task(self._clock.sleep(most_s - READS_APART_S)),
                group.create_task(asked.wait()),
            )
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            for one in waits:
                one.cancel()

    async def run_fee_facts(self) -> None:
        """Read what is published of fees and rules of each series whose events are listed, every
        so often and when asked; soon again if that failed.
        """
        while True:
            wait_s = self._config.fee_facts_every_s
            self._fees_now.clear()
            for name, event_tickers in list(self._open.items()):
                try:
                    self._dispatch(await self._fee_facts(name, event_tickers))
                except KalshiError as error:
                    self._log.warning("fee facts unread", series=name, why=str(error))
                    wait_s = min(wait_s, DISCOVERY_RETRY_S)
            await self._until_asked(self._fees_now, wait_s)

    async def _fee_facts(self, name: str, event_tickers: tuple[str, ...]) -> FeeFactsRead:
        """Read a series' fees, those scheduled, and what its events ahead pay otherwise."""
        series = await self._client.series(name)
        changes = [
            FeeChangeTold(
                event_ticker="",
                from_ns=row.scheduled_ns,
                fee_type=row.fee_type,
                fee_multiplier=row.fee_multiplier,
            )
            for row in await self._client.series_fee_changes(name)
            if row.series_ticker == name
        ]
        for event_ticker in event_tickers:
            changes += [
                FeeChangeTold(
                    event_ticker=event_ticker,
                    from_ns=row.scheduled_ns,
                    fee_type=row.fee_type_override,
                    fee_multiplier=row.fee_multiplier_override,
                )
                for row in await self._client.event_fee_changes(event_ticker)
                if row.event_ticker == event_ticker
            ]
        if len(changes) > CHANGES_MAX:
            found = f"expected {CHANGES_MAX} fee changes at most, found {len(changes)}"
            raise KalshiError(name, found)
        return FeeFactsRead(
            now_ns=self._clock.now_ns(),
            series_ticker=name,
            fee_type=series.fee_type,
            fee_multiplier=series.fee_multiplier,
            contract_terms_url=series.contract_terms_url,
            changes=tuple(sorted(changes, key=_order_of_change)),
        )

    async def run_status(self) -> None:
        """Read the status and our clock's skew every so often, soon again if that failed."""
        while True:
            wait_s = self._config.exchange_status_every_s
            try:
                status = await self._client.exchange_status()
            except KalshiError as error:
                self._failed(STATUS, str(error))
                wait_s = min(wait_s, STATUS_RETRY_S)
            else:
                ours = status.of_shard(SHARD)
                self._dispatch(
                    ExchangeStatusRead(
                        now_ns=self._clock.now_ns(),
                        exchange_active=ours.exchange_active,
                        trading_active=ours.trading_active,
                    )
                )
                self._measure_skew()
            await self._clock.sleep(wait_s)

    def _measure_skew(self) -> None:
        skew_ns = self._client.last_skew_ns
        uncertainty_ns = self._client.last_skew_uncertainty_ns
        if skew_ns is None or uncertainty_ns is None:
            self._failed(CLOCK, "the exchange's answers carry no Date")
            return
        self._dispatch(
            SkewMeasured(
                now_ns=self._clock.now_ns(),
                reference="exchange",
                skew_ns=skew_ns,
                uncertainty_ns=uncertainty_ns,
            )
        )

    def _list(self, series: str, events: list[WireEvent], asked_ns: int) -> None:
        specs: list[LadderSpec] = []
        inactive: list[str] = []
        for event in events:
            try:
                specs.append(read_event(event))
                inactive += [one.ticker for one in event.markets or () if one.status != TRADES]
            except UnreadableEvent as error:
                self._log.warning("event refused", event_ticker=event.event_ticker, why=str(error))
                self._metrics.bad_frames_total.labels(LADDERS, "event").inc()
        now_ns = self._clock.now_ns()
        ends_ns = now_ns + round(self._config.discovery_ahead_s * NS_PER_S)
        ahead = [one.event_ticker for one in specs if now_ns < one.target_ns <= ends_ns]
        if self._open.get(series) != (found := tuple(sorted(ahead))):
            self._open[series] = found
            self._fees_now.set()
        self._dispatch(
            LaddersListed(
                now_ns=now_ns,
                ladders=tuple(specs),
                inactive=tuple(inactive),
                asked_ns=asked_ns,
            )
        )

    def _failed(self, feed: str, detail: str) -> None:
        self._dispatch(FeedFailed(now_ns=self._clock.now_ns(), feed=feed, detail=detail))

    async def _heard(self, events: list[StreamEvent], received_ns: int) -> None:
        self._metrics.frames_total.labels(LADDERS).inc()
        as_of_ns = self._as_of_ns(received_ns)
        self._dispatch(BooksHeard(now_ns=received_ns, events=tuple(events), as_of_ns=as_of_ns))

    def _as_of_ns(self, heard_ns: int) -> int:
        return as_of_ns(
            heard_ns,
            self._stream.books_sent_ns(),
            self._client.last_skew_ns,
            self._client.last_skew_uncertainty_ns,
        )


def _order_of_change(change: FeeChangeTold) -> tuple[str, int, str]:
    return (change.event_ticker, change.from_ns, repr(change))


def as_of_ns(
    heard_ns: int, sent_ns: int | None, skew_ns: int | None, uncertainty_ns: int | None
) -> int:
    """Return up to when a message heard at `heard_ns` can vouch for the books.

    A slow line or a process that lags behind brings old messages in good order. `sent_ns` is the
    exchange's stamp; `skew_ns` is our clock less the exchange's, for which the doubt is given.
    """
    if sent_ns is None or skew_ns is None or uncertainty_ns is None:
        return heard_ns
    return min(heard_ns, sent_ns + skew_ns + uncertainty_ns)


def read_event(event: WireEvent) -> LadderSpec:
    """Return an event as we follow it; raise `UnreadableEvent` when it can't be traded safely."""
    spec = _read_event(event)
    names = (spec.event_ticker, spec.series_ticker, *(rung.ticker for rung in spec.rungs))
    if not all(0 < len(name) <= NAME_MAX for name in names):
        raise UnreadableEvent(f"expected names of 1 to {NAME_MAX} characters")
    bounds = [bound for rung in spec.rungs for bound in (rung.floor_e4, rung.cap_e4)]
    if not all(bound is None or abs(bound) <= LEVEL_MAX_E4 for bound in bounds):
        raise UnreadableEvent("expected strikes below 10^8")
    if not 0 <= spec.close_ns <= HORIZON_NS:
        raise UnreadableEvent(f"expected a close before 2100, got {spec.close_ns} ns")
    if not spec.price_ranges or not all(grid.step_e4 > 0 for grid in spec.price_ranges):
        raise UnreadableEvent("expected a tick grid with steps above 0")
    return spec


def _rung_of(market: WireMarket) -> DomainRung:
    try:
        kind = StrikeType(market.strike_type or "")
    except ValueError:
        known = ", ".join(StrikeType)
        raise UnreadableEvent(
            f"{market.ticker}: expected a strike type of {known}, got {market.strike_type!r}"
        ) from None
    return DomainRung(market.ticker, kind, market.floor_e4, market.cap_e4)


def _read_event(event: WireEvent) -> LadderSpec:
    try:
        family = family_of_series(event.series_ticker)
        target_ns = parse_event_ticker(event.event_ticker).target_ns
        markets = [market for market in event.markets or () if market.status not in ENDED]
        if not markets:
            raise UnreadableEvent("expected markets that have not ended, found none")
        shards = {event.exchange_index, *(market.exchange_index for market in markets)}
        if shards != {SHARD}:
            raise UnreadableEvent(f"expected shard {SHARD}, where our orders go, found {shards}")
        rungs = order_rungs(map(_rung_of, markets))
        DomainLadder(event.event_ticker, event.series_ticker, target_ns, rungs, family.kind)
    except (UnknownFamilyError, TickerError, StrikeError, ValueError) as error:
        raise UnreadableEvent(str(error)) from None
    grids = {market.price_ranges for market in markets}
    if len(grids) != 1:
        raise UnreadableEvent(f"expected one tick grid for all rungs, found {len(grids)}")
    return LadderSpec(
        event_ticker=event.event_ticker,
        series_ticker=event.series_ticker,
        family=family.name,
        symbol=family.index_symbol or "",
        kind=family.kind.value,
        target_ns=target_ns,
        close_ns=min(market.close_ns for market in markets),
        rungs=rungs,
        price_ranges=tuple(
            PriceRange(grid.start_e4, grid.end_e4, grid.step_e4) for grid in grids.pop()
        ),
    )
