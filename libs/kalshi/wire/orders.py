"""V2 order writes and their answers (kalshi-api.md §2.3), and order groups (§2.4)."""

from typing import Literal

import msgspec
from msgspec import UNSET, Struct, UnsetType, field

from libs.domain.money import format_count, format_price
from libs.kalshi.fields import NS_PER_S, CountE2, TimeFromMs
from libs.kalshi.wire.market import Side

TimeInForce = Literal["good_till_canceled", "immediate_or_cancel", "fill_or_kill"]
SelfTradePrevention = Literal["taker_at_cross", "maker"]


class NewOrder(Struct, frozen=True, kw_only=True):
    """An order to place, in our units. `expires_ns` is cut down to the exchange's seconds.

    The defaults are the safe ones of a maker: post-only, gone on a pause, shard 0.
    """

    ticker: str
    client_order_id: str
    side: Side
    price_e4: int
    count_e2: int
    expires_ns: int | None
    time_in_force: TimeInForce = "good_till_canceled"
    self_trade_prevention: SelfTradePrevention = "taker_at_cross"
    post_only: bool = True
    reduce_only: bool = False
    cancel_order_on_pause: bool = True
    order_group_id: str | None = None
    subaccount: int | None = None

    def __post_init__(self) -> None:
        if not 0 < self.price_e4 < 10_000:
            raise ValueError(f"order price_e4: expected 1 to 9999, got {self.price_e4}")
        if self.count_e2 <= 0:
            raise ValueError(f"order count_e2: expected 1 or more, got {self.count_e2}")
        if not self.client_order_id:
            raise ValueError("order client_order_id: expected one, so that it can be found again")
        if self.reduce_only and self.time_in_force != "immediate_or_cancel":
            raise ValueError("order: reduce_only goes with immediate_or_cancel only")
        if self.expires_ns is not None and self.time_in_force != "good_till_canceled":
            raise ValueError("order: expires_ns goes with good_till_canceled only")


class Amendment(Struct, frozen=True, kw_only=True):
    """A change of a resting order: `total_e2` is what was filled plus what shall rest.

    Less size or a new expiry keeps the queue place; a new price or more size loses it.
    `expires_ns` 0 clears the expiry, None leaves it.
    """

    ticker: str
    side: Side
    price_e4: int
    total_e2: int
    client_order_id: str | None = None
    updated_client_order_id: str | None = None
    expires_ns: int | None = None

    def __post_init__(self) -> None:
        if not 0 < self.price_e4 < 10_000:
            raise ValueError(f"amend price_e4: expected 1 to 9999, got {self.price_e4}")
        if self.total_e2 <= 0:
            raise ValueError(f"amend total_e2: expected 1 or more, got {self.total_e2}")


class _WireOrder(Struct, frozen=True, kw_only=True):
    ticker: str
    client_order_id: str
    side: str
    count: str
    price: str
    time_in_force: str
    self_trade_prevention_type: str
    post_only: bool
    cancel_order_on_pause: bool
    exchange_index: int = 0
    expiration_time: int | UnsetType = UNSET
    reduce_only: bool | UnsetType = UNSET
    order_group_id: str | UnsetType = UNSET
    subaccount: int | UnsetType = UNSET


class _WireOrders(Struct, frozen=True):
    orders: tuple[_WireOrder, ...]


class _WireAmendment(Struct, frozen=True, kw_only=True):
    ticker: str
    side: str
    price: str
    count: str
    exchange_index: int = 0
    client_order_id: str | UnsetType = UNSET
    updated_client_order_id: str | UnsetType = UNSET
    expiration_time: int | UnsetType = UNSET


class _WireDecrease(Struct, frozen=True, kw_only=True):
    reduce_to: str
    exchange_index: int = 0


class _WireCancel(Struct, frozen=True, kw_only=True):
    order_id: str
    exchange_index: int = 0
    subaccount: int | UnsetType = UNSET


class _WireCancels(Struct, frozen=True):
    orders: tuple[_WireCancel, ...]


class _WireGroup(Struct, frozen=True, kw_only=True):
    contracts_limit_fp: str
    exchange_index: int | UnsetType = 0


_encode = msgspec.json.Encoder().encode


def _wire_order(order: NewOrder) -> _WireOrder:
    return _WireOrder(
        ticker=order.ticker,
        client_order_id=order.client_order_id,
        side=order.side,
        count=format_count(order.count_e2),
        price=format_price(order.price_e4),
        time_in_force=order.time_in_force,
        self_trade_prevention_type=order.self_trade_prevention,
        post_only=order.post_only,
        cancel_order_on_pause=order.cancel_order_on_pause,
        expiration_time=UNSET if order.expires_ns is None else order.expires_ns // NS_PER_S,
        reduce_only=True if order.reduce_only else UNSET,
        order_group_id=order.order_group_id or UNSET,
        subaccount=UNSET if order.subaccount is None else order.subaccount,
    )


def encode_order(order: NewOrder) -> bytes:
    """Return the body of a create."""
    return _encode(_wire_order(order))


