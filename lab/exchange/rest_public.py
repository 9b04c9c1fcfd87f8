"""Reads that need no key: the exchange, its series, events, markets, books and trades."""

from collections.abc import Callable

from lab.exchange.call import Call, Json
from lab.exchange.errors import ApiError, bare, not_found
from lab.exchange.hours import PAUSE_WORDS
from lab.exchange.limits import costs_object
from lab.exchange.model import NS_PER_S, EventSpec
from lab.exchange.state import Market
from lab.exchange.wire import (
    book_object,
    event_object,
    market_object,
    override_object,
    series_object,
    status_filter,
    trade_object,
    wire_time,
)
from libs.domain.eastern import NS_PER_HOUR

PAGE_MAX = 1_000
EVENTS_PAGE_MAX = 200
BOOKS_MAX = 100
_LISTED_MAX = 10**9
_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


def exchange_status(call: Call) -> Json:
    """Answer /exchange/status; while the exchange is down the same body comes with 503."""
    state = call.engine.state
    body = status_object(exchange_active=state.exchange_active, trading_active=state.trading_active)
    if state.resume_ns is not None:
        body["exchange_estimated_resume_time"] = wire_time(state.resume_ns)
    if not state.exchange_active:
        raise ApiError(503, body)
    return body


def status_object(*, exchange_active: bool, trading_active: bool) -> Json:
    """Return the ExchangeStatus body, which also comes with 503."""
    flags = {"exchange_active": exchange_active, "trading_active": trading_active}
    shard = {
        "exchange_index": 0,
        "description": "default",
        **flags,
        "intra_exchange_transfers_active": exchange_active,
    }
    return {
        **flags,
        "intra_exchange_transfers_active": exchange_active,
        "exchange_index_statuses": [shard],
    }


def exchange_schedule(call: Call) -> Json:
    """Answer /exchange/schedule: always open, but for the weekly pause where it is kept."""
    midnight = "00:00"
    hours: Json = {day: [{"open_time": midnight, "close_time": midnight}] for day in _DAYS}
    if call.engine.state.rules.weekly_pause:
        begins, ends = PAUSE_WORDS
        hours["thursday"] = [
            {"open_time": midnight, "close_time": begins},
            {"open_time": ends, "close_time": midnight},
        ]
    year_ns = 365 * 24 * NS_PER_HOUR
    hours["start_time"] = wire_time(call.now_ns - year_ns)
    hours["end_time"] = wire_time(call.now_ns + year_ns)
    return {"schedule": {"standard_hours": [hours], "maintenance_windows": []}}


def user_data_timestamp(call: Call) -> Json:
    """Answer /exchange/user_data_timestamp: reads are as fresh as can be."""
    return {"as_of_time": wire_time(call.now_ns)}


def endpoint_costs(call: Call) -> Json:
    """Answer /account/endpoint_costs."""
    del call
    return costs_object()


def series_one(call: Call) -> Json:
    """Answer /series/{series_ticker}."""
    return {"series": _series(call, call.path["series_ticker"])}


def series_list(call: Call) -> Json:
    """Answer /series."""
    return {"series": [_series(call, ticker) for ticker in call.engine.state.series]}


def series_fee_changes(call: Call) -> Json:
    """Answer /series/fee_changes from the dated fee table."""
    state = call.engine.state
    wanted = call.text("series_ticker")
    historical = call.flag("show_historical")
    changes = [
        {
            "id": f"{change.series_ticker}-{change.from_ns // NS_PER_S}",
            "series_ticker": change.series_ticker,
            "fee_type": change.fee_type.value,
            "fee_multiplier": change.multiplier_e4 / 10_000,
            "scheduled_ts": wire_time(change.from_ns),
        }
        for change in state.charges.table.changes
        if change.series_ticker in state.series
        and wanted in ("", change.series_ticker)
        and change.from_ns > 0
        and (historical or change.from_ns > call.now_ns)
    ]
    return {"series_fee_change_arr": changes}


def event_fee_changes(call: Call) -> Json:
    """Answer /events/fee_changes: every override of a listed event, newest first."""
    limit = call.bounded("limit", 100, 1, PAGE_MAX)
    wanted = call.text("event_ticker")
    state = call.engine.state
    rows = sorted(state.charges.table.overrides, key=lambda row: row.from_ns)
    chosen = [
        (index, row)
        for index, row in enumerate(rows, start=1)
        if row.event_ticker in state.events and wanted in ("", row.event_ticker)
    ]
    page, cursor = call.page(chosen[::-1], lambda item: item[0], limit)
    changes = [
        {
            "id": f"{row.event_ticker}-{row.from_ns // NS_PER_S}",
            "event_ticker": row.event_ticker,
            "series_ticker": state.events[row.event_ticker].series_ticker,
            **override_object(row),
            "scheduled_ts": wire_time(row.from_ns),
        }
        for _, row in page
    ]
    return {"event_fee_changes": changes, "cursor": cursor}


