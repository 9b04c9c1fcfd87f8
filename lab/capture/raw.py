"""Raw copies of a run's feeds (`raw/*.jsonl`) as a capture of what feeds was told.

Frames are read by the same code as live. What came by REST is not in the raw copies; it is taken
from what feeds said of it: ladders, which markets trade, the exchange's status, the clock.
"""

import heapq
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import date
from pathlib import Path

import msgspec
from msgspec import Struct

from lab.capture.errors import CaptureError, NotACapture
from libs.common.clock import NS_PER_S
from libs.common.effects import Event
from libs.common.messages import (
    ClockSample,
    ExchangeStatus,
    LadderDefined,
    LadderSnapshot,
    Message,
)
from libs.domain.eastern import eastern_date
from libs.domain.strikes import Rung, StrikeType
from libs.kalshi.wire.frames import SubscribedFrame, decode_frame
from libs.kalshi.ws import BOOKS, LIFECYCLE, KalshiStream
from libs.kalshi.ws_events import Command, Reconnect, Subscribed
from services.feeds.events import (
    INDEX,
    LADDERS,
    BooksHeard,
    ExchangeStatusRead,
    FeedAlive,
    IndexBar,
    LaddersListed,
    LadderSpec,
    SkewMeasured,
    Started,
)
from services.feeds.kalshi import ALIVE_EVERY_S, as_of_ns
from services.feeds.massive_wire import Aggregate, read_frame

ALIVE_NS = round(ALIVE_EVERY_S * NS_PER_S)
_INDEX, _BOOKS, _TOLD = range(3)


class _Line(Struct, frozen=True):
    recv_ns: int
    raw: str


_lines = msgspec.json.Decoder(_Line)


