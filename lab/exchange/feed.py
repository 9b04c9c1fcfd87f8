"""From engine events to WebSocket frames: who has subscribed to what, and what each is told."""

from collections.abc import Callable
from typing import Any

from msgspec import Struct, field

from lab.exchange.engine import Engine
from lab.exchange.model import (
    NS_PER_S,
    ONE_DOLLAR_E4,
    BookChanged,
    Event,
    EventSpec,
    Filled,
    GroupChanged,
    MarketChanged,
    OrderChanged,
    Settled,
    Traded,
)
from lab.exchange.state import Market
from lab.exchange.wire import (
    collateral_kind,
    fill_message,
    outcome,
    position_message,
    price_ranges,
    settlement_value,
    strike_number,
    ticker_message,
    trade_message,
    user_order,
    wire_ms,
    wire_time,
)
from libs.domain.money import format_count, format_price

Json = dict[str, Any]

SEQUENCED = frozenset(("orderbook_delta", "trade", "market_lifecycle_v2", "order_group_updates"))
PRIVATE = frozenset(("fill", "user_orders", "market_positions", "order_group_updates"))
CHANNELS = frozenset((*SEQUENCED, *PRIVATE, "ticker"))
WITHOUT_MARKETS = frozenset(("market_lifecycle_v2", "order_group_updates"))
INDEX_CHANNELS = frozenset(("cfbenchmarks_value", "cfbenchmarks_value_5hz", "pyth_value"))
SILENT_CHANNELS = frozenset(
    ("multivariate_market_lifecycle", "communications", "control", *INDEX_CHANNELS)
)


class Subscription(Struct, kw_only=True, eq=False):
    """One channel of one connection. `tickers` None means every market."""

    sid: int
    channel: str
    account: str
    tickers: set[str] | None
    use_yes_price: bool = False
    skip_ticker_ack: bool = False
    by_id: bool = False
    names: set[str] = field(default_factory=set)
    """Index ids or underlyings, on the channels that are about those."""
    send: Callable[["Subscription", Json], None]
    seq: int = 0

    def frame(self, kind: str, message: Json, command_id: int | None = None) -> None:
        """Send one frame of the subscription, numbered when its channel is."""
        shown: Json = {"type": kind}
        if command_id is not None:
            shown["id"] = command_id
        shown["sid"] = self.sid
        if self.channel in SEQUENCED:
            self.seq += 1
            shown["seq"] = self.seq
        shown["msg"] = message
        self.send(self, shown)

    def wants(self, ticker: str) -> bool:
        """Say whether that market is part of the subscription."""
        return self.tickers is None or ticker in self.tickers


