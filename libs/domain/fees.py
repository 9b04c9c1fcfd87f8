"""Fees, exactly: which schedule holds when, the exchange's rounding, the per-order rebate.

Model fee = multiplier × coefficient × C × P × (1 − P) (kalshi-api.md §5), in integers only.
A series without a schedule raises `UnknownFeeError`: unknown is never free.
"""

from collections.abc import Iterable
from typing import Literal, TypeVar

from msgspec import Struct, structs

from libs.domain.fee_table import (
    EXCHANGE_FEES,
    RUNBOOK_NS,
    EventFeeOverride,
    FeeChange,
    FeeTable,
    FeeType,
    RoundingRule,
)
from libs.domain.money import PRICE_ONE_E4

Role = Literal["maker", "taker"]
Side = Literal["bid", "ask"]
Row = TypeVar("Row", FeeChange, RoundingRule, EventFeeOverride)

DIRECT_MEMBER_UNIT_E6 = 100
OTHER_MEMBER_UNIT_E6 = 10_000
CENT_E6 = 10_000

TAKER_COEFFICIENT_E6 = 70_000
_MAKER_COEFFICIENT_E6 = {
    FeeType.QUADRATIC: 0,
    FeeType.QUADRATIC_WITH_MAKER_FEES: TAKER_COEFFICIENT_E6 // 4,
    FeeType.QUADRATIC_WITH_COMBO_MAKER_FEES: TAKER_COEFFICIENT_E6 // 2,
}
# rate_e10 × count_e2 × price_e4 × price_e4 is in units of $10^-20
MODEL_PER_MICRO = 10**14


class FeeError(ValueError):
    """A fee that cannot be worked out from what was given."""


class UnknownFeeError(FeeError):
    """A series or fee type that the fee table does not hold."""


class FeeSchedule(Struct, frozen=True, kw_only=True):
    """What one series (or event) pays from `from_ns` until before `to_ns` (None: no end known).

    `order_total` is the runbook's way: the fee of the whole order is rounded up, not of a fill.
    """

    name: str
    series_ticker: str
    fee_type: FeeType
    multiplier_e4: int
    from_ns: int
    to_ns: int | None
    trade_fee_unit_e6: int = 1
    rebate_unit_e6: int | None = None
    order_total: bool = False

    def __post_init__(self) -> None:
        if self.fee_type not in _MAKER_COEFFICIENT_E6:
            raise UnknownFeeError(f"{self.series_ticker}: no model for fee type {self.fee_type!r}")
        if self.multiplier_e4 < 0 or self.trade_fee_unit_e6 <= 0:
            raise FeeError(f"{self.series_ticker}: expected a multiplier of 0 or more")

    def rate_e10(self, role: Role) -> int:
        """Return multiplier × coefficient of a role in units of 10^-10; raise FeeError."""
        if role == "taker":
            return self.multiplier_e4 * TAKER_COEFFICIENT_E6
        if role == "maker":
            return self.multiplier_e4 * _MAKER_COEFFICIENT_E6[self.fee_type]
        raise FeeError(f"role: expected 'maker' or 'taker', got {role!r}")

    def model_fee_e20(self, role: Role, price_e4: int, count_e2: int) -> int:
        """Return the exact model fee in units of $10^-20; raise FeeError on no possible trade."""
        if not 0 < price_e4 < PRICE_ONE_E4 or count_e2 <= 0:
            raise FeeError(f"trade: expected 0 < price < 1 and a count, got {price_e4}, {count_e2}")
        return self.rate_e10(role) * count_e2 * price_e4 * (PRICE_ONE_E4 - price_e4)

    def trade_fee_e6(self, role: Role, price_e4: int, count_e2: int) -> int:
        """Return the fee of one trade, rounded up to the schedule's unit."""
        return _ceil_e6(self.model_fee_e20(role, price_e4, count_e2), self.trade_fee_unit_e6)


