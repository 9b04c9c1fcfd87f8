"""Public answers: exchange, series, events, markets, order books (kalshi-api.md §2.4, §4)."""

from typing import Literal

from msgspec import Struct, field

from libs.domain.money import PRICE_ONE_E4
from libs.kalshi.fields import CountE2, LevelE4, MoneyE6, PriceE4, SignedCountE2, TimeNs

Level = tuple[PriceE4, CountE2]
Side = Literal["bid", "ask"]


class Shard(Struct, frozen=True):
    """State of one exchange shard; ours is `exchange_index` 0."""

    exchange_index: int
    exchange_active: bool
    trading_active: bool


class ExchangeStatus(Struct, frozen=True):
    """Whether the exchange runs and trades; also the body of a 503 or 504 answer."""

    exchange_active: bool
    trading_active: bool
    resume_ns: TimeNs | None = field(default=None, name="exchange_estimated_resume_time")
    shards: tuple[Shard, ...] = field(default=(), name="exchange_index_statuses")

    def of_shard(self, exchange_index: int) -> Shard:
        """Return the state of one shard, which is no better than that of the whole."""
        named = [one for one in self.shards if one.exchange_index == exchange_index]
        return Shard(
            exchange_index,
            self.exchange_active and all(one.exchange_active for one in named),
            self.trading_active and all(one.trading_active for one in named),
        )


class DailyHours(Struct, frozen=True):
    """One opening of a weekday, HH:MM in Eastern time."""

    open_time: str
    close_time: str


class WeeklyHours(Struct, frozen=True):
    """Standard hours per weekday, valid from `start_ns` to `end_ns`."""

    start_ns: TimeNs = field(name="start_time")
    end_ns: TimeNs = field(name="end_time")
    monday: tuple[DailyHours, ...]
    tuesday: tuple[DailyHours, ...]
    wednesday: tuple[DailyHours, ...]
    thursday: tuple[DailyHours, ...]
    friday: tuple[DailyHours, ...]
    saturday: tuple[DailyHours, ...]
    sunday: tuple[DailyHours, ...]


class MaintenanceWindow(Struct, frozen=True):
    """A time without trading."""

    start_ns: TimeNs = field(name="start_datetime")
    end_ns: TimeNs = field(name="end_datetime")


class Schedule(Struct, frozen=True):
    """Trading hours and maintenance windows."""

    standard_hours: tuple[WeeklyHours, ...]
    maintenance_windows: tuple[MaintenanceWindow, ...]


class ScheduleAnswer(Struct, frozen=True):
    """GET /exchange/schedule."""

    schedule: Schedule


class Series(Struct, frozen=True):
    """A template of recurring events, with its fees."""

    ticker: str
    title: str
    frequency: str
    category: str
    fee_type: str
    fee_multiplier: float
    contract_terms_url: str = ""


class SeriesAnswer(Struct, frozen=True):
    """GET /series/{ticker}."""

    series: Series


class SeriesFeeChange(Struct, frozen=True):
    """A coming or past change of a series' fees."""

    id: str
    series_ticker: str
    fee_type: str
    fee_multiplier: float
    scheduled_ns: TimeNs = field(name="scheduled_ts")


class SeriesFeeChangesAnswer(Struct, frozen=True):
    """GET /series/fee_changes."""

    changes: tuple[SeriesFeeChange, ...] = field(name="series_fee_change_arr")


class EventFeeChange(Struct, frozen=True):
    """A coming or past fee override of an event; both nulls clear it."""

    id: str
    event_ticker: str
    series_ticker: str
    scheduled_ns: TimeNs = field(name="scheduled_ts")
    fee_type_override: str | None = None
    fee_multiplier_override: float | None = None


class EventFeeChangesPage(Struct, frozen=True):
    """GET /events/fee_changes."""

    items: tuple[EventFeeChange, ...] = field(name="event_fee_changes")
    cursor: str = ""


class PriceRange(Struct, frozen=True):
    """A stretch of the tick grid: prices from start to end in steps."""

    start_e4: PriceE4 = field(name="start")
    end_e4: PriceE4 = field(name="end")
    step_e4: PriceE4 = field(name="step")


