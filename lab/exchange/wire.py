"""Kalshi's JSON objects, made from the engine's state."""

from datetime import UTC, datetime
from functools import lru_cache
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from lab.exchange.accounts import Account, Position
from lab.exchange.model import (
    NS_PER_S,
    ONE_DOLLAR_E4,
    BookView,
    EventSpec,
    Filled,
    MarketStatus,
    Order,
    Reason,
    Settled,
    Side,
    Traded,
)
from lab.exchange.state import Market
from libs.domain.fee_table import EventFeeOverride
from libs.domain.fees import FeeSchedule
from libs.domain.money import LEVEL_ONE_E4, format_count, format_level, format_money, format_price

Json = dict[str, Any]

_ZERO_COUNT = "0.00"
_CENT_E6 = 10_000
_WIRE_REASONS = {
    "Decrease",
    "Amend",
    "SelfTradeCancel",
    "ExpiryCancel",
    "CloseCancel",
    "HaltCancel",
    "Trade",
    "ReduceOnlyCancel",
}


@lru_cache(maxsize=4096)
def user_id(account: str) -> str:
    """Return the UUID that the wire shows for an account."""
    return str(uuid5(NAMESPACE_URL, f"account:{account}"))


def wire_time(at_ns: int) -> str:
    """Return RFC3339 UTC to the microsecond with trailing zeros trimmed."""
    seconds, rest_ns = divmod(at_ns, NS_PER_S)
    text = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    fraction = f".{rest_ns // 1000:06d}".rstrip("0").rstrip(".")
    return f"{text}{fraction}Z"


def wire_ms(at_ns: int) -> int:
    """Return Unix milliseconds."""
    return at_ns // 1_000_000


def outcome(side: Side) -> str:
    """Return the outcome that an order on that side of the YES book wants."""
    return "yes" if side == "bid" else "no"


def dollars(money_e6: int) -> str:
    """Return a dollar string: four decimals when exact, else six."""
    text = format_money(money_e6)
    return text[:-2] if text.endswith("00") else text


def strike_number(level_e4: int) -> int | float:
    """Return a strike as the JSON number the exchange shows."""
    whole, rest = divmod(level_e4, LEVEL_ONE_E4)
    return whole if rest == 0 else level_e4 / LEVEL_ONE_E4


def direction(side: Side) -> Json:
    """Return the direction fields of orders and fills, deprecated ones included."""
    named = outcome(side)
    return {"side": named, "action": "buy", "outcome_side": named, "book_side": side}


def order_object(order: Order) -> Json:
    """Return the Order of REST."""
    shown: Json = {
        **direction(order.side),
        **_order_counts(order),
        "order_id": order.order_id,
        "user_id": user_id(order.account),
        "client_order_id": order.client_order_id,
        "ticker": order.ticker,
        "type": "limit",
        "status": order.status,
        "no_price_dollars": format_price(ONE_DOLLAR_E4 - order.price_e4),
        "created_time": wire_time(order.created_ns),
        "last_update_time": wire_time(order.updated_ns),
        "self_trade_prevention_type": order.self_trade,
        "cancel_order_on_pause": order.cancel_on_pause,
        "subaccount_number": 0,
        "exchange_index": 0,
    }
    if order.expiration_ns is not None:
        shown["expiration_time"] = wire_time(order.expiration_ns)
    if order.group_id is not None:
        shown["order_group_id"] = order.group_id
    return shown


def user_order(order: Order, reason: Reason) -> Json:
    """Return the message of the `user_orders` channel."""
    named = outcome(order.side)
    shown: Json = {
        **_order_counts(order),
        "order_id": order.order_id,
        "user_id": user_id(order.account),
        "ticker": order.ticker,
        "exchange_index": 0,
        "status": order.status,
        "side": named,
        "is_yes": order.side == "bid",
        "outcome_side": named,
        "book_side": order.side,
        "client_order_id": order.client_order_id,
        "self_trade_prevention_type": order.self_trade,
        "created_time": _milli_time(order.created_ns),
        "created_ts_ms": wire_ms(order.created_ns),
        "last_update_time": _milli_time(order.updated_ns),
        "last_updated_ts_ms": wire_ms(order.updated_ns),
        "subaccount_number": 0,
    }
    if reason.value in _WIRE_REASONS:
        shown["last_update_reason"] = reason.value
    if order.expiration_ns is not None:
        shown["expiration_time"] = _milli_time(order.expiration_ns)
        shown["expiration_ts_ms"] = wire_ms(order.expiration_ns)
    if order.group_id is not None:
        shown["order_group_id"] = order.group_id
    return shown


