"""What the simulated exchange trades and says: specifications, orders, results and events.

Units as everywhere: `price_e4` $0.0001 on the YES book, `count_e2` 0.01 contract, `_e6` $0.000001,
`level_e4` 0.0001 index point, `_ns` UTC nanoseconds.
"""

from enum import StrEnum
from typing import Literal

from msgspec import Struct

from libs.domain.eastern import NS_PER_S as NS_PER_S
from libs.domain.strikes import Rung

Side = Literal["bid", "ask"]
TimeInForce = Literal["good_till_canceled", "immediate_or_cancel", "fill_or_kill"]
SelfTrade = Literal["taker_at_cross", "maker"]

ONE_DOLLAR_E4 = 10_000


class PriceRange(Struct, frozen=True):
    """One stretch of the tick grid: prices `start_e4 <= p < end_e4` step by `step_e4`."""

    start_e4: int
    end_e4: int
    step_e4: int


Structure = Literal["linear_cent", "deci_cent", "tapered_deci_cent"]
PRICE_RANGES: dict[Structure, tuple[PriceRange, ...]] = {
    "linear_cent": (PriceRange(0, ONE_DOLLAR_E4, 100),),
    "deci_cent": (PriceRange(0, ONE_DOLLAR_E4, 10),),
    "tapered_deci_cent": (
        PriceRange(0, 1_000, 10),
        PriceRange(1_000, 9_000, 100),
        PriceRange(9_000, ONE_DOLLAR_E4, 10),
    ),
}


class SeriesSpec(Struct, frozen=True, kw_only=True):
    """A series as the exchange lists it."""

    ticker: str
    title: str
    symbol: str
    frequency: str = "hourly"
    category: str = "Financials"


class EventSpec(Struct, frozen=True, kw_only=True):
    """One event: a ladder of markets on one outcome at `target_ns`."""

    ticker: str
    series_ticker: str
    symbol: str
    title: str
    sub_title: str
    target_ns: int
    mutually_exclusive: bool


class MarketSpec(Struct, frozen=True, kw_only=True):
    """One market: its rung says what it pays, its structure at which prices it may trade.

    It pays `settlement_timer_ns` after it was determined.
    """

    rung: Rung
    market_id: str
    event_ticker: str
    title: str
    sub_title: str
    created_ns: int
    open_ns: int
    close_ns: int
    structure: Structure = "linear_cent"
    settlement_timer_ns: int = 0

    @property
    def price_ranges(self) -> tuple[PriceRange, ...]:
        """Return the market's tick grid."""
        return PRICE_RANGES[self.structure]

    @property
    def ticker(self) -> str:
        """Return the market's ticker."""
        return self.rung.ticker


class Ladder(Struct, frozen=True):
    """A series, one event of it, and the event's markets from the lowest rung up."""

    series: SeriesSpec
    event: EventSpec
    markets: tuple[MarketSpec, ...]


class Rules(Struct, frozen=True, kw_only=True):
    """What the exchange's documents leave open, or what differs from member to member.

    What ended more than `history_kept_ns` ago is only in the historical reads. Resting orders are
    cancelled `close_cancel_ns` after their market closed. A new market is unknown to REST for
    `listing_delay_ns`. Cancel-all also takes what is placed within `cancel_all_lingers_ns`.
    Balances of direct members are kept to $0.0001, of others to the cent.
    """

    direct_members: bool = True

    history_kept_ns: int = 14 * 24 * 3600 * NS_PER_S
    close_cancel_ns: int = 0
    listing_delay_ns: int = 0
    cancel_all_lingers_ns: int = 0
    weekly_pause: bool = False

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            if getattr(self, name) < 0:
                raise ValueError(f"{name}: expected no negative time")


class MarketStatus(StrEnum):
    """The statuses a market object shows."""

    INITIALIZED = "initialized"
    INACTIVE = "inactive"
    ACTIVE = "active"
    CLOSED = "closed"
    DETERMINED = "determined"
    FINALIZED = "finalized"


class Reason(StrEnum):
    """Why an order last changed: the wire's `last_update_reason`, empty for its creation."""

    NEW = ""
    TRADE = "Trade"
    AMEND = "Amend"
    DECREASE = "Decrease"
    CANCEL = "Cancel"
    SELF_TRADE = "SelfTradeCancel"
    EXPIRY = "ExpiryCancel"
    CLOSE = "CloseCancel"
    HALT = "HaltCancel"
    REDUCE_ONLY = "ReduceOnlyCancel"
    UNFILLED = "ImmediateCancel"
    GROUP = "OrderGroupCancel"


class NewOrder(Struct, frozen=True, kw_only=True):
    """What an account asks for. An empty `client_order_id` is filled in by the exchange."""

    ticker: str
    side: Side
    price_e4: int
    count_e2: int
    time_in_force: TimeInForce = "good_till_canceled"
    self_trade: SelfTrade = "taker_at_cross"
    client_order_id: str = ""
    post_only: bool = False
    reduce_only: bool = False
    cancel_on_pause: bool = False
    expiration_ns: int | None = None
    group_id: str | None = None


