"""What happened on a market: public trades, candlesticks, and where old records are (§2.4)."""

from msgspec import Struct, field

from libs.kalshi.fields import CountE2, MoneyE6, PriceE4, TimeFromS, TimeNs
from libs.kalshi.wire.market import Side


class PublicTrade(Struct, frozen=True):
    """One print; `taker_side` is the side of the YES book that took."""

    trade_id: str
    ticker: str
    price_e4: PriceE4 = field(name="yes_price_dollars")
    count_e2: CountE2 = field(name="count_fp")
    taker_side: Side = field(name="taker_book_side")
    created_ns: TimeNs = field(name="created_time")
    is_block_trade: bool


class TradesPage(Struct, frozen=True):
    """GET /markets/trades and /historical/trades."""

    items: tuple[PublicTrade, ...] = field(name="trades")
    cursor: str = ""


class QuoteRange(Struct, frozen=True):
    """How a best quote moved within a period."""

    open_e4: PriceE4 = field(name="open_dollars")
    low_e4: PriceE4 = field(name="low_dollars")
    high_e4: PriceE4 = field(name="high_dollars")
    close_e4: PriceE4 = field(name="close_dollars")


class TradeRange(Struct, frozen=True):
    """How the trades' price moved within a period; None without a trade.

    The mean is an average and off the tick grid.
    """

    open_e4: PriceE4 | None = field(default=None, name="open_dollars")
    low_e4: PriceE4 | None = field(default=None, name="low_dollars")
    high_e4: PriceE4 | None = field(default=None, name="high_dollars")
    close_e4: PriceE4 | None = field(default=None, name="close_dollars")
    mean_e6: MoneyE6 | None = field(default=None, name="mean_dollars")
    previous_e4: PriceE4 | None = field(default=None, name="previous_dollars")


class Candlestick(Struct, frozen=True):
    """One period, up to and including `end_ns`."""

    end_ns: TimeFromS = field(name="end_period_ts")
    yes_bid: QuoteRange
    yes_ask: QuoteRange
    price: TradeRange
    volume_e2: CountE2 = field(name="volume_fp")
    open_interest_e2: CountE2 = field(name="open_interest_fp")


class MarketCandlesticks(Struct, frozen=True):
    """The periods of one market."""

    ticker: str = field(name="market_ticker")
    candlesticks: tuple[Candlestick, ...]


class CandlesticksAnswer(Struct, frozen=True):
    """GET /markets/candlesticks."""

    markets: tuple[MarketCandlesticks, ...]


class HistoricalCutoff(Struct, frozen=True):
    """GET /historical/cutoff: older records live under /historical."""

    orders_updated_ns: TimeNs = field(name="orders_updated_ts")
    trades_created_ns: TimeNs = field(name="trades_created_ts")
    market_settled_ns: TimeNs = field(name="market_settled_ts")
    positions_updated_ns: TimeNs | None = field(
        default=None, name="market_positions_last_updated_ts"
    )
