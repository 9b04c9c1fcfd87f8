"""The calls that the system makes, each with its path under the base and how it is billed."""

from typing import Literal

from msgspec import Struct

from libs.kalshi.signing import REST_PREFIX

Method = Literal["GET", "POST", "PUT", "DELETE"]


class Endpoint(Struct, frozen=True):
    """One call: `template` is its path below /trade-api/v2 with {names} to fill in."""

    method: Method
    template: str
    needs_key: bool = True

    @property
    def is_read(self) -> bool:
        """Tell whether the call changes nothing, so that it may be repeated."""
        return self.method == "GET"

    @property
    def cost_path(self) -> str:
        """Return the path as /account/endpoint_costs writes it, with :names."""
        return REST_PREFIX + self.template.replace("{", ":").replace("}", "")


EXCHANGE_STATUS = Endpoint("GET", "/exchange/status", needs_key=False)
EXCHANGE_SCHEDULE = Endpoint("GET", "/exchange/schedule", needs_key=False)
USER_DATA_TIMESTAMP = Endpoint("GET", "/exchange/user_data_timestamp", needs_key=False)
SERIES = Endpoint("GET", "/series/{series_ticker}", needs_key=False)
SERIES_FEE_CHANGES = Endpoint("GET", "/series/fee_changes", needs_key=False)
EVENTS = Endpoint("GET", "/events", needs_key=False)
EVENT = Endpoint("GET", "/events/{event_ticker}", needs_key=False)
EVENT_FEE_CHANGES = Endpoint("GET", "/events/fee_changes", needs_key=False)
MARKETS = Endpoint("GET", "/markets", needs_key=False)
MARKET = Endpoint("GET", "/markets/{ticker}", needs_key=False)
ORDERBOOK = Endpoint("GET", "/markets/{ticker}/orderbook", needs_key=False)
ORDERBOOKS = Endpoint("GET", "/markets/orderbooks", needs_key=False)
TRADES = Endpoint("GET", "/markets/trades", needs_key=False)
CANDLESTICKS = Endpoint("GET", "/markets/candlesticks", needs_key=False)

ACCOUNT_LIMITS = Endpoint("GET", "/account/limits")
ENDPOINT_COSTS = Endpoint("GET", "/account/endpoint_costs", needs_key=False)
BALANCE = Endpoint("GET", "/portfolio/balance")
POSITIONS = Endpoint("GET", "/portfolio/positions")
FILLS = Endpoint("GET", "/portfolio/fills")
SETTLEMENTS = Endpoint("GET", "/portfolio/settlements")
ORDERS = Endpoint("GET", "/portfolio/orders")
ORDER = Endpoint("GET", "/portfolio/orders/{order_id}")
QUEUE_POSITIONS = Endpoint("GET", "/portfolio/orders/queue_positions")
QUEUE_POSITION = Endpoint("GET", "/portfolio/orders/{order_id}/queue_position")
RESTING_VALUE = Endpoint("GET", "/portfolio/summary/total_resting_order_value")

HISTORICAL_CUTOFF = Endpoint("GET", "/historical/cutoff", needs_key=False)
HISTORICAL_MARKETS = Endpoint("GET", "/historical/markets", needs_key=False)
HISTORICAL_TRADES = Endpoint("GET", "/historical/trades", needs_key=False)
HISTORICAL_FILLS = Endpoint("GET", "/historical/fills")
HISTORICAL_ORDERS = Endpoint("GET", "/historical/orders")
HISTORICAL_POSITIONS = Endpoint("GET", "/historical/positions")

CREATE_ORDER = Endpoint("POST", "/portfolio/events/orders")
CANCEL_ALL = Endpoint("DELETE", "/portfolio/events/orders")
BATCH_CREATE = Endpoint("POST", "/portfolio/events/orders/batched")
BATCH_CANCEL = Endpoint("DELETE", "/portfolio/events/orders/batched")
CANCEL_ORDER = Endpoint("DELETE", "/portfolio/events/orders/{order_id}")
AMEND_ORDER = Endpoint("POST", "/portfolio/events/orders/{order_id}/amend")
DECREASE_ORDER = Endpoint("POST", "/portfolio/events/orders/{order_id}/decrease")

ORDER_GROUPS = Endpoint("GET", "/portfolio/order_groups")
ORDER_GROUP = Endpoint("GET", "/portfolio/order_groups/{order_group_id}")
CREATE_GROUP = Endpoint("POST", "/portfolio/order_groups/create")
DELETE_GROUP = Endpoint("DELETE", "/portfolio/order_groups/{order_group_id}")
RESET_GROUP = Endpoint("PUT", "/portfolio/order_groups/{order_group_id}/reset")
TRIGGER_GROUP = Endpoint("PUT", "/portfolio/order_groups/{order_group_id}/trigger")
LIMIT_GROUP = Endpoint("PUT", "/portfolio/order_groups/{order_group_id}/limit")

CANCELS = frozenset({CANCEL_ALL, BATCH_CANCEL, CANCEL_ORDER, TRIGGER_GROUP})
"""The calls that take orders away; the token reserve is theirs."""

REDUCING = CANCELS | {DECREASE_ORDER, DELETE_GROUP}
"""The writes that only take risk away: no reason for one ends while it is on its way."""