class Amendment(Struct, frozen=True, kw_only=True):
    """How a resting order shall change; `count_e2` is what filled plus what shall rest.

    A smaller count or another expiry keeps the queue place; a new price or a larger count goes to
    the back and may trade at once. `expiration_ns` 0 clears it and None leaves it.
    """

    ticker: str
    side: Side
    price_e4: int
    count_e2: int
    client_order_id: str | None = None
    new_client_order_id: str | None = None
    expiration_ns: int | None = None


class Order(Struct, kw_only=True):
    """An accepted order and all that has happened to it; only the engine changes one."""

    order_id: str
    account: str
    client_order_id: str
    ticker: str
    side: Side
    price_e4: int
    initial_e2: int
    remaining_e2: int
    time_in_force: TimeInForce
    self_trade: SelfTrade
    post_only: bool
    cancel_on_pause: bool
    expiration_ns: int | None
    group_id: str | None
    created_ns: int
    updated_ns: int
    number: int
    filled_e2: int = 0
    status: Literal["resting", "canceled", "executed"] = "resting"
    taker_cost_e6: int = 0
    maker_cost_e6: int = 0
    taker_fees_e6: int = 0
    maker_fees_e6: int = 0
    rebate_carry_e6: int = 0


class Placed(Struct, frozen=True, kw_only=True):
    """An accepted order and what it did at once; the averages are None without a fill.

    `average_fee_e6` is per contract. An amendment that neither filled nor changed what rests
    has not `resized`.
    """

    order_id: str
    client_order_id: str
    filled_e2: int
    remaining_e2: int
    average_price_e4: float | None
    average_fee_e6: float | None
    at_ns: int
    resized: bool = True


class Reduced(Struct, frozen=True, kw_only=True):
    """A cancelled or decreased order: `reduced_e2` went, `remaining_e2` still rests."""

    order_id: str
    client_order_id: str
    reduced_e2: int
    remaining_e2: int
    at_ns: int


class Rejected(Struct, frozen=True, kw_only=True):
    """A refusal with the HTTP status and the error code that the wire shows."""

    status: int
    code: str
    message: str
    details: str | None = None


class BookView(Struct, frozen=True):
    """The YES book now: (price_e4, count_e2) per level, best first on both sides."""

    bids: tuple[tuple[int, int], ...]
    asks: tuple[tuple[int, int], ...]
    clock: int


class OrderChanged(Struct, frozen=True, kw_only=True):
    """An order was accepted, changed or ended. `order` is the live object: read it at once."""

    order: Order
    reason: Reason
    reduced_e2: int
    at_ns: int


class Filled(Struct, frozen=True, kw_only=True):
    """One side of one trade. `fee_e6` is the net fee charged for it (fee, rounding, rebate)."""

    trade_id: str
    account: str
    order_id: str
    client_order_id: str
    ticker: str
    side: Side
    is_taker: bool
    price_e4: int
    count_e2: int
    fee_e6: int
    cash_change_e6: int
    position_e2: int
    at_ns: int


class Traded(Struct, frozen=True, kw_only=True):
    """One public trade print."""

    trade_id: str
    ticker: str
    price_e4: int
    count_e2: int
    taker_side: Side
    at_ns: int


class BookChanged(Struct, frozen=True, kw_only=True):
    """A level of the YES book changed by `delta_e2`, because of that account's order."""

    ticker: str
    side: Side
    price_e4: int
    delta_e2: int
    clock: int
    account: str
    client_order_id: str
    at_ns: int


MarketStep = Literal[
    "created",
    "opened",
    "activated",
    "deactivated",
    "price_level_structure_updated",
    "closed",
    "determined",
    "settled",
]


class MarketChanged(Struct, frozen=True, kw_only=True):
    """A step in a market's life; opening and closing by time have no frame on the wire."""

    ticker: str
    event_type: MarketStep
    at_ns: int


class Settled(Struct, frozen=True, kw_only=True):
    """One account's payment for one market; positions count before they were settled."""

    account: str
    ticker: str
    event_ticker: str
    result: Literal["yes", "no"]
    level_e4: int
    yes_e2: int
    no_e2: int
    yes_cost_e6: int
    no_cost_e6: int
    fees_e6: int
    revenue_e6: int
    at_ns: int


class CollateralReturned(Struct, frozen=True, kw_only=True):
    """What the exchange has returned of one account's collateral in one event changed."""

    account: str
    event_ticker: str
    returned_e6: int
    cash_change_e6: int
    at_ns: int


class PauseChanged(Struct, frozen=True, kw_only=True):
    """Trading or the whole exchange stopped or resumed."""

    exchange_active: bool
    trading_active: bool
    at_ns: int


GroupStep = Literal["created", "triggered", "reset", "deleted", "limit_updated"]


class GroupChanged(Struct, frozen=True, kw_only=True):
    """A step in an order group's life."""

    account: str
    group_id: str
    event_type: GroupStep
    limit_e2: int
    at_ns: int


class AccountOpened(Struct, frozen=True, kw_only=True):
    """An account was opened with that much cash."""

    account: str
    cash_e6: int
    at_ns: int


Event = (
    AccountOpened
    | OrderChanged
    | Filled
    | Traded
    | BookChanged
    | MarketChanged
    | Settled
    | CollateralReturned
    | PauseChanged
    | GroupChanged
)
