"""The table of REST routes: method, path, handler, cost, and whether it needs a key."""

from collections.abc import Callable
from enum import Enum

from msgspec import Struct

from lab.exchange import rest_candles, rest_groups, rest_orders, rest_portfolio, rest_public
from lab.exchange.call import Call, Json
from lab.exchange.faults import HANDSHAKE
from lab.exchange.limits import CANCEL_COST, DEFAULT_COST

PREFIX = "/trade-api/v2"
WS_PATH = "/trade-api/ws/v2"

Handler = Callable[[Call], Json | None]


class Access(Enum):
    """Who may call a route and which bucket pays for it."""

    PUBLIC = "public"
    READ = "read"
    BALANCE = "balance"
    WRITE = "write"
    GONE = "gone"


class Route(Struct, frozen=True):
    """One operation. `cost` is tokens, or a function of the body for batches."""

    method: str
    path: str
    operation: str
    handler: Handler
    access: Access
    cost: int | Callable[[bytes], int] = DEFAULT_COST
    status: int = 200

    @property
    def writes(self) -> bool:
        """Say whether a call of it is meant to change something."""
        return self.access in (Access.WRITE, Access.GONE)


class Found(Struct, frozen=True):
    """What the router found: a route, its path parameters, whether the path is known at all."""

    route: Route | None
    names: dict[str, str]
    known: bool


def _public(path: str, operation: str, handler: Handler) -> Route:
    return Route("GET", path, operation, handler, Access.PUBLIC)


def _read(path: str, operation: str, handler: Handler, cost: int = DEFAULT_COST) -> Route:
    return Route("GET", path, operation, handler, Access.READ, cost)


def _gone(method: str, path: str) -> Route:
    return Route(method, path, "DeprecatedV1", lambda call: None, Access.GONE)


_ORDERS = "/portfolio/events/orders"
_GROUPS = "/portfolio/order_groups"
_NETTING = "/portfolio/subaccounts/netting"
_V1 = "/portfolio/orders"