def fill_object(fill: Filled) -> Json:
    """Return the Fill of REST."""
    return {
        **direction(fill.side),
        "fill_id": fill.trade_id,
        "trade_id": fill.trade_id,
        "order_id": fill.order_id,
        "ticker": fill.ticker,
        "market_ticker": fill.ticker,
        "count_fp": format_count(fill.count_e2),
        "yes_price_dollars": format_price(fill.price_e4),
        "no_price_dollars": format_price(ONE_DOLLAR_E4 - fill.price_e4),
        "is_taker": fill.is_taker,
        "fee_cost": format_money(fill.fee_e6),
        "created_time": wire_time(fill.at_ns),
        "ts": fill.at_ns // NS_PER_S,
        "subaccount_number": 0,
        "exchange_index": 0,
    }


def fill_message(fill: Filled) -> Json:
    """Return the message of the `fill` channel."""
    named = outcome(fill.side)
    return {
        "trade_id": fill.trade_id,
        "order_id": fill.order_id,
        "client_order_id": fill.client_order_id,
        "market_ticker": fill.ticker,
        "exchange_index": 0,
        "is_taker": fill.is_taker,
        **direction(fill.side),
        "purchased_side": named,
        "yes_price_dollars": format_price(fill.price_e4),
        "count_fp": format_count(fill.count_e2),
        "fee_cost": format_money(fill.fee_e6),
        "post_position_fp": format_count(fill.position_e2),
        "subaccount": 0,
        "ts": fill.at_ns // NS_PER_S,
        "ts_ms": wire_ms(fill.at_ns),
    }


def trade_object(trade: Traded) -> Json:
    """Return the Trade of REST."""
    shown = _trade_fields(trade)
    return {**shown, "ticker": trade.ticker, "created_time": wire_time(trade.at_ns)}


def trade_message(trade: Traded) -> Json:
    """Return the message of the `trade` channel."""
    return {
        **_trade_fields(trade),
        "market_ticker": trade.ticker,
        "ts": trade.at_ns // NS_PER_S,
        "ts_ms": wire_ms(trade.at_ns),
    }


def market_object(market: Market) -> Json:
    """Return the Market of REST."""
    spec = market.spec
    close = wire_time(spec.close_ns)
    shown: Json = {
        "ticker": spec.ticker,
        "event_ticker": spec.event_ticker,
        "market_type": "binary",
        "title": spec.title,
        "subtitle": spec.sub_title,
        "yes_sub_title": spec.sub_title,
        "no_sub_title": spec.sub_title,
        "created_time": wire_time(spec.created_ns),
        "updated_time": wire_time(market.updated_ns),
        "open_time": wire_time(spec.open_ns),
        "close_time": close,
        "expected_expiration_time": close,
        "expiration_time": close,
        "latest_expiration_time": close,
        "settlement_timer_seconds": spec.settlement_timer_ns // NS_PER_S,
        "status": market.status.value,
        "result": market.result,
        **quote_fields(market),
        "last_price_dollars": format_price(market.last_price_e4),
        "volume_fp": format_count(market.volume_e2),
        "volume_24h_fp": format_count(market.volume_e2),
        "open_interest_fp": format_count(market.open_interest_e2),
        "can_close_early": False,
        "notional_value_dollars": "1.0000",
        "previous_yes_bid_dollars": "0.0000",
        "previous_yes_ask_dollars": "0.0000",
        "previous_price_dollars": "0.0000",
        "settlement_bounds_type": "default",
        "expiration_value": "" if market.level_e4 is None else format_level(market.level_e4),
        "rules_primary": spec.title,
        "rules_secondary": "",
        "strike_type": spec.rung.strike_type.value,
        "price_level_structure": spec.structure,
        "price_ranges": price_ranges(market),
        "exchange_index": 0,
    }
    if spec.rung.floor_e4 is not None:
        shown["floor_strike"] = strike_number(spec.rung.floor_e4)
    if spec.rung.cap_e4 is not None:
        shown["cap_strike"] = strike_number(spec.rung.cap_e4)
    if market.result:
        shown["settlement_value_dollars"] = settlement_value(market)
    if market.settled_ns is not None:
        shown["settlement_ts"] = wire_time(market.settled_ns)
    return shown


def settlement_value(market: Market) -> str:
    """Return what YES is worth after the result."""
    return "1.0000" if market.result == "yes" else "0.0000"


def price_ranges(market: Market) -> list[Json]:
    """Return the market's tick grid."""
    return [
        {
            "start": format_price(grid.start_e4),
            "end": format_price(grid.end_e4),
            "step": format_price(grid.step_e4),
        }
        for grid in market.spec.price_ranges
    ]