def _event(call: Call, event: EventSpec, markets: list[Market] | None = None) -> Json:
    """Return an event's object with its own fees, if it has any now."""
    shown = event_object(event, markets)
    override = call.engine.state.charges.override(event.ticker, call.now_ns)
    if override is not None:
        own = override_object(override).items()
        shown |= {name: value for name, value in own if value is not None}
    return shown


def events_list(call: Call) -> Json:
    """Answer /events."""
    limit = call.bounded("limit", EVENTS_PAGE_MAX, 1, EVENTS_PAGE_MAX)
    series, tickers = call.text("series_ticker"), call.texts("tickers", EVENTS_PAGE_MAX)
    status = call.one_of("status", ("unopened", "open", "closed", "settled"))
    min_close = call.number("min_close_ts")
    nested = call.flag("with_nested_markets")
    state = call.engine.state
    chosen = [
        (_LISTED_MAX - index, event)
        for index, event in enumerate(state.events.values())
        if series in ("", event.series_ticker)
        and (not tickers or event.ticker in tickers)
        and (not status or _event_status(call, event.ticker) == status)
        and (min_close is None or event.target_ns >= min_close * NS_PER_S)
    ]
    page, cursor = call.page(chosen, lambda item: item[0], limit)
    return {
        "events": [
            _event(call, event, state.event_markets[event.ticker] if nested else None)
            for _, event in page
        ],
        "cursor": cursor,
    }


def event_one(call: Call) -> Json:
    """Answer /events/{event_ticker}."""
    state = call.engine.state
    event = state.events.get(call.path["event_ticker"])
    if event is None:
        raise not_found()
    markets = state.event_markets[event.ticker]
    if call.flag("exclude_markets"):
        if call.flag("with_nested_markets"):
            raise bare("exclude_markets cannot be combined with with_nested_markets")
        return {"event": _event(call, event), "markets": []}
    if call.flag("with_nested_markets"):
        return {"event": _event(call, event, markets), "markets": []}
    return {"event": _event(call, event), "markets": [market_object(m) for m in markets]}


def markets_list(call: Call) -> Json:
    """Answer /markets."""
    return _markets(call, archived=False)


def historical_markets(call: Call) -> Json:
    """Answer /historical/markets, whose filters exclude each other."""
    if sum(bool(call.text(name)) for name in ("tickers", "event_ticker", "series_ticker")) > 1:
        raise bare("tickers, event_ticker and series_ticker exclude each other")
    return _markets(call, archived=True)


def _markets(call: Call, *, archived: bool) -> Json:
    limit = call.bounded("limit", 100, 0, PAGE_MAX) or 100
    event, series = call.text("event_ticker"), call.text("series_ticker")
    tickers = set(call.texts("tickers", PAGE_MAX))
    status = call.one_of("status", ("unopened", "open", "paused", "closed", "settled"))
    combos = call.one_of("mve_filter", ("only", "exclude"))
    times = [
        (name, call.number(f"min_{name}_ts"), call.number(f"max_{name}_ts"))
        for name in _MARKET_TIMES
    ]
    times = [time for time in times if time[1:] != (None, None)]
    _check_times(times, status)
    state = call.engine.state
    chosen = [
        (_LISTED_MAX - index, market)
        for index, market in enumerate(state.markets.values())
        if combos != "only"
        and event in ("", market.event.ticker)
        and series in ("", market.event.series_ticker)
        and (not tickers or market.spec.ticker in tickers)
        and (not status or status_filter(market) == status)
        and all(_passes(_MARKET_TIMES[name](market), low, high) for name, low, high in times)
        and state.archived(market) == archived
    ]
    page, cursor = call.page(chosen, lambda item: item[0], limit)
    return {"markets": [market_object(market) for _, market in page], "cursor": cursor}


def _passes(at_ns: int | None, after_s: int | None, before_s: int | None) -> bool:
    return at_ns is not None and within(at_ns, after_s, before_s)


