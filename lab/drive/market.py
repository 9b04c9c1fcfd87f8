"""What feeds hears in a driven run: index bars, the exchange's events, books and status.

It stands for `services.feeds.massive`, `kalshi` and the two simulators' sockets: events of feeds'
core at the times at which the real ones would have come.
"""

import random
from collections.abc import Callable

from lab.drive.account import OURS
from lab.drive.latency import Latency, Line
from lab.drive.schedule import Schedule
from lab.exchange import model as x
from lab.exchange.engine import Engine
from lab.market.path import IndexPath
from libs.common.clock import NS_PER_S
from libs.common.effects import Effect, Event
from libs.common.messages import PriceRange
from libs.domain.families import family_of_series
from libs.domain.strikes import order_rungs
from libs.kalshi.wire.frames import Lifecycle
from libs.kalshi.ws import LIFECYCLE
from libs.kalshi.ws_events import Delta, Snapshot, StreamEvent, Subscribed
from services.feeds.config import FeedsConfig
from services.feeds.events import (
    LADDERS,
    BooksHeard,
    CountRefused,
    DropBooks,
    ExchangeStatusRead,
    FeedAlive,
    IndexBar,
    LaddersListed,
    LadderSpec,
    ListLadders,
    MinuteBar,
    ReadFees,
    ResyncBooks,
    SkewMeasured,
    Started,
    WatchBooks,
)

ALIVE_EVERY_NS = NS_PER_S // 2
MINUTE_NS = 60 * NS_PER_S
SID, LIFECYCLE_SID = 1, 2
UNTOLD = frozenset({"opened", "closed"})
"""Steps in a market's life of which the exchange sends no frame."""
OPEN = frozenset({x.MarketStatus.ACTIVE, x.MarketStatus.INACTIVE})
Dispatch = Callable[[Event], None]


