"""Every call of the client, once: what the fuzz, the official documents and the simulator share."""

from collections.abc import Awaitable, Callable
from typing import Any

from libs.kalshi.rest import KalshiClient
from libs.kalshi.signing import KEY_HEADER, SIGNATURE_HEADER, TIMESTAMP_HEADER, signed_bytes
from libs.kalshi.wire.orders import Amendment, NewOrder

Call = Callable[[KalshiClient], Awaitable[Any]]

ORDER = NewOrder(
    ticker="T", client_order_id="c", side="bid", price_e4=100, count_e2=100, expires_ns=None
)
WHOLE_ORDER = NewOrder(
    ticker="T",
    client_order_id="c",
    side="ask",
    price_e4=9900,
    count_e2=1,
    expires_ns=1_791_000_000_000_000_000,
    order_group_id="g",
    subaccount=0,
)
AMENDMENT = Amendment(ticker="T", side="bid", price_e4=100, total_e2=100)
WHOLE_AMENDMENT = Amendment(
    ticker="T",
    side="ask",
    price_e4=9900,
    total_e2=1,
    client_order_id="c",
    updated_client_order_id="d",
    expires_ns=0,
)
START_NS, END_NS = 1_791_000_000_000_000_000, 1_791_003_600_000_000_000


class PlainSigner:
    """Put the string to sign where the signature goes."""

    key_id = "key"

    def sign(self, timestamp_ms: int, method: str, path: str) -> dict[str, str]:
        return {
            KEY_HEADER: self.key_id,
            TIMESTAMP_HEADER: str(timestamp_ms),
            SIGNATURE_HEADER: signed_bytes(timestamp_ms, method, path).decode(),
        }


READS: dict[str, Call] = {
    "exchange_status": lambda client: client.exchange_status(),
    "schedule": lambda client: client.schedule(),
    "user_data_ns": lambda client: client.user_data_ns(),
    "series": lambda client: client.series("S"),
    "series_fee_changes": lambda client: client.series_fee_changes("S", historical=True),
    "events": lambda client: client.events("S", status="open"),
    "event": lambda client: client.event("E"),
    "event_fee_changes": lambda client: client.event_fee_changes("E"),
    "markets": lambda client: client.markets(
        event_ticker="E", series_ticker="S", tickers=("T", "U"), status="open"
    ),
    "market": lambda client: client.market("T"),
    "orderbook": lambda client: client.orderbook("T"),
    "orderbooks": lambda client: client.orderbooks(["T", "U"]),
    "trades": lambda client: client.trades("T", since_ns=START_NS, until_ns=END_NS),
    "candlesticks": lambda client: client.candlesticks(
        ("T", "U"), since_ns=START_NS, until_ns=END_NS
    ),
    "historical_cutoff": lambda client: client.historical_cutoff(),
    "historical_markets": lambda client: client.historical_markets(event_ticker="E"),
    "historical_trades": lambda client: client.historical_trades("T", since_ns=START_NS),
    "historical_fills": lambda client: client.historical_fills(ticker="T", since_ns=START_NS),
    "historical_orders": lambda client: client.historical_orders(ticker="T", since_ns=START_NS),
    "historical_positions": lambda client: client.historical_positions(event_ticker="E"),
    "account_limits": lambda client: client.account_limits(),
    "endpoint_costs": lambda client: client.endpoint_costs(),
    "balance": lambda client: client.balance(),
    "positions": lambda client: client.positions(event_ticker="E", settlement_status="all"),
    "fills": lambda client: client.fills(ticker="T", order_id="o", since_ns=START_NS),
    "settlements": lambda client: client.settlements(
        ticker="T", event_ticker="E", since_ns=START_NS
    ),
    "orders": lambda client: client.orders(
        ticker="T", event_ticker="E", status="resting", since_ns=START_NS
    ),
    "order": lambda client: client.order("o"),
    "queue_positions": lambda client: client.queue_positions(tickers=("T",), event_ticker="E"),
    "queue_position": lambda client: client.queue_position("o"),
    "resting_value": lambda client: client.resting_value(),
    "order_groups": lambda client: client.order_groups(),
    "order_group": lambda client: client.order_group("g"),
}
WRITES: dict[str, Call] = {
    "create_order": lambda client: client.create_order(ORDER),
    "create_order, whole": lambda client: client.create_order(WHOLE_ORDER),
    "create_orders": lambda client: client.create_orders([ORDER]),
    "amend_order": lambda client: client.amend_order("o", AMENDMENT),
    "amend_order, whole": lambda client: client.amend_order("o", WHOLE_AMENDMENT, subaccount=0),
    "decrease_order": lambda client: client.decrease_order("o", 100, subaccount=0),
    "cancel_order": lambda client: client.cancel_order("o", subaccount=0),
    "cancel_orders": lambda client: client.cancel_orders(["o"], subaccount=0),
    "cancel_all": lambda client: client.cancel_all(subaccount=0),
    "create_order_group": lambda client: client.create_order_group(100),
    "limit_order_group": lambda client: client.limit_order_group("g", 100),
    "reset_order_group": lambda client: client.reset_order_group("g"),
    "trigger_order_group": lambda client: client.trigger_order_group("g"),
    "delete_order_group": lambda client: client.delete_order_group("g"),
}
REDUCING = {
    "decrease_order",
    "cancel_order",
    "cancel_orders",
    "cancel_all",
    "trigger_order_group",
    "delete_order_group",
}
"""The writes that may go again when the exchange refused our timestamp."""
CALLS = READS | WRITES
