"""What the adapters tell the core, and what the core asks of them."""

from msgspec import Struct

from libs.common.effects import Effect, Event
from libs.common.messages import FeeChangeTold, PriceRange
from libs.domain.strikes import Rung
from libs.kalshi.ws_events import StreamEvent

INDEX = "index.ws"
MINUTES = "index.minutes"
LADDERS = "kalshi.ladders"
STATUS = "kalshi.status"
CLOCK = "clock"


class Started(Event, frozen=True, kw_only=True):
    """The adapters begin."""


class IndexBar(Event, frozen=True, kw_only=True):
    """One second of an index as the source sent it."""

    symbol: str
    level_e4: int
    start_ns: int
    end_ns: int


class MinuteBar(Event, frozen=True, kw_only=True):
    """One whole minute of an index; `start_ns` is its start, and its end is when it was known."""

    symbol: str
    open_e4: int
    high_e4: int
    low_e4: int
    close_e4: int
    start_ns: int


class FeedFailed(Event, frozen=True, kw_only=True):
    """A source can't be read now; `detail` says what came instead.

    `losses` is how often its connection was lost so far.
    """

    feed: str
    detail: str
    losses: int = 0


class FeedAlive(Event, frozen=True, kw_only=True):
    """A source was heard of at `heard_ns`, whether or not it had news."""

    feed: str
    heard_ns: int
    losses: int = 0


class LadderSpec(Struct, frozen=True, kw_only=True):
    """One event as the exchange lists it."""

    event_ticker: str
    series_ticker: str
    family: str
    symbol: str
    kind: str
    target_ns: int
    close_ns: int
    rungs: tuple[Rung, ...]
    price_ranges: tuple[PriceRange, ...]


class LaddersListed(Event, frozen=True, kw_only=True):
    """The events that the exchange had open at `asked_ns` or later and that we could read.

    `inactive` are those of their markets that did not trade.
    """

    ladders: tuple[LadderSpec, ...]
    inactive: tuple[str, ...]
    asked_ns: int


class BooksHeard(Event, frozen=True, kw_only=True):
    """What the WebSocket brought; it shows the books of `as_of_ns`, which a slow line makes old."""

    events: tuple[StreamEvent, ...]
    as_of_ns: int


class ExchangeStatusRead(Event, frozen=True, kw_only=True):
    """What the exchange says about itself."""

    exchange_active: bool
    trading_active: bool


class SkewMeasured(Event, frozen=True, kw_only=True):
    """Our clock less an outside one."""

    reference: str
    skew_ns: int
    uncertainty_ns: int


class FeeFactsRead(Event, frozen=True, kw_only=True):
    """What the exchange publishes of a series' fees and rules, and of those of its open events."""

    series_ticker: str
    fee_type: str
    fee_multiplier: float
    contract_terms_url: str
    changes: tuple[FeeChangeTold, ...] = ()


class WatchBooks(Effect, frozen=True, kw_only=True):
    """Subscribe to the books of these markets."""

    tickers: tuple[str, ...]


class DropBooks(Effect, frozen=True, kw_only=True):
    """Unsubscribe from the books of these markets."""

    tickers: tuple[str, ...]


class ResyncBooks(Effect, frozen=True, kw_only=True):
    """Ask for fresh snapshots: these books can't be right."""

    tickers: tuple[str, ...]


class ListLadders(Effect, frozen=True, kw_only=True):
    """Ask soon what is open: something of a market changed, or changes were lost."""


class ReadFees(Effect, frozen=True, kw_only=True):
    """Read soon what is published of fees: something changed."""


class CountRefused(Effect, frozen=True, kw_only=True):
    """An observation was refused at the edge."""

    feed: str
    reason: str
    detail: str