class Market(Struct, frozen=True):
    """One strike. There is a quote only where its size is above zero, whatever the price says
    (the demo exchange has sent sizes of "-3.00").

    `status` in objects: initialized, inactive, active, closed, determined, disputed, amended,
    finalized. `result` is "" until known. `strike_type` decides the payoff, never the ticker.
    """

    ticker: str
    event_ticker: str
    status: str
    result: str
    open_ns: TimeNs = field(name="open_time")
    close_ns: TimeNs = field(name="close_time")
    latest_expiration_ns: TimeNs = field(name="latest_expiration_time")
    price_level_structure: str
    price_ranges: tuple[PriceRange, ...]
    yes_bid_e4: PriceE4 = field(name="yes_bid_dollars")
    yes_bid_size_e2: SignedCountE2 = field(name="yes_bid_size_fp")
    yes_ask_e4: PriceE4 = field(name="yes_ask_dollars")
    yes_ask_size_e2: SignedCountE2 = field(name="yes_ask_size_fp")
    last_price_e4: PriceE4 = field(name="last_price_dollars")
    volume_e2: CountE2 = field(name="volume_fp")
    open_interest_e2: CountE2 = field(name="open_interest_fp")
    rules_primary: str
    rules_secondary: str
    settlement_timer_seconds: int
    can_close_early: bool
    expiration_value: str = ""
    title: str = ""
    yes_sub_title: str = ""
    strike_type: str | None = None
    floor_e4: LevelE4 | None = field(default=None, name="floor_strike")
    cap_e4: LevelE4 | None = field(default=None, name="cap_strike")
    settlement_value_e6: MoneyE6 | None = field(default=None, name="settlement_value_dollars")
    settled_ns: TimeNs | None = field(default=None, name="settlement_ts")
    expected_expiration_ns: TimeNs | None = field(default=None, name="expected_expiration_time")
    occurrence_ns: TimeNs | None = field(default=None, name="occurrence_datetime")
    exchange_index: int = 0


class MarketAnswer(Struct, frozen=True):
    """GET /markets/{ticker}."""

    market: Market


class MarketsPage(Struct, frozen=True):
    """GET /markets."""

    items: tuple[Market, ...] = field(name="markets")
    cursor: str = ""


class Event(Struct, frozen=True):
    """One ladder: its markets are there when they were asked for nested.

    `collateral_return_type` MECNET goes with `mutually_exclusive` (a partition), DIRECNET is a
    nested threshold ladder.
    """

    event_ticker: str
    series_ticker: str
    title: str
    sub_title: str
    mutually_exclusive: bool
    collateral_return_type: str
    strike_ns: TimeNs | None = field(default=None, name="strike_date")
    strike_period: str | None = None
    fee_type_override: str | None = None
    fee_multiplier_override: float | None = None
    exchange_index: int = 0
    markets: tuple[Market, ...] | None = None


class EventAnswer(Struct, frozen=True):
    """GET /events/{event_ticker}; without nesting the markets stand beside the event."""

    event: Event
    markets: tuple[Market, ...] | None = None


class EventsPage(Struct, frozen=True):
    """GET /events."""

    items: tuple[Event, ...] = field(name="events")
    cursor: str = ""


class WireBook(Struct, frozen=True):
    """Bids only, of both sides, each in its own leg's price, ascending."""

    yes: tuple[Level, ...] = field(name="yes_dollars")
    no: tuple[Level, ...] = field(name="no_dollars")


class WireBookAnswer(Struct, frozen=True):
    """GET /markets/{ticker}/orderbook."""

    orderbook_fp: WireBook


class WireBookOfTicker(Struct, frozen=True):
    """One book of GET /markets/orderbooks."""

    ticker: str
    orderbook_fp: WireBook


class WireBooksAnswer(Struct, frozen=True):
    """GET /markets/orderbooks."""

    orderbooks: tuple[WireBookOfTicker, ...]


class OrderBook(Struct, frozen=True):
    """A YES book: (price_e4, count_e2) levels, best first on both sides."""

    ticker: str
    bids: tuple[tuple[int, int], ...]
    asks: tuple[tuple[int, int], ...]


def yes_book(ticker: str, book: WireBook) -> OrderBook:
    """Return the YES book of a REST book: a NO bid at p is a YES ask at 1 - p."""
    bids = sorted(book.yes, reverse=True)
    asks = sorted((PRICE_ONE_E4 - price_e4, count_e2) for price_e4, count_e2 in book.no)
    return OrderBook(ticker=ticker, bids=tuple(bids), asks=tuple(asks))


class UserDataTimestamp(Struct, frozen=True):
    """GET /exchange/user_data_timestamp: reads of orders and fills are at least this fresh."""

    as_of_ns: TimeNs = field(name="as_of_time")
