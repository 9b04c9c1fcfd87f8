"""The prices that a market's orders may have, and rounding to them."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from libs.common.messages import PriceRange
from libs.domain.money import PRICE_ONE_E4

Prices = NDArray[np.int64]


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
        inside = sorted(price for price in found if 0 < price < PRICE_ONE_E4)
        if not inside:
            raise ValueError("price ranges: expected at least one tick between 0 and 1, got none")
        self.prices_e4: Prices = np.array(inside, dtype=np.int64)
        self._with_ends = np.concatenate(([0], self.prices_e4, [PRICE_ONE_E4]))

    def at_or_below(self, prices_e4: ArrayLike) -> Prices:
        """Return the highest tick at or below each price."""
        found: Prices = self._with_ends[np.searchsorted(self.prices_e4, prices_e4, side="right")]
        return found

    def at_or_above(self, prices_e4: ArrayLike) -> Prices:
        """Return the lowest tick at or above each price."""
        place = np.searchsorted(self.prices_e4, prices_e4, side="left")
        found: Prices = self._with_ends[place + 1]
        return found

    def below(self, prices_e4: Prices) -> Prices:
        """Return the next tick under each price."""
        return self.at_or_below(prices_e4 - 1)

    def above(self, prices_e4: Prices) -> Prices:
        """Return the next tick over each price."""
        return self.at_or_above(prices_e4 + 1)