def _check_times(times: list[tuple[str, int | None, int | None]], status: str) -> None:
    """Refuse filters by two kinds of time, or by one that does not go with the status."""
    if len(times) > 1 or (times and status and status not in _STATUSES_WITH[times[0][0]]):
        raise bare("timestamp filters exclude each other and some status filters")


_MARKET_TIMES: dict[str, Callable[[Market], int | None]] = {
    "close": lambda market: market.spec.close_ns,
    "created": lambda market: market.spec.created_ns,
    "updated": lambda market: market.updated_ns,
    "settled": lambda market: market.settled_ns,
}
_STATUSES_WITH = {
    "close": ("closed",),
    "created": ("unopened", "open"),
    "updated": (),
    "settled": ("settled",),
}


def market_one(call: Call) -> Json:
    """Answer /markets/{ticker}; an archived market is not found."""
    return {"market": market_object(find_market(call, archived=False))}


def historical_market(call: Call) -> Json:
    """Answer /historical/markets/{ticker}."""
    return {"market": market_object(find_market(call, archived=True))}


def historical_cutoff(call: Call) -> Json:
    """Answer /historical/cutoff: one cutoff for everything."""
    cutoff = wire_time(call.engine.state.cutoff_ns)
    return {
        "market_settled_ts": cutoff,
        "trades_created_ts": cutoff,
        "orders_updated_ts": cutoff,
        "market_positions_last_updated_ts": cutoff,
    }


def orderbook(call: Call) -> Json:
    """Answer /markets/{ticker}/orderbook."""
    depth = max(0, call.bounded("depth", 0, -(10**9), BOOKS_MAX))
    view = find_market(call, archived=False).book.view()
    return {"orderbook_fp": book_object(view, depth)}


def orderbooks(call: Call) -> Json:
    """Answer /markets/orderbooks, whose `tickers` repeat."""
    tickers = call.query.get("tickers", ())
    if not tickers:
        raise call.invalid("tickers", "required")
    if len(tickers) > BOOKS_MAX:
        raise call.invalid("tickers", "max")
    markets = call.engine.state.markets
    return {
        "orderbooks": [
            {"ticker": ticker, "orderbook_fp": book_object(markets[ticker].book.view(), 0)}
            for ticker in tickers
            if ticker in markets
        ]
    }


def trades_list(call: Call) -> Json:
    """Answer /markets/trades, newest first."""
    return _trades(call, archived=False)


def historical_trades(call: Call) -> Json:
    """Answer /historical/trades, newest first."""
    return _trades(call, archived=True)


def _trades(call: Call, *, archived: bool) -> Json:
    limit = call.bounded("limit", 100, 0, PAGE_MAX) or 100
    ticker = call.text("ticker")
    after, before = call.number("min_ts"), call.number("max_ts")
    state = call.engine.state
    if call.flag("is_block_trade"):
        return {"trades": [], "cursor": ""}
    cutoff_ns = state.cutoff_ns
    chosen = [
        (state.trades_dropped + index, trade)
        for index, trade in enumerate(state.trades, start=1)
        if ticker in ("", trade.ticker)
        and within(trade.at_ns, after, before)
        and (trade.at_ns < cutoff_ns) == archived
    ]
    page, cursor = call.page(chosen[::-1], lambda item: item[0], limit)
    return {"trades": [trade_object(trade) for _, trade in page], "cursor": cursor}


def within(at_ns: int, after_s: int | None, before_s: int | None) -> bool:
    """Say whether a time lies between two optional Unix times in seconds."""
    return (after_s is None or at_ns >= after_s * NS_PER_S) and (
        before_s is None or at_ns <= before_s * NS_PER_S
    )


def _series(call: Call, ticker: str) -> Json:
    state = call.engine.state
    series = state.series.get(ticker)
    if series is None:
        raise not_found()
    fees = state.charges.schedule(ticker, "", call.now_ns)
    return series_object(ticker, series.title, series.frequency, fees)


def _event_status(call: Call, event_ticker: str) -> str:
    words = {status_filter(m) for m in call.engine.state.event_markets[event_ticker]}
    if words & {"open", "paused"}:
        return "open"
    for word in ("unopened", "closed"):
        if word in words:
            return word
    return "settled"


def find_market(call: Call, *, archived: bool) -> Market:
    """Return the path's market, of the live or of the historical ones. Raises ApiError."""
    state = call.engine.state
    market = state.markets.get(call.path["ticker"])
    if market is None or not state.is_known(market) or state.archived(market) != archived:
        raise not_found()
    return market
