"""A capture of feeds as the world of a replay: recorded inputs for feeds, recorded books for us."""

from msgspec import DecodeError

from lab.capture.errors import BadRecord
from lab.capture.feeds import (
    BarRow,
    DeltaRow,
    ListedRow,
    Row,
    SnapshotRow,
    StatusRow,
    decode_row,
    event_of,
)
from lab.capture.format import CaptureReader, Record
from lab.drive.account import OURS
from lab.drive.schedule import Schedule
from lab.drive.services import Stage
from lab.exchange import model as x
from lab.exchange.engine import Engine
from lab.exchange.settling import settle_closed
from lab.replay.recorded import RecordedMarket
from libs.common.effects import Effect
from libs.kalshi.ws_events import Delta, Snapshot
from services.feeds.events import (
    BooksHeard,
    CountRefused,
    DropBooks,
    ListLadders,
    ReadFees,
    ResyncBooks,
    WatchBooks,
)

SID = 0


class RecordedFeeds:
    """Give feeds' core what it was given then, and our own orders beside it."""

    def __init__(
        self,
        reader: CaptureReader,
        engine: Engine,
        schedule: Schedule,
        feeds: Stage,
        settlement_timer_ns: int,
    ) -> None:
        self._reader = reader
        self._engine = engine
        self._schedule = schedule
        self._feeds = feeds
        self._timer_ns = settlement_timer_ns
        self.market = RecordedMarket(engine, OURS)
        self._levels: dict[tuple[str, int], int] = {}
        self._final: set[tuple[str, int]] = set()
        self.inputs = 0
        self.refused: dict[str, int] = {}

    # The capture

    def take(self, record: Record) -> None:
        """Let one record happen: first at the exchange, then for feeds. Raises BadRecord."""
        try:
            row = decode_row(record.data)
        except DecodeError as error:
            raise BadRecord(self._reader.path, "an input of feeds", str(error)) from None
        now_ns = self._schedule.now_ns
        self.inputs += 1
        if type(row) is DeltaRow:
            if row.client_order_id is not None:
                return  # an order of our own of then: what we do now takes its place
            self.market.change(row.ticker, row.side, row.price_e4, row.change_e2, now_ns)
        else:
            self._other(row, now_ns)
        self._feeds.dispatch(event_of(row, now_ns))

    def _other(self, row: Row, now_ns: int) -> None:
        match row:
            case SnapshotRow():
                self.market.snapshot(row.ticker, row.bids, row.asks, now_ns)
            case BarRow():
                self._bar(row)
            case ListedRow():
                for spec in row.ladders:
                    self.market.list(spec, now_ns, self._timer_ns)
            case StatusRow():
                state = self._engine.state
                if row.trading_active != state.trading_active:
                    self._engine.set_pause(
                        exchange_active=row.exchange_active,
                        trading_active=row.trading_active,
                        now_ns=now_ns,
                    )
            case _:
                pass

    # Settlement, from the recorded index

    def _bar(self, bar: BarRow) -> None:
        """Note the newest level on or before each target; a later bar makes it final."""
        for event in self._engine.state.events.values():
            key = (event.symbol, event.target_ns)
            if event.symbol == bar.symbol:
                if bar.end_ns <= event.target_ns:
                    self._levels[key] = bar.level_e4
                if bar.end_ns >= event.target_ns:
                    self._final.add(key)

    def settle(self) -> None:
        """Settle at the exchange whatever is final."""
        settle_closed(self._engine, self._level, self._schedule.now_ns)

    def _level(self, symbol: str, target_ns: int) -> int | None:
        key = (symbol, target_ns)
        return self._levels.get(key) if key in self._final else None

    # Our own orders in the books that feeds keeps

    def own(self, event: x.BookChanged) -> None:
        """Tell feeds of a change that is our own doing."""
        self._hear(
            Delta(
                event.ticker,
                event.side,
                event.price_e4,
                event.delta_e2,
                SID,
                0,
                event.clock,
                event.at_ns,
                event.client_order_id,
            )
        )

    def perform(self, effect: Effect) -> None:
        """Do what feeds' core asks for: what was recorded comes by itself, snapshots are made."""
        match effect:
            case ResyncBooks():
                self._schedule.at(self._schedule.now_ns, self._resync, effect.tickers)
            case CountRefused():
                key = f"{effect.feed} {effect.reason}"
                self.refused[key] = self.refused.get(key, 0) + 1
            case WatchBooks() | DropBooks() | ListLadders() | ReadFees():
                pass
            case _:
                raise AssertionError(f"no one performs {type(effect).__name__}")

    def _resync(self, tickers: tuple[str, ...]) -> None:
        for ticker in tickers:
            if (view := self.market.view(ticker)) is not None:
                self._hear(Snapshot(ticker, view.bids, view.asks, SID, 0, view.clock))

    def _hear(self, frame: Delta | Snapshot) -> None:
        now_ns = self._schedule.now_ns
        self._feeds.dispatch(BooksHeard(now_ns=now_ns, events=(frame,), as_of_ns=now_ns))