def quote_fields(market: Market) -> Json:
    """Return the best prices and sizes; no quote is size zero at 0 (bid) or 1 (ask)."""
    bids, asks = market.book.bids, market.book.asks
    bid_e4, ask_e4 = bids.best_price_e4(), asks.best_price_e4()
    bid_size = _ZERO_COUNT if bid_e4 is None else format_count(bids.levels[bid_e4].total_e2)
    ask_size = _ZERO_COUNT if ask_e4 is None else format_count(asks.levels[ask_e4].total_e2)
    bid_e4 = bid_e4 or 0
    ask_e4 = ONE_DOLLAR_E4 if ask_e4 is None else ask_e4
    return {
        "yes_bid_dollars": format_price(bid_e4),
        "yes_bid_size_fp": bid_size,
        "yes_ask_dollars": format_price(ask_e4),
        "yes_ask_size_fp": ask_size,
        "no_bid_dollars": format_price(ONE_DOLLAR_E4 - ask_e4),
        "no_ask_dollars": format_price(ONE_DOLLAR_E4 - bid_e4),
    }


def book_object(view: BookView, depth: int) -> Json:
    """Return both sides' bids, ascending with the best last; depth 0 is everything."""
    bids, asks = (view.bids[:depth], view.asks[:depth]) if depth else (view.bids, view.asks)
    return {
        "yes_dollars": [[format_price(p), format_count(c)] for p, c in reversed(bids)],
        "no_dollars": [
            [format_price(ONE_DOLLAR_E4 - p), format_count(c)] for p, c in reversed(asks)
        ],
    }


def series_object(series_ticker: str, title: str, frequency: str, fees: FeeSchedule) -> Json:
    """Return the Series of REST."""
    return {
        "ticker": series_ticker,
        "frequency": frequency,
        "title": title,
        "category": "Financials",
        "categories": ["Financials"],
        "tags": [],
        "settlement_sources": [{"name": "Simulated index", "url": "about:blank"}],
        "contract_url": "about:blank",
        "contract_terms_url": "about:blank",
        "fee_type": fees.fee_type.value,
        "fee_multiplier": fees.multiplier_e4 / 10_000,
        "additional_prohibitions": [],
        "exchange_index": 0,
    }


def event_object(event: EventSpec, markets: list[Market] | None = None) -> Json:
    """Return the Event of REST, with its markets when given."""
    shown: Json = {
        "event_ticker": event.ticker,
        "series_ticker": event.series_ticker,
        "title": event.title,
        "sub_title": event.sub_title,
        "collateral_return_type": collateral_kind(event),
        "mutually_exclusive": event.mutually_exclusive,
        "category": "Financials",
        "strike_date": wire_time(event.target_ns),
        "settlement_sources": [{"name": "Simulated index", "url": "about:blank"}],
        "exchange_index": 0,
    }
    if markets is not None:
        shown["markets"] = [market_object(market) for market in markets]
    return shown


def override_object(override: EventFeeOverride) -> Json:
    """Return the fields of an event's own fees; null is the series' again."""
    multiplier_e4 = override.multiplier_e4
    return {
        "fee_type_override": override.fee_type and override.fee_type.value,
        "fee_multiplier_override": None if multiplier_e4 is None else multiplier_e4 / 10_000,
    }


def collateral_kind(event: EventSpec) -> str:
    """Return the collateral return type: a partition is MECNET, nested thresholds DIRECNET."""
    return "MECNET" if event.mutually_exclusive else "DIRECNET"


def balance_object(account: Account, value_e6: int, now_ns: int) -> Json:
    """Return the balance; `value_e6` is what the open positions are worth."""
    available_e6 = account.available_e6
    shown = _four_decimals(available_e6)
    return {
        "balance": available_e6 // _CENT_E6,
        "balance_dollars": shown,
        "balance_breakdown": [{"exchange_index": 0, "balance": shown}],
        "portfolio_value": value_e6 // _CENT_E6,
        "updated_ts": now_ns // NS_PER_S,
    }


def position_object(position: Position) -> Json:
    """Return the MarketPosition of REST."""
    return {
        "ticker": position.ticker,
        "exchange_index": 0,
        "total_traded_dollars": format_money(position.traded_e6),
        "position_fp": format_count(position.count_e2),
        "market_exposure_dollars": format_money(position.cost_e6),
        "realized_pnl_dollars": format_money(position.realized_e6),
        "fees_paid_dollars": format_money(position.fees_e6),
        "last_updated_ts": wire_time(position.updated_ns),
    }


