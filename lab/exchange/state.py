"""What the engine keeps: markets, accounts, orders, and the stream of ids and events."""

import hashlib
from collections import deque
from collections.abc import Callable
from typing import Literal

from msgspec import Struct

from lab.exchange.accounts import Account
from lab.exchange.candles import Candles
from lab.exchange.charges import Charges
from lab.exchange.matching import Book
from lab.exchange.model import (
    Event,
    EventSpec,
    Filled,
    MarketSpec,
    MarketStatus,
    Order,
    Rules,
    SeriesSpec,
    Settled,
    Traded,
)
from libs.domain.fees import FeeSchedule

TRADES_KEPT = 100_000


class Market:
    """One market's live state around its specification."""

    __slots__ = (
        "action",
        "book",
        "candles",
        "event",
        "last_price_e4",
        "last_trade_e2",
        "level_e4",
        "listed_ns",
        "open_interest_e2",
        "result",
        "series",
        "settled_ns",
        "spec",
        "status",
        "updated_ns",
        "volume_e2",
        "volume_e6",
    )

    def __init__(
        self, spec: MarketSpec, event: EventSpec, series: SeriesSpec, listed_ns: int
    ) -> None:
        self.spec = spec
        self.listed_ns = listed_ns
        self.event = event
        self.series = series
        self.book = Book()
        self.candles = Candles()
        self.status = MarketStatus.INITIALIZED
        self.result: Literal["", "yes", "no"] = ""
        self.level_e4: int | None = None
        self.last_price_e4 = 0
        self.last_trade_e2 = 0
        self.volume_e2 = 0
        self.volume_e6 = 0
        self.open_interest_e2 = 0
        self.settled_ns: int | None = None
        self.updated_ns = spec.created_ns
        self.action = 0


class History(Struct):
    """What one account can read back: orders, fills and settlements, oldest first."""

    orders: list[Order]
    fills: list[Filled]
    settlements: list[Settled]


class State:
    """All that the exchange knows. `emit` hands each event to the one listener at once."""

    def __init__(
        self, seed: int, emit: Callable[[Event], None], charges: Charges, rules: Rules
    ) -> None:
        self.emit = emit
        self.charges = charges
        self.rules = rules
        self.now_ns = 0
        self.action = 0
        self.exchange_active = True
        self.trading_active = True
        self.resume_ns: int | None = None
        self.series: dict[str, SeriesSpec] = {}
        self.events: dict[str, EventSpec] = {}
        self.event_markets: dict[str, list[Market]] = {}
        self.markets: dict[str, Market] = {}
        self.accounts: dict[str, Account] = {}
        self.histories: dict[str, History] = {}
        self.orders: dict[str, Order] = {}
        self.trades: deque[Traded] = deque(maxlen=TRADES_KEPT)
        self.trades_dropped = 0
        self.group_fills: list[tuple[str, int]] = []
        self.fees_e6 = 0
        self.returned_e6 = 0
        self.deposits_e6 = 0
        self._seed = seed
        self._ids = 0

    @property
    def cutoff_ns(self) -> int:
        """What ended before this time is in the historical reads and in no others."""
        return self.now_ns - self.rules.history_kept_ns

    def is_known(self, market: Market) -> bool:
        """Say whether REST knows a market already."""
        return self.now_ns >= market.listed_ns + self.rules.listing_delay_ns

    def archived(self, market: Market) -> bool:
        """Say whether a market has moved to the historical reads."""
        return market.settled_ns is not None and market.settled_ns < self.cutoff_ns

    def print_trade(self, traded: Traded) -> None:
        """Remember a public trade; the oldest goes when there are too many."""
        if len(self.trades) == TRADES_KEPT:
            self.trades_dropped += 1
        self.trades.append(traded)

    def schedule(self, market: Market) -> FeeSchedule:
        """Return what trades in a market cost now."""
        spec = market.event
        return self.charges.schedule(spec.series_ticker, spec.ticker, self.now_ns)

    def next_number(self) -> int:
        """Return a running number, never used before."""
        self._ids += 1
        return self._ids

    def next_id(self, kind: str) -> str:
        """Return a new identifier in UUID form, the same for the same seed and history."""
        text = f"{self._seed}/{kind}/{self.next_number()}"
        hexes = hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
        return f"{hexes[:8]}-{hexes[8:12]}-{hexes[12:16]}-{hexes[16:20]}-{hexes[20:]}"
