"""Candlesticks over REST: of a market, of several, of an event, and of an archived market."""

from lab.exchange.call import Call, Json
from lab.exchange.candles import Candle, Range
from lab.exchange.errors import bare, not_found
from lab.exchange.rest_public import find_market
from lab.exchange.state import Market
from libs.domain.money import format_count, format_price

CANDLES_MAX = 10_000
TICKERS_MAX = 100
_PERIODS = (1, 60, 1440)
_TIME_MAX_S = 10**11


def of_market(call: Call) -> Json:
    """Answer /series/{series_ticker}/markets/{ticker}/candlesticks."""
    market = find_market(call, archived=False)
    if market.event.series_ticker != call.path["series_ticker"]:
        raise not_found()
    return {"ticker": market.spec.ticker, "candlesticks": _candles(call, [market])[0]}


def of_markets(call: Call) -> Json:
    """Answer /markets/candlesticks."""
    tickers = call.texts("market_tickers", TICKERS_MAX)
    if not tickers:
        raise call.invalid("market_tickers", "required")
    state = call.engine.state
    found = [state.markets[ticker] for ticker in tickers if ticker in state.markets]
    markets = [market for market in found if state.is_known(market) and not state.archived(market)]
    return {
        "markets": [
            {"market_ticker": market.spec.ticker, "candlesticks": candles}
            for market, candles in zip(markets, _candles(call, markets), strict=True)
        ]
    }


def of_event(call: Call) -> Json:
    """Answer /series/{series_ticker}/events/{ticker}/candlesticks; too long a time is cut."""
    state = call.engine.state
    event = state.events.get(call.path["ticker"])
    if event is None or event.series_ticker != call.path["series_ticker"]:
        raise not_found()
    markets = state.event_markets[event.ticker]
    start_s, end_s, minutes = _period(call)
    end_s = min(end_s, start_s + CANDLES_MAX // len(markets) * minutes * 60)
    return {
        "market_tickers": [market.spec.ticker for market in markets],
        "market_candlesticks": [
            [_shown(candle) for candle in market.candles.periods(start_s, end_s, minutes)]
            for market in markets
        ],
        "adjusted_end_ts": end_s,
    }


def of_archived(call: Call) -> Json:
    """Answer /historical/markets/{ticker}/candlesticks, whose fields have no suffix."""
    market = find_market(call, archived=True)
    start_s, end_s, minutes = _period(call)
    _check_count(1, start_s, end_s, minutes)
    return {
        "ticker": market.spec.ticker,
        "candlesticks": [
            _without_suffixes(_shown(candle))
            for candle in market.candles.periods(start_s, end_s, minutes)
        ],
    }


def _candles(call: Call, markets: list[Market]) -> list[list[Json]]:
    start_s, end_s, minutes = _period(call)
    _check_count(len(markets), start_s, end_s, minutes)
    carried = call.flag("include_latest_before_start")
    listed = []
    for market in markets:
        candles = market.candles.periods(start_s, end_s, minutes)
        latest = market.candles.latest_before(start_s, minutes) if carried else None
        listed.append([_shown(candle) for candle in ([latest, *candles] if latest else candles)])
    return listed


def _period(call: Call) -> tuple[int, int, int]:
    values = []
    for name in ("start_ts", "end_ts", "period_interval"):
        value = call.number(name)
        if value is None:
            raise call.invalid(name, "required")
        values.append(value)
    start_s, end_s, minutes = values
    if minutes not in _PERIODS:
        raise call.invalid("period_interval", "oneof")
    if not -_TIME_MAX_S <= start_s <= end_s <= _TIME_MAX_S:
        raise call.invalid("end_ts", "gtefield")
    return start_s, end_s, minutes


def _check_count(markets: int, start_s: int, end_s: int, minutes: int) -> None:
    if markets * ((end_s - start_s) // (60 * minutes)) > CANDLES_MAX:
        raise bare(f"candlesticks: expected at most {CANDLES_MAX} periods over all markets")


def _shown(candle: Candle) -> Json:
    """Return the MarketCandlestick of REST."""
    prices: Json = dict.fromkeys(("open_dollars", "low_dollars", "high_dollars", "close_dollars"))
    if candle.traded is not None:
        prices = _range(candle.traded)
    return {
        "end_period_ts": candle.end_s,
        "yes_bid": _range(candle.bid),
        "yes_ask": _range(candle.ask),
        "price": {
            **prices,
            "mean_dollars": _price(candle.mean_e4),
            "previous_dollars": _price(candle.previous_e4),
        },
        "volume_fp": format_count(candle.volume_e2),
        "open_interest_fp": format_count(candle.open_interest_e2),
    }


def _range(prices: Range) -> Json:
    return {
        "open_dollars": format_price(prices.open_e4),
        "low_dollars": format_price(prices.low_e4),
        "high_dollars": format_price(prices.high_e4),
        "close_dollars": format_price(prices.close_e4),
    }


def _price(price_e4: int | None) -> str | None:
    return None if price_e4 is None else format_price(price_e4)


def _without_suffixes(shown: Json) -> Json:
    bare_names: Json = {}
    for name, value in shown.items():
        inner = _without_suffixes(value) if isinstance(value, dict) else value
        bare_names[name.removesuffix("_dollars").removesuffix("_fp")] = inner
    return bare_names