def encode_orders(orders: list[NewOrder]) -> bytes:
    """Return the body of a batch create."""
    return _encode(_WireOrders(tuple(_wire_order(order) for order in orders)))


def encode_amendment(change: Amendment) -> bytes:
    """Return the body of an amend."""
    return _encode(
        _WireAmendment(
            ticker=change.ticker,
            side=change.side,
            price=format_price(change.price_e4),
            count=format_count(change.total_e2),
            client_order_id=change.client_order_id or UNSET,
            updated_client_order_id=change.updated_client_order_id or UNSET,
            expiration_time=UNSET if change.expires_ns is None else change.expires_ns // NS_PER_S,
        )
    )


def encode_decrease(remaining_e2: int) -> bytes:
    """Return the body of a decrease to `remaining_e2` (said twice, it still decreases once)."""
    return _encode(_WireDecrease(reduce_to=format_count(remaining_e2)))


def encode_cancels(order_ids: list[str], subaccount: int | None = None) -> bytes:
    """Return the body of a batch cancel."""
    account: int | UnsetType = UNSET if subaccount is None else subaccount
    return _encode(
        _WireCancels(tuple(_WireCancel(order_id=one, subaccount=account) for one in order_ids))
    )


def encode_group(contracts_limit_e2: int) -> bytes:
    """Return the body of an order group's create."""
    return _encode(_WireGroup(contracts_limit_fp=format_count(contracts_limit_e2)))


def encode_group_limit(contracts_limit_e2: int) -> bytes:
    """Return the body of an order group's new limit."""
    limit = format_count(contracts_limit_e2)
    return _encode(_WireGroup(contracts_limit_fp=limit, exchange_index=UNSET))


class Refusal(Struct, frozen=True):
    """Why the exchange refused one item of a batch."""

    code: str = ""
    message: str = ""
    details: str = ""


class Created(Struct, frozen=True):
    """An accepted order. `filled` and `remaining` both zero: stopped by self-trade prevention.

    The averages are the exchange's own strings; fills carry the exact figures.
    """

    order_id: str
    filled_e2: CountE2 = field(name="fill_count")
    remaining_e2: CountE2 = field(name="remaining_count")
    processed_ns: TimeFromMs = field(name="ts_ms")
    client_order_id: str | None = None
    average_fill_price: str | None = None
    average_fee_paid: str | None = None


class Amended(Struct, frozen=True):
    """An amended order, after what it matched. Keep the `order_id` that comes back."""

    order_id: str
    processed_ns: TimeFromMs = field(name="ts_ms")
    remaining_e2: CountE2 | None = field(default=None, name="remaining_count")
    filled_e2: CountE2 | None = field(default=None, name="fill_count")
    client_order_id: str | None = None


class Decreased(Struct, frozen=True):
    """A decreased order; more than remains is clamped, not refused."""

    order_id: str
    remaining_e2: CountE2 = field(name="remaining_count")
    processed_ns: TimeFromMs = field(name="ts_ms")
    client_order_id: str | None = None


class Cancelled(Struct, frozen=True):
    """A cancelled order and how much of it was still resting."""

    order_id: str
    reduced_by_e2: CountE2 = field(name="reduced_by")
    processed_ns: TimeFromMs = field(name="ts_ms")
    client_order_id: str | None = None


class BatchCreateItem(Struct, frozen=True):
    """One answer of a batch create, as it came."""

    order_id: str | None = None
    client_order_id: str | None = None
    filled_e2: CountE2 | None = field(default=None, name="fill_count")
    remaining_e2: CountE2 | None = field(default=None, name="remaining_count")
    processed_ns: TimeFromMs | None = field(default=None, name="ts_ms")
    error: Refusal | None = None


class BatchCreateAnswer(Struct, frozen=True):
    """POST …/batched."""

    orders: tuple[BatchCreateItem, ...]


class BatchCancelItem(Struct, frozen=True):
    """One answer of a batch cancel, as it came."""

    order_id: str
    reduced_by_e2: CountE2 = field(name="reduced_by")
    processed_ns: TimeFromMs | None = field(default=None, name="ts_ms")
    client_order_id: str | None = None
    error: Refusal | None = None


class BatchCancelAnswer(Struct, frozen=True):
    """DELETE …/batched."""

    orders: tuple[BatchCancelItem, ...]


class OrderGroup(Struct, frozen=True):
    """An exchange-side brake: matched contracts per rolling 15 s (§2.4)."""

    id: str
    is_auto_cancel_enabled: bool
    contracts_limit_e2: CountE2 | None = field(default=None, name="contracts_limit_fp")


class OrderGroupAnswer(Struct, frozen=True):
    """GET /portfolio/order_groups/{order_group_id}; `orders` are order ids."""

    is_auto_cancel_enabled: bool
    orders: tuple[str, ...]
    contracts_limit_e2: CountE2 | None = field(default=None, name="contracts_limit_fp")


class OrderGroupsAnswer(Struct, frozen=True):
    """GET /portfolio/order_groups."""

    order_groups: tuple[OrderGroup, ...] | None = None


class OrderGroupCreated(Struct, frozen=True):
    """POST /portfolio/order_groups/create."""

    order_group_id: str
