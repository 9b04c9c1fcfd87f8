"""Private answers: balance, positions, fills, settlements, orders, limits (§2.4, §2.6)."""

from msgspec import Struct, field

from libs.kalshi.fields import CountE2, MoneyE6, PriceE4, SignedCountE2, TimeFromS, TimeNs
from libs.kalshi.wire.market import Side


class ShardBalance(Struct, frozen=True):
    """Cash of one shard; collateral is per shard (§2.7)."""

    exchange_index: int
    balance_e6: MoneyE6 = field(name="balance")


class Balance(Struct, frozen=True):
    """GET /portfolio/balance; the integer-cent fields are truncated and not read."""

    balance_e6: MoneyE6 = field(name="balance_dollars")
    updated_ns: TimeFromS = field(name="updated_ts")
    by_shard: tuple[ShardBalance, ...] = field(default=(), name="balance_breakdown")


class Position(Struct, frozen=True):
    """What we hold of one market: `position_e2` is negative when short YES."""

    ticker: str
    position_e2: SignedCountE2 = field(name="position_fp")
    exposure_e6: MoneyE6 = field(name="market_exposure_dollars")
    realized_pnl_e6: MoneyE6 = field(name="realized_pnl_dollars")
    fees_paid_e6: MoneyE6 = field(name="fees_paid_dollars")
    total_traded_e6: MoneyE6 = field(name="total_traded_dollars")
    updated_ns: TimeNs | None = field(default=None, name="last_updated_ts")
    exchange_index: int = 0


class PositionsPage(Struct, frozen=True):
    """GET /portfolio/positions."""

    items: tuple[Position, ...] = field(name="market_positions")
    cursor: str = ""


class Fill(Struct, frozen=True):
    """One match of an order of ours, in YES prices. `fee_e6` is the truth for the whole fill.

    REST does not say the client order id: join on `order_id`.
    """

    trade_id: str
    order_id: str
    ticker: str
    side: Side = field(name="book_side")
    count_e2: CountE2 = field(name="count_fp")
    price_e4: PriceE4 = field(name="yes_price_dollars")
    fee_e6: MoneyE6 = field(name="fee_cost")
    is_taker: bool
    created_ns: TimeNs | None = field(default=None, name="created_time")
    subaccount: int | None = field(default=None, name="subaccount_number")
    exchange_index: int = 0


class FillsPage(Struct, frozen=True):
    """GET /portfolio/fills."""

    items: tuple[Fill, ...] = field(name="fills")
    cursor: str = ""


class Settlement(Struct, frozen=True):
    """Payout of one market: `revenue_cents` is the exchange's integer cents.

    `market_result` is yes, no or scalar.
    """

    ticker: str
    event_ticker: str
    market_result: str
    yes_count_e2: CountE2 = field(name="yes_count_fp")
    no_count_e2: CountE2 = field(name="no_count_fp")
    yes_cost_e6: MoneyE6 = field(name="yes_total_cost_dollars")
    no_cost_e6: MoneyE6 = field(name="no_total_cost_dollars")
    revenue_cents: int = field(name="revenue")
    fee_e6: MoneyE6 = field(name="fee_cost")
    settled_ns: TimeNs = field(name="settled_time")
    value_cents: int | None = field(default=None, name="value")
    exchange_index: int = 0


class SettlementsPage(Struct, frozen=True):
    """GET /portfolio/settlements."""

    items: tuple[Settlement, ...] = field(name="settlements")
    cursor: str = ""


class Order(Struct, frozen=True):
    """An order as the exchange reports it.

    `status` is resting, canceled or executed; take any other for unknown. A read may lag a
    cancel by 360 ms (§2.3): no conclusion from a single read.
    """

    order_id: str
    client_order_id: str
    ticker: str
    status: str
    side: Side = field(name="book_side")
    price_e4: PriceE4 = field(name="yes_price_dollars")
    initial_e2: CountE2 = field(name="initial_count_fp")
    filled_e2: CountE2 = field(name="fill_count_fp")
    remaining_e2: CountE2 = field(name="remaining_count_fp")
    maker_fees_e6: MoneyE6 = field(name="maker_fees_dollars")
    taker_fees_e6: MoneyE6 = field(name="taker_fees_dollars")
    maker_cost_e6: MoneyE6 = field(name="maker_fill_cost_dollars")
    taker_cost_e6: MoneyE6 = field(name="taker_fill_cost_dollars")
    created_ns: TimeNs | None = field(default=None, name="created_time")
    updated_ns: TimeNs | None = field(default=None, name="last_update_time")
    expiration_ns: TimeNs | None = field(default=None, name="expiration_time")
    order_group_id: str | None = None
    cancel_order_on_pause: bool = False
    subaccount: int | None = field(default=None, name="subaccount_number")
    exchange_index: int = 0


class OrderAnswer(Struct, frozen=True):
    """GET /portfolio/orders/{order_id}."""

    order: Order


class OrdersPage(Struct, frozen=True):
    """GET /portfolio/orders."""

    items: tuple[Order, ...] = field(name="orders")
    cursor: str = ""


class QueuePosition(Struct, frozen=True):
    """Contracts ahead of one resting order."""

    order_id: str
    ticker: str = field(name="market_ticker")
    ahead_e2: CountE2 = field(name="queue_position_fp")


class QueuePositionsAnswer(Struct, frozen=True):
    """GET /portfolio/orders/queue_positions."""

    queue_positions: tuple[QueuePosition, ...] | None = None


class QueuePositionAnswer(Struct, frozen=True):
    """GET /portfolio/orders/{order_id}/queue_position."""

    ahead_e2: CountE2 = field(name="queue_position_fp")


class RestingValue(Struct, frozen=True):
    """GET /portfolio/summary/total_resting_order_value: collateral is per shard (§2.7)."""

    total_cents: int = field(name="total_resting_order_value")
    by_shard: tuple[ShardBalance, ...] = field(name="resting_order_value_breakdown")


class Bucket(Struct, frozen=True):
    """One token bucket: capacity in tokens, refill in tokens per second."""

    bucket_capacity: int
    refill_rate: int


class AccountLimits(Struct, frozen=True):
    """GET /account/limits."""

    usage_tier: str
    read: Bucket
    write: Bucket


class EndpointCost(Struct, frozen=True):
    """Tokens of one call that does not cost the default."""

    method: str
    path: str
    cost: int


class EndpointCosts(Struct, frozen=True):
    """GET /account/endpoint_costs."""

    default_cost: int
    endpoint_costs: tuple[EndpointCost, ...]