class RawFeeds:
    """Two sources' raw copies of one day, and what feeds said of the rest, as feeds' inputs."""

    def __init__(self, folder: Path, day: date) -> None:
        """Find the files. Raises NotACapture when there is none."""
        self._day = day
        self._files = {feed: sorted(folder.glob(f"{feed}-*.jsonl")) for feed in (INDEX, LADDERS)}
        if not any(self._files.values()):
            raise NotACapture(folder, f"raw copies {INDEX}-*.jsonl or {LADDERS}-*.jsonl", "none")
        self.lines = 0
        self.unreadable: Counter[str] = Counter()
        self.other_days: Counter[str] = Counter()
        self._stream = KalshiStream(use_yes_price=True)
        self._connected = False
        self._skew: ClockSample | None = None
        self._alive_ns = 0
        self._specs: dict[str, LadderSpec] = {}

    def events(self, told: Iterable[Message]) -> Iterator[Event]:
        """Yield the inputs of feeds in order of time; `told` is in order of publication."""
        sources: list[Iterator[tuple[int, int, str | Message]]] = [
            self._read(INDEX, _INDEX),
            self._read(LADDERS, _BOOKS),
            ((message.ts_pub_ns, _TOLD, message) for message in told),
        ]
        started = False
        for now_ns, kind, what in heapq.merge(*sources, key=lambda row: row[:2]):
            if not started:
                started = True
                yield Started(now_ns=now_ns)
                changes = Subscribed(LIFECYCLE, 0)
                yield BooksHeard(now_ns=now_ns, events=(changes,), as_of_ns=now_ns)
            if isinstance(what, Message):
                yield from self._told(what, now_ns)
            elif kind == _INDEX:
                yield from self._bars(what, now_ns)
            else:
                yield from self._frames(what, now_ns)

    def _read(self, feed: str, kind: int) -> Iterator[tuple[int, int, str | Message]]:
        newest_ns = 0
        for path in self._files[feed]:
            try:
                with path.open("rb") as file:
                    for text in file:
                        try:
                            line = _lines.decode(text)
                        except msgspec.DecodeError:
                            self.unreadable[feed] += 1
                            continue
                        if (day := eastern_date(line.recv_ns)) != self._day:
                            self.other_days[day.isoformat()] += 1
                            continue
                        self.lines += 1
                        newest_ns = max(newest_ns, line.recv_ns)
                        yield newest_ns, kind, line.raw
            except OSError as error:
                found = error.strerror or type(error).__name__
                raise CaptureError(path, "a readable raw copy", found) from None

    def _bars(self, text: str, now_ns: int) -> Iterator[Event]:
        for item in read_frame(text):
            if isinstance(item, Aggregate):
                yield IndexBar(
                    now_ns=now_ns,
                    symbol=item.symbol,
                    level_e4=item.level_e4,
                    start_ns=item.start_ns,
                    end_ns=item.end_ns,
                )

    def _frames(self, text: str, now_ns: int) -> Iterator[Event]:
        if self._begins_connection(text):
            if self._connected:
                yield from self._heard(self._stream.on_disconnected("a new connection"), now_ns)
            self._connected = True
            self._stream.on_connected(now_ns)
        yield from self._heard(self._stream.on_text(text, now_ns), now_ns)
        if now_ns - self._alive_ns >= ALIVE_NS:
            self._alive_ns = now_ns
            yield FeedAlive(now_ns=now_ns, feed=LADDERS, heard_ns=now_ns)

    def _begins_connection(self, text: str) -> bool:
        """Tell whether a frame answers the first command of a connection: raw copies hold no more
        of a connection's end and beginning than that.
        """
        if '"subscribed"' not in text:
            return False
        try:
            frame = decode_frame(text)
        except (ValueError, RecursionError):
            return False
        return isinstance(frame, SubscribedFrame) and frame.msg.channel == BOOKS

    def _heard(self, frames: Iterable[object], now_ns: int) -> Iterator[Event]:
        skew = self._skew
        as_of = as_of_ns(
            now_ns,
            self._stream.books_sent_ns(),
            skew.skew_ns if skew else None,
            skew.uncertainty_ns if skew else None,
        )
        news = [one for one in frames if not isinstance(one, Command | Reconnect | Subscribed)]
        if news:
            yield BooksHeard(now_ns=now_ns, events=tuple(news), as_of_ns=as_of)  # type: ignore[arg-type]

    def _told(self, message: Message, now_ns: int) -> Iterator[Event]:
        match message:
            case LadderDefined():
                self._stream.want(BOOKS, message.tickers, now_ns=now_ns)
                spec = self._specs[message.ladder_id] = spec_of(message)
                yield LaddersListed(now_ns=now_ns, ladders=(spec,), inactive=(), asked_ns=-1)
            case LadderSnapshot():
                known = self._specs.get(message.ladder_id)
                if known is None or message.inactive is None:
                    return
                inactive = tuple(known.rungs[index].ticker for index in message.inactive)
                yield LaddersListed(
                    now_ns=now_ns, ladders=(known,), inactive=inactive, asked_ns=now_ns
                )
            case ExchangeStatus():
                yield ExchangeStatusRead(
                    now_ns=now_ns,
                    exchange_active=message.exchange_active,
                    trading_active=message.trading_active,
                )
            case ClockSample():
                if message.reference == "exchange":
                    self._skew = message
                yield SkewMeasured(
                    now_ns=now_ns,
                    reference=message.reference,
                    skew_ns=message.skew_ns,
                    uncertainty_ns=message.uncertainty_ns,
                )
            case _:
                pass


def spec_of(defined: LadderDefined) -> LadderSpec:
    """Return an event as feeds had read it, from what it said of it."""
    columns = zip(
        defined.tickers, defined.strike_types, defined.floors_e4, defined.caps_e4, strict=True
    )
    return LadderSpec(
        event_ticker=defined.event_ticker,
        series_ticker=defined.series_ticker,
        family=defined.family,
        symbol=defined.symbol,
        kind=defined.kind,
        target_ns=defined.target_ns,
        close_ns=defined.close_ns,
        rungs=tuple(
            Rung(ticker, StrikeType(kind), floor_e4, cap_e4)
            for ticker, kind, floor_e4, cap_e4 in columns
        ),
        price_ranges=defined.price_ranges,
    )
