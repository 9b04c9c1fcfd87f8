"""What fills cost: the dated fee schedule of each event, and the charge for one fill."""

from lab.exchange.model import ONE_DOLLAR_E4, Order
from libs.domain.fee_table import EXCHANGE_FEES, EventFeeOverride, FeeTable
from libs.domain.fees import (
    DIRECT_MEMBER_UNIT_E6,
    OTHER_MEMBER_UNIT_E6,
    FeeSchedule,
    OrderFees,
    Role,
    schedule_at,
)


class Charges:
    """The exchange's fees, looked up once per event and stretch of time."""

    def __init__(self, table: FeeTable = EXCHANGE_FEES, *, direct_members: bool = True) -> None:
        self.table = table
        self.unit_e6 = DIRECT_MEMBER_UNIT_E6 if direct_members else OTHER_MEMBER_UNIT_E6
        self._known: dict[tuple[str, str], FeeSchedule] = {}

    def schedule(self, series_ticker: str, event_ticker: str, at_ns: int) -> FeeSchedule:
        """Return what an event pays at a time, or with "" a series. Raises UnknownFeeError."""
        key = series_ticker, event_ticker
        known = self._known.get(key)
        if (
            known is None
            or at_ns < known.from_ns
            or (known.to_ns is not None and at_ns >= known.to_ns)
        ):
            known = schedule_at(series_ticker, at_ns, event_ticker, self.table)
            self._known[key] = known
        return known

    def override(self, event_ticker: str, at_ns: int) -> EventFeeOverride | None:
        """Return an event's own fees at a time, None where its series' hold."""
        begun = [
            row
            for row in self.table.overrides
            if row.event_ticker == event_ticker and row.from_ns <= at_ns
        ]
        return max(begun, key=lambda row: row.from_ns, default=None)

    def charge(
        self, schedule: FeeSchedule, order: Order, role: Role, price_e4: int, count_e2: int
    ) -> int:
        """Return one fill's fee with rounding and rebate, in e6; the order keeps its rounding."""
        fees = OrderFees(schedule, self.unit_e6, order.rebate_carry_e6)
        fee_e6 = fees.fill(role, order.side, price_e4, count_e2).fee_e6
        order.rebate_carry_e6 = fees.carried_e6
        return fee_e6


def fee_bound_e6(
    schedule: FeeSchedule, role: Role, low_e4: int, high_e4: int, count_e2: int
) -> int:
    """Return the most that fills between two prices can cost in fees before rounding."""
    worst_e4 = min(max(low_e4, ONE_DOLLAR_E4 // 2), high_e4)
    return schedule.trade_fee_e6(role, worst_e4, count_e2)