class MarketData:
    """The sources of feeds, awake from `start` to `stop`."""

    def __init__(
        self,
        engine: Engine,
        schedule: Schedule,
        latency: Latency,
        config: FeedsConfig,
        dispatch: Dispatch,
        dice: random.Random,
    ) -> None:
        self._engine = engine
        self._schedule = schedule
        self._config = config
        self._to_core = dispatch
        self.record: Dispatch | None = None
        """Told of every input of feeds, before the core is."""
        self._books = Line(latency.frame_s, latency.jitter, dice)
        self._bars = Line(latency.index_s, latency.jitter, dice)
        self._watched: set[str] = set()
        self._frames: list[StreamEvent] = []
        self._number = 0
        self._stop_ns = 0
        self.events = 0
        """Inputs given to feeds: bars and book frames."""
        self.refused: dict[str, int] = {}

    def start(self, path: IndexPath, until_ns: int) -> None:
        """Begin to tell of the index and of the exchange, until that time."""
        self._stop_ns = until_ns
        now_ns = self._schedule.now_ns
        self._dispatch(Started(now_ns=now_ns))
        changes = Subscribed(LIFECYCLE, LIFECYCLE_SID)
        self._dispatch(BooksHeard(now_ns=now_ns, events=(changes,), as_of_ns=now_ns))
        first_ns = -(-self._schedule.now_ns // NS_PER_S) * NS_PER_S
        self._schedule.at(first_ns, self._bar, path, first_ns)
        self._discover_again()
        self._alive()
        self._status()

    def stop(self) -> None:
        """Forget what was subscribed to: whoever starts next asks anew."""
        self._watched.clear()
        self._frames.clear()

    def _dispatch(self, event: Event) -> None:
        if self.record is not None:
            self.record(event)
        self._to_core(event)

    # The index

    def _bar(self, path: IndexPath, end_ns: int) -> None:
        """Send what ended now; a second ends with the print of its end."""
        at_ns = self._bars.arrival_ns(end_ns)
        for symbol in self._config.index_symbols:
            if symbol in path.symbols:
                self._schedule.at(
                    at_ns, self._bar_heard, symbol, path.level_e4(symbol, end_ns), end_ns
                )
                if self._config.needs_minutes and end_ns % MINUTE_NS == 0:
                    self._schedule.at(at_ns, self._minute_heard, path, symbol, end_ns)
        if end_ns < self._stop_ns:
            self._schedule.at(end_ns + NS_PER_S, self._bar, path, end_ns + NS_PER_S)

    def _bar_heard(self, symbol: str, level_e4: int, end_ns: int) -> None:
        self.events += 1
        self._dispatch(
            IndexBar(
                now_ns=self._schedule.now_ns,
                symbol=symbol,
                level_e4=level_e4,
                start_ns=end_ns - NS_PER_S,
                end_ns=end_ns,
            )
        )

    def _minute_heard(self, path: IndexPath, symbol: str, end_ns: int) -> None:
        self.events += 1
        minute = path.aggregate(symbol, end_ns - MINUTE_NS, end_ns)
        self._dispatch(
            MinuteBar(
                now_ns=self._schedule.now_ns,
                symbol=symbol,
                open_e4=minute.open_e4,
                high_e4=minute.high_e4,
                low_e4=minute.low_e4,
                close_e4=minute.close_e4,
                start_ns=minute.start_ns,
            )
        )

    # The exchange

    def take(self, event: x.Event) -> None:
        """Hear one event of the engine; what it tells of goes out with `flush`."""
        if isinstance(event, x.MarketChanged) and event.event_type not in UNTOLD:
            self._send_frame(Lifecycle(ticker=event.ticker, event_type=event.event_type))
        elif isinstance(event, x.BookChanged) and event.ticker in self._watched:
            self._number += 1
            self._send_frame(
                Delta(
                    ticker=event.ticker,
                    side=event.side,
                    price_e4=event.price_e4,
                    change_e2=event.delta_e2,
                    sid=SID,
                    seq=self._number,
                    clock=event.clock,
                    at_ns=event.at_ns,
                    client_order_id=event.client_order_id if event.account == OURS else None,
                )
            )

    def perform(self, effect: Effect) -> None:
        """Do what feeds' core asks of its adapters."""
        match effect:
            case ListLadders():
                self._schedule.at(self._schedule.now_ns, self.discover)
            case WatchBooks():
                self._send(self._watch, effect.tickers)
            case ResyncBooks():
                watched = tuple(one for one in effect.tickers if one in self._watched)
                self._send(self._watch, watched)
            case DropBooks():
                self._watched -= set(effect.tickers)
            case ReadFees():
                pass  # fees are no input of a driven run
            case CountRefused():
                key = f"{effect.feed} {effect.reason}"
                self.refused[key] = self.refused.get(key, 0) + 1
            case _:
                raise AssertionError(f"no one performs {type(effect).__name__}")

    def _send(self, call: Callable[..., None], tickers: tuple[str, ...]) -> None:
        self._schedule.at(self._books.arrival_ns(self._schedule.now_ns), call, tickers)

    def _watch(self, tickers: tuple[str, ...]) -> None:
        """Send the whole books, and every change from now on."""
        self._flush()
        self._watched |= set(tickers)
        for ticker in tickers:
            view = self._engine.book(ticker)
            self._number += 1
            self._frames.append(
                Snapshot(ticker, view.bids, view.asks, SID, self._number, view.clock)
            )
        self._flush()

    def _send_frame(self, frame: StreamEvent) -> None:
        """Send a frame with the others of this moment."""
        if not self._frames:
            self._schedule.at(self._schedule.now_ns, self._flush)
        self._frames.append(frame)

    def _flush(self) -> None:
        """Send the frames that have gathered, one after the other, on one line."""
        frames, self._frames = self._frames, []
        if frames:
            at_ns = self._books.arrival_ns(self._schedule.now_ns)
            self._schedule.at(at_ns, self._heard, frames, self._schedule.now_ns)

    def _heard(self, frames: list[StreamEvent], sent_ns: int) -> None:
        now_ns = self._schedule.now_ns
        for frame in frames:
            self.events += 1
            self._dispatch(BooksHeard(now_ns=now_ns, events=(frame,), as_of_ns=sent_ns))

    def _alive(self) -> None:
        """Vouch for the books, as the socket's pings do."""
        now_ns = self._schedule.now_ns
        self._dispatch(FeedAlive(now_ns=now_ns, feed=LADDERS, heard_ns=now_ns))
        if now_ns < self._stop_ns:
            self._schedule.at(now_ns + ALIVE_EVERY_NS, self._alive)

    def _status(self) -> None:
        state, now_ns = self._engine.state, self._schedule.now_ns
        self._dispatch(
            ExchangeStatusRead(
                now_ns=now_ns,
                exchange_active=state.exchange_active,
                trading_active=state.trading_active,
            )
        )
        self._dispatch(
            SkewMeasured(now_ns=now_ns, reference="exchange", skew_ns=0, uncertainty_ns=0)
        )
        if now_ns < self._stop_ns:
            every_ns = round(self._config.exchange_status_every_s * NS_PER_S)
            self._schedule.at(now_ns + every_ns, self._status)

    def discover(self) -> None:
        """List the open events of our series."""
        now_ns, engine = self._schedule.now_ns, self._engine
        engine.advance(now_ns)
        ladders = tuple(
            listed_ladder(engine, event)
            for event in engine.state.events.values()
            if event.series_ticker in self._config.series
            and event.target_ns > now_ns
            and any(market.status in OPEN for market in engine.event_markets(event.ticker))
        )
        inactive = tuple(
            market.spec.ticker
            for ladder in ladders
            for market in engine.event_markets(ladder.event_ticker)
            if market.status is not x.MarketStatus.ACTIVE
        )
        self._dispatch(
            LaddersListed(now_ns=now_ns, ladders=ladders, inactive=inactive, asked_ns=now_ns)
        )

    def _discover_again(self) -> None:
        self.discover()
        now_ns = self._schedule.now_ns
        if now_ns < self._stop_ns:
            every_ns = round(self._config.discovery_every_s * NS_PER_S)
            self._schedule.at(now_ns + every_ns, self._discover_again)


def listed_ladder(engine: Engine, event: x.EventSpec) -> LadderSpec:
    """Return an event of the engine as feeds reads it from the exchange's list."""
    markets = engine.event_markets(event.ticker)
    family = family_of_series(event.series_ticker)
    return LadderSpec(
        event_ticker=event.ticker,
        series_ticker=event.series_ticker,
        family=family.name,
        symbol=family.index_symbol or "",
        kind=family.kind.value,
        target_ns=event.target_ns,
        close_ns=min(market.spec.close_ns for market in markets),
        rungs=order_rungs(market.spec.rung for market in markets),
        price_ranges=tuple(
            PriceRange(grid.start_e4, grid.end_e4, grid.step_e4)
            for grid in markets[0].spec.price_ranges
        ),
    )
