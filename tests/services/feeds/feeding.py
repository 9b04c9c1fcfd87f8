"""Builders for the feeds' tests: a noon event of 2024-08-05 and what the sources may say of it."""

from typing import TypeVar

from libs.common.effects import Effect, Publish, TimerFired
from libs.common.messages import LadderSnapshot, Message, PriceRange
from libs.domain.strikes import Rung, StrikeType
from libs.kalshi.wire.frames import Lifecycle
from libs.kalshi.ws import LIFECYCLE
from libs.kalshi.ws_events import Delta, Gap, Snapshot, Subscribed
from services.feeds.config import FeedsConfig
from services.feeds.core import FeedsCore
from services.feeds.events import BooksHeard, FeedAlive, IndexBar, LaddersListed, LadderSpec

S = 1_000_000_000
MS = 1_000_000
TARGET = 1_722_873_600 * S  # 2024-08-05 12:00 in New York
NOW = TARGET - 900 * S
EVENT = "KXINXU-24AUG05H1200"
CENTS = (PriceRange(0, 10_000, 100),)
CONFIG = FeedsConfig(
    service="feeds",
    nats_url="nats://127.0.0.1:1",
    nats_password_file="none",
    admin_token_file="none",
    index_url="ws://127.0.0.1:1/indices",
    index_key_file="none",
    exchange_rest_url="http://127.0.0.1:1/trade-api/v2",
    exchange_ws_url="ws://127.0.0.1:1/trade-api/ws/v2",
    raw_directory="none",
    provenance="synthetic",
)
M = TypeVar("M", bound=Message)
E = TypeVar("E", bound=Effect)


def spec(event=EVENT, strikes=(5200, 5210, 5220), target_ns=TARGET, **changes) -> LadderSpec:
    rungs = tuple(
        Rung(f"{event}-T{strike}", StrikeType.GREATER_OR_EQUAL, strike * 10_000)
        for strike in strikes
    )
    fields = {
        "event_ticker": event,
        "series_ticker": event.split("-")[0],
        "family": "INXU",
        "symbol": "I:SPX",
        "kind": "nested",
        "target_ns": target_ns,
        "close_ns": target_ns,
        "rungs": rungs,
        "price_ranges": CENTS,
    }
    return LadderSpec(**(fields | changes))


TICKERS = tuple(rung.ticker for rung in spec().rungs)


def listed(*specs: LadderSpec, now_ns=NOW, inactive=(), asked_ns=None) -> LaddersListed:
    return LaddersListed(
        now_ns=now_ns,
        ladders=specs,
        inactive=inactive,
        asked_ns=now_ns if asked_ns is None else asked_ns,
    )


def lifecycle(event_type, ticker=TICKERS[0]) -> Lifecycle:
    return Lifecycle(ticker=ticker, event_type=event_type)


def snapshot(ticker=TICKERS[0], bids=((4500, 1000),), asks=((4700, 1000),)) -> Snapshot:
    return Snapshot(ticker, tuple(bids), tuple(asks), 1, 1, 1)


def delta(ticker=TICKERS[0], side="bid", price=4500, change=100) -> Delta:
    return Delta(ticker, side, price, change, 1, 1, 1, None, None)


def gap(*tickers: str) -> Gap:
    return Gap("orderbook_delta", tickers or TICKERS, "expected seq 5, got 7")


def heard(*events, now_ns=NOW, late_ns=0) -> BooksHeard:
    return BooksHeard(now_ns=now_ns, events=events, as_of_ns=now_ns - late_ns)


def bar(level=5200.0, end_ns=NOW, symbol="I:SPX", now_ns=None, start_ns=None) -> IndexBar:
    return IndexBar(
        now_ns=end_ns + 50 * MS if now_ns is None else now_ns,
        symbol=symbol,
        level_e4=round(level * 10_000),
        start_ns=end_ns - S if start_ns is None else start_ns,
        end_ns=end_ns,
    )


def following(*specs: LadderSpec, whole=True) -> FeedsCore:
    """Return a core that follows these ladders, their books whole if asked."""
    core = FeedsCore(CONFIG)
    specs = specs or (spec(),)
    core.handle(heard(Subscribed(LIFECYCLE, 2), now_ns=NOW - 60 * S))
    core.handle(listed(*specs, now_ns=NOW - 60 * S))
    core.handle(FeedAlive(now_ns=NOW - 59 * S, feed="kalshi.ladders", heard_ns=NOW - 59 * S))
    if whole:
        tickers = [rung.ticker for one in specs for rung in one.rungs]
        core.handle(heard(*map(snapshot, tickers), now_ns=NOW - 58 * S))
    for one in specs:  # the interval after the first snapshots is over
        core.handle(TimerFired(now_ns=NOW - 57 * S, key=one.event_ticker, at_ns=NOW - 57 * S))
    return core


def of(effects: list[Effect], kind: type[E]) -> list[E]:
    return [effect for effect in effects if isinstance(effect, kind)]


def said(effects: list[Effect], kind: type[M]) -> list[M]:
    """Return the published messages of one type."""
    return [e.message for e in of(effects, Publish) if isinstance(e.message, kind)]


def ladders(effects: list[Effect]) -> list[LadderSnapshot]:
    return said(effects, LadderSnapshot)