class Feed(Struct, eq=False):
    """Every subscription of every connection, by channel."""

    engine: Engine
    subscriptions: dict[str, list[Subscription]] = field(
        default_factory=lambda: {channel: [] for channel in CHANNELS}
    )
    changed_tickers: dict[str, None] = field(default_factory=dict)
    _announced: set[str] = field(default_factory=set)
    _told_fees_ns: int = 0

    def add(self, subscription: Subscription) -> None:
        """Begin to send to a subscription."""
        if subscription.channel in CHANNELS:
            self.subscriptions[subscription.channel].append(subscription)

    def remove(self, subscription: Subscription) -> None:
        """Stop sending to a subscription."""
        if subscription.channel in CHANNELS:
            self.subscriptions[subscription.channel].remove(subscription)

    def take(self, event: Event) -> None:
        """Turn one engine event into frames."""
        if isinstance(event, BookChanged):
            self.changed_tickers[event.ticker] = None
            self._book_changed(event)
        elif isinstance(event, Traded):
            self.changed_tickers[event.ticker] = None
            self._public("trade", event.ticker, "trade", trade_message(event))
        elif isinstance(event, Filled):
            self._filled(event)
        elif isinstance(event, OrderChanged):
            for subscription in self._own("user_orders", event.order.account):
                if subscription.wants(event.order.ticker):
                    subscription.frame("user_order", user_order(event.order, event.reason))
        elif isinstance(event, Settled):
            self._position(event.account, event.ticker)
        elif isinstance(event, MarketChanged):
            self._market_changed(event)
        elif isinstance(event, GroupChanged):
            self._group_changed(event)

    def flush_tickers(self, now_ns: int) -> None:
        """Send the newest ticker of every market that changed since the last call."""
        changed, self.changed_tickers = self.changed_tickers, {}
        for ticker in changed:
            market = self.engine.market(ticker)
            self._public("ticker", ticker, "ticker", ticker_message(market, now_ns))

    def snapshot(
        self, subscription: Subscription, ticker: str, command_id: int | None = None
    ) -> None:
        """Send the whole book of one market; a side that is empty is left out."""
        market = self.engine.market(ticker)
        view = market.book.view()
        message: Json = {
            "market_ticker": ticker,
            "market_id": market.spec.market_id,
            "clock": view.clock,
        }
        if view.bids:
            message["yes_dollars_fp"] = [
                [format_price(price), format_count(count)] for price, count in reversed(view.bids)
            ]
        if view.asks:
            message["no_dollars_fp"] = [
                [format_price(_no_price_e4(price, subscription)), format_count(count)]
                for price, count in reversed(view.asks)
            ]
        subscription.frame("orderbook_snapshot", message, command_id)

    def ticker_now(self, subscription: Subscription, ticker: str, now_ns: int) -> None:
        """Send the present ticker of one market."""
        subscription.frame("ticker", ticker_message(self.engine.market(ticker), now_ns))

    def _public(self, channel: str, ticker: str, kind: str, message: Json) -> None:
        for subscription in self.subscriptions[channel]:
            if subscription.wants(ticker):
                subscription.frame(kind, message)

    def _own(self, channel: str, account: str) -> list[Subscription]:
        return [s for s in self.subscriptions[channel] if s.account == account]

    def _book_changed(self, event: BookChanged) -> None:
        for subscription in self.subscriptions["orderbook_delta"]:
            if not subscription.wants(event.ticker):
                continue
            price_e4 = event.price_e4
            if event.side == "ask":
                price_e4 = _no_price_e4(price_e4, subscription)
            message: Json = {
                "market_ticker": event.ticker,
                "market_id": self.engine.market(event.ticker).spec.market_id,
                "clock": event.clock,
                "price_dollars": format_price(price_e4),
                "delta_fp": format_count(event.delta_e2),
                "side": outcome(event.side),
                "ts": wire_time(event.at_ns),
                "ts_ms": wire_ms(event.at_ns),
            }
            if subscription.account == event.account:
                message["client_order_id"] = event.client_order_id
                message["subaccount"] = 0
            subscription.frame("orderbook_delta", message)

    def _filled(self, event: Filled) -> None:
        for subscription in self._own("fill", event.account):
            if subscription.wants(event.ticker):
                subscription.frame("fill", fill_message(event))
        self._position(event.account, event.ticker)

    def _position(self, account: str, ticker: str) -> None:
        for subscription in self._own("market_positions", account):
            if subscription.wants(ticker):
                position = self.engine.position(account, ticker)
                subscription.frame("market_position", position_message(account, position))

    def _market_changed(self, event: MarketChanged) -> None:
        if event.event_type in ("opened", "closed"):
            return  # the exchange sends nothing when time opens or closes a market
        message: Json = {"market_ticker": event.ticker, "event_type": event.event_type}
        market = self.engine.market(event.ticker)
        spec = market.spec
        if event.event_type == "created":
            self._announce(market.event)
            metadata: Json = {
                "name": spec.title,
                "title": spec.title,
                "yes_sub_title": spec.sub_title,
                "no_sub_title": spec.sub_title,
                "rules_primary": spec.title,
                "rules_secondary": "",
                "can_close_early": False,
                "event_ticker": spec.event_ticker,
                "expected_expiration_ts": spec.close_ns // NS_PER_S,
                "strike_type": spec.rung.strike_type.value,
            }
            for name, level_e4 in (
                ("floor_strike", spec.rung.floor_e4),
                ("cap_strike", spec.rung.cap_e4),
            ):
                if level_e4 is not None:
                    metadata[name] = strike_number(level_e4)
            message |= {
                "exchange_index": 0,
                "open_ts": spec.open_ns // NS_PER_S,
                "close_ts": spec.close_ns // NS_PER_S,
                "additional_metadata": metadata,
                **_grid(market),
            }
        elif event.event_type == "determined":
            message |= {
                "determination_ts": event.at_ns // NS_PER_S,
                "result": market.result,
                "settlement_value": settlement_value(market),
            }
        elif event.event_type == "price_level_structure_updated":
            message |= _grid(market)
        elif event.event_type == "settled":
            message["settled_ts"] = event.at_ns // NS_PER_S
        else:
            message["is_deactivated"] = event.event_type == "deactivated"
        self._lifecycle("market_lifecycle_v2", message)

    def tell_fees(self, now_ns: int) -> None:
        """Tell of the events whose fees became others since the last call."""
        overrides = self.engine.state.charges.table.overrides
        for row in overrides:
            if self._told_fees_ns < row.from_ns <= now_ns:
                message: Json = {
                    "event_ticker": row.event_ticker,
                    "fee_type_override": row.fee_type,
                    "fee_multiplier_override": (
                        None if row.multiplier_e4 is None else row.multiplier_e4 / 10_000
                    ),
                }
                self._lifecycle("event_fee_update", message)
        self._told_fees_ns = now_ns

    def _announce(self, event: EventSpec) -> None:
        """Tell of an event before its first market."""
        if event.ticker in self._announced:
            return
        self._announced.add(event.ticker)
        message: Json = {
            "event_ticker": event.ticker,
            "exchange_index": 0,
            "title": event.title,
            "subtitle": event.sub_title,
            "collateral_return_type": collateral_kind(event),
            "series_ticker": event.series_ticker,
            "strike_date": event.target_ns // NS_PER_S,
        }
        self._lifecycle("event_lifecycle", message)

    def _lifecycle(self, kind: str, message: Json) -> None:
        for subscription in self.subscriptions["market_lifecycle_v2"]:
            subscription.frame(kind, message)

    def _group_changed(self, event: GroupChanged) -> None:
        message: Json = {
            "event_type": event.event_type,
            "order_group_id": event.group_id,
            "ts_ms": wire_ms(event.at_ns),
        }
        if event.event_type in ("created", "limit_updated"):
            message["contracts_limit_fp"] = format_count(event.limit_e2)
        for subscription in self._own("order_group_updates", event.account):
            subscription.frame("order_group_updates", message)


def _grid(market: Market) -> Json:
    return {
        "price_level_structure": market.spec.structure,
        "price_ranges": price_ranges(market),
    }


def _no_price_e4(price_e4: int, subscription: Subscription) -> int:
    return price_e4 if subscription.use_yes_price else ONE_DOLLAR_E4 - price_e4