def event_position_object(event_ticker: str, positions: list[Position]) -> Json:
    """Return the EventPosition of REST: the sums over an event's markets."""
    return {
        "event_ticker": event_ticker,
        "total_cost_dollars": format_money(sum(p.traded_e6 for p in positions)),
        "total_cost_shares_fp": format_count(sum(p.volume_e2 for p in positions)),
        "event_exposure_dollars": format_money(sum(p.cost_e6 for p in positions)),
        "realized_pnl_dollars": format_money(sum(p.realized_e6 for p in positions)),
        "fees_paid_dollars": format_money(sum(p.fees_e6 for p in positions)),
    }


def position_message(account: str, position: Position) -> Json:
    """Return the message of the `market_positions` channel."""
    return {
        "user_id": user_id(account),
        "market_ticker": position.ticker,
        "position_fp": format_count(position.count_e2),
        "position_cost_dollars": format_money(position.cost_e6),
        "realized_pnl_dollars": format_money(position.realized_e6),
        "fees_paid_dollars": format_money(position.fees_e6),
        "position_fee_cost_dollars": format_money(position.fees_e6),
        "volume_fp": format_count(position.volume_e2),
        "subaccount": 0,
    }


def settlement_object(settled: Settled) -> Json:
    """Return the Settlement of REST."""
    return {
        "ticker": settled.ticker,
        "exchange_index": 0,
        "event_ticker": settled.event_ticker,
        "market_result": settled.result,
        "yes_count_fp": format_count(settled.yes_e2),
        "yes_total_cost_dollars": format_money(settled.yes_cost_e6),
        "no_count_fp": format_count(settled.no_e2),
        "no_total_cost_dollars": format_money(settled.no_cost_e6),
        "revenue": settled.revenue_e6 // _CENT_E6,
        "settled_time": wire_time(settled.at_ns),
        "fee_cost": format_money(settled.fees_e6),
        "value": 100 if settled.result == "yes" else 0,
    }


def ticker_message(market: Market, now_ns: int) -> Json:
    """Return the message of the `ticker` channel."""
    quotes = quote_fields(market)
    del quotes["no_bid_dollars"], quotes["no_ask_dollars"]
    return {
        "market_id": market.spec.market_id,
        "market_ticker": market.spec.ticker,
        "price_dollars": format_price(market.last_price_e4),
        **quotes,
        "volume_fp": format_count(market.volume_e2),
        "open_interest_fp": format_count(market.open_interest_e2),
        "dollar_volume": market.volume_e2 // 100,
        "dollar_open_interest": market.open_interest_e2 // 100,
        "last_trade_size_fp": format_count(market.last_trade_e2),
        "ts": now_ns // NS_PER_S,
        "ts_ms": wire_ms(now_ns),
        "time": _milli_time(now_ns),
    }


def status_filter(market: Market) -> str:
    """Return the word that the status filter uses for a market."""
    return {
        MarketStatus.INITIALIZED: "unopened",
        MarketStatus.ACTIVE: "open",
        MarketStatus.INACTIVE: "paused",
        MarketStatus.CLOSED: "closed",
        MarketStatus.DETERMINED: "closed",
        MarketStatus.FINALIZED: "settled",
    }[market.status]


def _order_counts(order: Order) -> Json:
    return {
        "yes_price_dollars": format_price(order.price_e4),
        "fill_count_fp": format_count(order.filled_e2),
        "remaining_count_fp": format_count(order.remaining_e2),
        "initial_count_fp": format_count(order.initial_e2),
        "taker_fill_cost_dollars": format_money(order.taker_cost_e6),
        "maker_fill_cost_dollars": format_money(order.maker_cost_e6),
        "taker_fees_dollars": format_money(order.taker_fees_e6),
        "maker_fees_dollars": format_money(order.maker_fees_e6),
    }


def _trade_fields(trade: Traded) -> Json:
    named = outcome(trade.taker_side)
    return {
        "trade_id": trade.trade_id,
        "count_fp": format_count(trade.count_e2),
        "yes_price_dollars": format_price(trade.price_e4),
        "no_price_dollars": format_price(ONE_DOLLAR_E4 - trade.price_e4),
        "taker_side": named,
        "taker_outcome_side": named,
        "taker_book_side": trade.taker_side,
        "is_block_trade": False,
    }


def _four_decimals(money_e6: int) -> str:
    return format_money(money_e6 // 100 * 100)[:-2]


def _milli_time(at_ns: int) -> str:
    return wire_time(at_ns // 1_000_000 * 1_000_000)