ROUTES: tuple[Route, ...] = (
    _public("/exchange/status", "GetExchangeStatus", rest_public.exchange_status),
    _public("/exchange/schedule", "GetExchangeSchedule", rest_public.exchange_schedule),
    _public(
        "/exchange/user_data_timestamp", "GetUserDataTimestamp", rest_public.user_data_timestamp
    ),
    _public("/account/endpoint_costs", "GetAccountEndpointCosts", rest_public.endpoint_costs),
    _public("/series", "GetSeriesList", rest_public.series_list),
    _public("/series/fee_changes", "GetSeriesFeeChanges", rest_public.series_fee_changes),
    _public("/series/{series_ticker}", "GetSeries", rest_public.series_one),
    _public("/events", "GetEvents", rest_public.events_list),
    _public("/events/fee_changes", "GetEventFeeChanges", rest_public.event_fee_changes),
    _public("/events/{event_ticker}", "GetEvent", rest_public.event_one),
    _public("/markets", "GetMarkets", rest_public.markets_list),
    _public("/markets/trades", "GetTrades", rest_public.trades_list),
    _public("/markets/orderbooks", "GetMarketOrderbooks", rest_public.orderbooks),
    _public("/markets/{ticker}", "GetMarket", rest_public.market_one),
    _public("/markets/{ticker}/orderbook", "GetMarketOrderbook", rest_public.orderbook),
    _public(
        "/series/{series_ticker}/markets/{ticker}/candlesticks",
        "GetMarketCandlesticks",
        rest_candles.of_market,
    ),
    _public("/markets/candlesticks", "BatchGetMarketCandlesticks", rest_candles.of_markets),
    _public(
        "/series/{series_ticker}/events/{ticker}/candlesticks",
        "GetMarketCandlesticksByEvent",
        rest_candles.of_event,
    ),
    _public(
        "/historical/markets/{ticker}/candlesticks",
        "GetMarketCandlesticksHistorical",
        rest_candles.of_archived,
    ),
    _public("/historical/cutoff", "GetHistoricalCutoff", rest_public.historical_cutoff),
    _public("/historical/markets", "GetHistoricalMarkets", rest_public.historical_markets),
    _public("/historical/markets/{ticker}", "GetHistoricalMarket", rest_public.historical_market),
    _public("/historical/trades", "GetTradesHistorical", rest_public.historical_trades),
    _read("/historical/orders", "GetHistoricalOrders", rest_portfolio.historical_orders),
    _read("/historical/fills", "GetFillsHistorical", rest_portfolio.historical_fills),
    _read("/historical/positions", "GetHistoricalPositions", rest_portfolio.historical_positions),
    _read("/account/limits", "GetAccountApiLimits", rest_portfolio.account_limits),
    Route("GET", "/portfolio/balance", "GetBalance", rest_portfolio.balance, Access.BALANCE, 1),
    _read("/portfolio/positions", "GetPositions", rest_portfolio.positions),
    _read("/portfolio/fills", "GetFills", rest_portfolio.fills),
    _read("/portfolio/settlements", "GetSettlements", rest_portfolio.settlements),
    _read("/portfolio/orders", "GetOrders", rest_portfolio.orders),
    _read(
        "/portfolio/orders/queue_positions",
        "GetOrderQueuePositions",
        rest_portfolio.queue_positions,
    ),
    _read("/portfolio/orders/{order_id}", "GetOrder", rest_portfolio.order_one, CANCEL_COST),
    _read(
        "/portfolio/orders/{order_id}/queue_position",
        "GetOrderQueuePosition",
        rest_portfolio.queue_position,
    ),
    _read(
        "/portfolio/summary/total_resting_order_value",
        "GetPortfolioRestingOrderTotalValue",
        rest_portfolio.resting_value,
    ),
    _read(_NETTING, "GetSubaccountNetting", rest_portfolio.netting),
    Route("PUT", _NETTING, "UpdateSubaccountNetting", rest_portfolio.set_netting, Access.WRITE),
    Route("POST", _ORDERS, "CreateOrderV2", rest_orders.create, Access.WRITE, status=201),
    Route(
        "DELETE",
        _ORDERS,
        "CancelAllOrders",
        rest_orders.cancel_all,
        Access.WRITE,
        CANCEL_COST,
        status=204,
    ),
    Route(
        "POST",
        f"{_ORDERS}/batched",
        "BatchCreateOrdersV2",
        rest_orders.create_batch,
        Access.WRITE,
        rest_orders.batch_create_cost,
        status=201,
    ),
    Route(
        "DELETE",
        f"{_ORDERS}/batched",
        "BatchCancelOrdersV2",
        rest_orders.cancel_batch,
        Access.WRITE,
        rest_orders.batch_cancel_cost,
    ),
    Route(
        "DELETE",
        f"{_ORDERS}/{{order_id}}",
        "CancelOrderV2",
        rest_orders.cancel,
        Access.WRITE,
        CANCEL_COST,
    ),
    Route("POST", f"{_ORDERS}/{{order_id}}/amend", "AmendOrderV2", rest_orders.amend, Access.WRITE),
    Route(
        "POST",
        f"{_ORDERS}/{{order_id}}/decrease",
        "DecreaseOrderV2",
        rest_orders.decrease,
        Access.WRITE,
    ),
    _read(_GROUPS, "GetOrderGroups", rest_groups.listed),
    _read(f"{_GROUPS}/{{order_group_id}}", "GetOrderGroup", rest_groups.get),
    Route(
        "POST",
        f"{_GROUPS}/create",
        "CreateOrderGroup",
        rest_groups.create,
        Access.WRITE,
        status=201,
    ),
    Route(
        "DELETE",
        f"{_GROUPS}/{{order_group_id}}",
        "DeleteOrderGroup",
        rest_groups.delete,
        Access.WRITE,
    ),
    Route(
        "PUT",
        f"{_GROUPS}/{{order_group_id}}/reset",
        "ResetOrderGroup",
        rest_groups.reset,
        Access.WRITE,
    ),
    Route(
        "PUT",
        f"{_GROUPS}/{{order_group_id}}/trigger",
        "TriggerOrderGroup",
        rest_groups.trigger,
        Access.WRITE,
    ),
    Route(
        "PUT",
        f"{_GROUPS}/{{order_group_id}}/limit",
        "UpdateOrderGroupLimit",
        rest_groups.limit,
        Access.WRITE,
    ),
    _gone("POST", _V1),
    _gone("POST", f"{_V1}/batched"),
    _gone("DELETE", f"{_V1}/batched"),
    _gone("DELETE", f"{_V1}/{{order_id}}"),
    _gone("POST", f"{_V1}/{{order_id}}/amend"),
    _gone("POST", f"{_V1}/{{order_id}}/decrease"),
)

OPERATIONS: tuple[str, ...] = (*dict.fromkeys(route.operation for route in ROUTES), HANDSHAKE)


class Router:
    """Find the route of a method and path; fixed segments win over named ones."""

    def __init__(self, routes: tuple[Route, ...] = ROUTES) -> None:
        self._fixed: dict[str, dict[str, Route]] = {}
        self._named: list[tuple[tuple[str, ...], str, Route]] = []
        for route in routes:
            path = PREFIX + route.path
            if "{" in path:
                self._named.append((tuple(path.split("/")), route.method, route))
            else:
                self._fixed.setdefault(path, {})[route.method] = route

    def find(self, method: str, path: str) -> Found:
        """Return the route of a method and path."""
        methods = self._fixed.get(path)
        if methods is not None and method in methods:
            return Found(methods[method], {}, known=True)
        known = methods is not None
        segments = path.split("/")
        for pattern, wanted, route in self._named:
            names = _match(pattern, segments)
            if names is None:
                continue
            known = True
            if wanted == method:
                return Found(route, names, known=True)
        return Found(None, {}, known=known)


def _match(pattern: tuple[str, ...], segments: list[str]) -> dict[str, str] | None:
    if len(pattern) != len(segments):
        return None
    names: dict[str, str] = {}
    for wanted, given in zip(pattern, segments, strict=True):
        if wanted.startswith("{"):
            if not given:
                return None
            names[wanted[1:-1]] = given
        elif wanted != given:
            return None
    return names