def _ceil_e6(fee_e20: int, unit_e6: int) -> int:
    return -(-fee_e20 // (MODEL_PER_MICRO * unit_e6)) * unit_e6


def schedule_at(
    series_ticker: str,
    at_ns: int,
    event_ticker: str | None = None,
    table: FeeTable = EXCHANGE_FEES,
) -> FeeSchedule:
    """Return what a series pays at a time, with its event's override; raise UnknownFeeError.

    The answer holds until its `to_ns`, so a hot path asks again only then.
    """
    changes = _rows_of(series_ticker, table.changes)
    change, change_end_ns = _in_force(changes, at_ns)
    rounding, rounding_end_ns = _in_force(table.roundings, at_ns)
    overrides = [row for row in table.overrides if row.event_ticker == event_ticker]
    override, override_end_ns = _in_force(overrides, at_ns)
    if change is None or rounding is None:
        raise UnknownFeeError(
            f"fees: no schedule for series {series_ticker!r} at {at_ns};"
            " read it from the exchange and add a row to libs/domain/fee_table.py"
        )
    fee_type, multiplier_e4 = change.fee_type, change.multiplier_e4
    if override is not None:
        fee_type = override.fee_type or fee_type
        if override.multiplier_e4 is not None:
            multiplier_e4 = override.multiplier_e4
    ends = [end for end in (change_end_ns, rounding_end_ns, override_end_ns) if end is not None]
    rows = [row for row in (change, rounding, override) if row is not None]
    return FeeSchedule(
        name="exchange",
        series_ticker=series_ticker,
        fee_type=fee_type,
        multiplier_e4=multiplier_e4,
        from_ns=max(row.from_ns for row in rows),
        to_ns=min(ends, default=None),
        trade_fee_unit_e6=rounding.trade_fee_unit_e6,
        rebate_unit_e6=rounding.rebate_unit_e6,
    )


def _rows_of(series_ticker: str, rows: Iterable[FeeChange]) -> list[FeeChange]:
    exact = [row for row in rows if row.series_ticker == series_ticker]
    if exact:
        return exact
    groups = [row for row in rows if row.series_ticker.endswith("*")]
    return [row for row in groups if series_ticker.startswith(row.series_ticker[:-1])]


def _in_force(rows: Iterable[Row], at_ns: int) -> tuple[Row | None, int | None]:
    """Return the newest row that has begun, and when the next one begins."""
    begun = [row for row in rows if row.from_ns <= at_ns]
    coming = [row.from_ns for row in rows if row.from_ns > at_ns]
    return max(begun, key=lambda row: row.from_ns, default=None), min(coming, default=None)


def runbook_schedule(series_ticker: str) -> FeeSchedule:
    """Return the runbook's schedule of October 2025: the order's total rounded up to the cent."""
    then = schedule_at(series_ticker, RUNBOOK_NS)
    return structs.replace(
        then, name="runbook-2025-10", trade_fee_unit_e6=CENT_E6, order_total=True
    )


class Charge(Struct, frozen=True):
    """What one fill costs: `fee = trade_fee + rounding − rebate`, never negative.

    `balance_change` is the premium paid plus that fee, as a negative number: p·n on the bid,
    (1 − p)·n on the ask, which buys NO. When a fill closes earlier contracts the exchange
    returns $1 for each pair besides; the fee is the same.
    """

    trade_fee_e6: int
    rounding_e6: int
    rebate_e6: int
    fee_e6: int
    balance_change_e6: int


class OrderFees:
    """The fees of one order over its fills, maker and taker alike, with the rebate accumulator.

    `schedule` may be replaced between fills when the exchange changes its fees. `carried_e6`
    is rounding not yet rebated; pass it in to resume an order after a restart.
    """

    __slots__ = ("_charged_e6", "_model_e20", "carried_e6", "member_unit_e6", "schedule")

    def __init__(
        self,
        schedule: FeeSchedule,
        member_unit_e6: int = DIRECT_MEMBER_UNIT_E6,
        carried_e6: int = 0,
    ) -> None:
        if member_unit_e6 not in (DIRECT_MEMBER_UNIT_E6, OTHER_MEMBER_UNIT_E6) or carried_e6 < 0:
            raise FeeError(
                f"member unit: expected 100 or 10000 micro-dollars, got {member_unit_e6}"
            )
        self.schedule = schedule
        self.member_unit_e6 = member_unit_e6
        self.carried_e6 = carried_e6
        self._model_e20 = 0
        self._charged_e6 = 0

    def fill(self, role: Role, side: Side, price_e4: int, count_e2: int) -> Charge:
        """Return the charge for one fill and carry its rounding on; raise FeeError."""
        if side not in ("bid", "ask"):
            raise FeeError(f"side: expected 'bid' or 'ask', got {side!r}")
        paid_e4 = price_e4 if side == "bid" else PRICE_ONE_E4 - price_e4
        revenue_e6 = -paid_e4 * count_e2
        if self.schedule.order_total:
            return self._fill_of_total(role, price_e4, count_e2, revenue_e6)
        trade_fee_e6 = self.schedule.trade_fee_e6(role, price_e4, count_e2)
        exact_e6 = revenue_e6 - trade_fee_e6
        rounding_e6 = exact_e6 % self.member_unit_e6  # what flooring the balance takes
        rebate_unit_e6 = self.schedule.rebate_unit_e6 or self.member_unit_e6
        owed_e6 = min(self.carried_e6 + rounding_e6, trade_fee_e6 + rounding_e6)
        rebate_e6 = owed_e6 // rebate_unit_e6 * rebate_unit_e6
        self.carried_e6 += rounding_e6 - rebate_e6
        fee_e6 = trade_fee_e6 + rounding_e6 - rebate_e6
        assert fee_e6 >= 0 <= self.carried_e6, "a rebate never exceeds what was charged"
        return Charge(trade_fee_e6, rounding_e6, rebate_e6, fee_e6, revenue_e6 - fee_e6)

    def _fill_of_total(self, role: Role, price_e4: int, count_e2: int, revenue_e6: int) -> Charge:
        self._model_e20 += self.schedule.model_fee_e20(role, price_e4, count_e2)
        total_e6 = _ceil_e6(self._model_e20, self.schedule.trade_fee_unit_e6)
        fee_e6 = total_e6 - self._charged_e6
        self._charged_e6 = total_e6
        return Charge(fee_e6, 0, 0, fee_e6, revenue_e6 - fee_e6)
