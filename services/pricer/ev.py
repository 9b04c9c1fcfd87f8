"""Expected value after fees, of one order exactly and of a whole ladder at once (domain.md §2).

EV_yes = p(1 − y)n − (1 − p)yn − fee, and for the ask (NO bought at 1 − y) the same with both
probability and price complemented.
"""

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from libs.common.messages import Side
from libs.domain.fee_arrays import trade_fees_e6
from libs.domain.fees import DIRECT_MEMBER_UNIT_E6, FeeSchedule, Role
from libs.domain.money import COUNT_ONE_E2, PRICE_ONE_E4

Floats = NDArray[np.float64]
Prices = NDArray[np.int64]


def expected_value_e6(
    probability: float, side: Side, price_e4: int, count_e2: int, fee_e6: int
) -> int:
    """Return the expected value in micro-dollars of an order filled whole, after its fee."""
    edge_e4 = probability * PRICE_ONE_E4 - price_e4
    signed_e4 = edge_e4 if side == "bid" else -edge_e4
    return round(signed_e4 * count_e2) - fee_e6


class FeeTerms(Struct, frozen=True, eq=False):
    """What a fill of one contract is charged at every price, in micro-dollars; index by `price_e4`.

    As a direct member: the balance is rounded down to its unit, and no rebate is counted on. Holds
    until the schedule's `to_ns`. Prices of 0 and 1 stand for "no quote" and cost nothing. `at_e6`
    says the same as the array, for one price at a time.
    """

    by_price_e6: Prices
    at_e6: tuple[int, ...]
    to_ns: int | None

    @classmethod
    def of(cls, schedule: FeeSchedule, prices_e4: Prices, role: Role = "maker") -> "FeeTerms":
        """Return the terms of a schedule for these prices of a tick grid."""
        table = np.zeros(PRICE_ONE_E4 + 1, dtype=np.int64)
        fees_e6 = trade_fees_e6(schedule, role, prices_e4, COUNT_ONE_E2)
        # A premium of one contract is whole units, so that the balance is rounded by the fee alone.
        table[prices_e4] = -(-fees_e6 // DIRECT_MEMBER_UNIT_E6) * DIRECT_MEMBER_UNIT_E6
        return cls(table, tuple(table.tolist()), schedule.to_ns)


class LadderValue(Struct, frozen=True, eq=False):
    """EV in micro-dollars per contract of a bid and of an ask on each rung, shape (rungs,)."""

    bid_e6: Floats
    ask_e6: Floats


def ladder_value(
    probabilities: Floats,
    bid_price_e4: Prices,
    ask_price_e4: Prices,
    fees: FeeTerms,
    shrink: float = 1.0,
) -> LadderValue:
    """Return both sides' EV for one contract at these prices; `shrink` discounts the edge."""
    scale = shrink * COUNT_ONE_E2
    fair_e4 = probabilities * PRICE_ONE_E4
    return LadderValue(
        (fair_e4 - bid_price_e4) * scale - fees.by_price_e6[bid_price_e4],
        (ask_price_e4 - fair_e4) * scale - fees.by_price_e6[ask_price_e4],
    )
