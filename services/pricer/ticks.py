"""The prices that a market's orders may have, and rounding to them."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from libs.common.messages import PriceRange
from libs.domain.money import PRICE_ONE_E4


class TickGrid:
    """All ticks strictly between 0 and 1, rising, shape (ticks,).

    Rounding past the last tick gives 0 below and 10,000 above: no order can be there.
    """

    def __init__(self, ranges: Iterable[PriceRange]) -> None:
        found: set[int] = set()
        for row in ranges:
            if row.step_e4 <= 0 or row.end_e4 < row.start_e4:
                raise ValueError(f"price range: expected a rising one with a step, got {row}")
            found.update(range(row.start_e4, row.end_e4 + 1, row.step_e4))
        self._ticks = sorted(price for price in found if 0 < price < PRICE_ONE_E4)
        if not self._ticks:
            raise ValueError("price ranges: expected at least one tick between 0 and 1, got none")
        self._with_ends = (0, *self._ticks, PRICE_ONE_E4)
        self.prices_e4: NDArray[np.int64] = np.array(self._ticks, dtype=np.int64)

    # One price at a time: a ladder is quoted at a few rungs, for which arrays cost more.

    def at_or_below(self, price_e4: float) -> int:
        """Return the highest tick at or below a price."""
        return self._with_ends[bisect_right(self._ticks, price_e4)]

    def at_or_above(self, price_e4: float) -> int:
        """Return the lowest tick at or above a price."""
        return self._with_ends[bisect_left(self._ticks, price_e4) + 1]

    def below(self, price_e4: float) -> int:
        """Return the next tick under a price."""
        return self._with_ends[bisect_left(self._ticks, price_e4)]

    def above(self, price_e4: float) -> int:
        """Return the next tick over a price."""
        return self._with_ends[bisect_right(self._ticks, price_e4) + 1]
