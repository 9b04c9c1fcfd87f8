"""Trade fees of a whole ladder at once; apart from `fees` so that the broker needs no numpy."""

from math import gcd

import numpy as np
from numpy.typing import NDArray

from libs.domain.fees import MODEL_PER_MICRO, FeeError, FeeSchedule, Role
from libs.domain.money import PRICE_ONE_E4

Integers = NDArray[np.int64]

_VARIANCE_MAX_E8 = PRICE_ONE_E4**2 // 4


def trade_fees_e6(
    schedule: FeeSchedule, role: Role, prices_e4: Integers, counts_e2: Integers | int
) -> Integers:
    """Return `schedule.trade_fee_e6` of every price and count, shape (n,), exact in int64.

    A price of 0 or 1 costs nothing here, so that rungs without a quote need no mask. Raises
    FeeError for prices outside that, negative counts, and what would not fit 64 bits.
    """
    counts = np.asarray(counts_e2, dtype=np.int64)
    rate_e10 = schedule.rate_e10(role)
    unit = MODEL_PER_MICRO * schedule.trade_fee_unit_e6
    common = gcd(rate_e10, unit)
    rate, divisor = rate_e10 // common, unit // common
    count_max = int(counts.max(initial=0))
    if (
        int(prices_e4.min(initial=0)) < 0
        or int(prices_e4.max(initial=0)) > PRICE_ONE_E4
        or int(counts.min(initial=0)) < 0
        or rate * count_max * _VARIANCE_MAX_E8 + divisor >= 2**63
    ):
        raise FeeError("fees: expected prices within 0 to 1 and counts that fit 64 bits")
    numerators = rate * counts * (prices_e4 * (PRICE_ONE_E4 - prices_e4))
    fees: Integers = -(-numerators // divisor) * schedule.trade_fee_unit_e6
    return fees
