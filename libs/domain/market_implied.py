"""What a ladder's own quotes say of the outcome: survival, pmf, and what is wrong with them.

Quotes bound survival. The middles of two-sided quotes (of the bounds, elsewhere) are projected to
a curve that falls, with weights by spread and depth, within the bounds. A ladder that contradicts
itself is bad input: it has an error and no curve, and is never projected flat (domain.md §2).
Prices are fractions of a dollar.
"""

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from libs.domain.ladder_maths import (
    LadderMathsError,
    falling,
    masses_of,
    simplex_projection,
)

Floats = NDArray[np.float64]

SPREAD_MIN = 0.01
UNQUOTED_WEIGHT = 1e-3
"""A rung without two sides hardly counts: its bounds come from its neighbours."""


class LadderContradicts(LadderMathsError):
    """Quotes that no distribution allows."""


class MarketImplied(Struct, frozen=True, eq=False):
    """The market's curve on nested rungs, shape (n,), and its masses, shape (n + 1,).

    `moved` is the largest step of the projection, `spread` the mean width of the bounds.
    """

    survival: Floats
    pmf: Floats
    moved: float
    spread: float


def implied_survival(bids: Floats, asks: Floats, depths: Floats) -> MarketImplied:
    """Return the survival that nested thresholds' quotes imply, NaN where there is no quote.

    `depths` is the quantity at the better side, 0 or more. Raises LadderContradicts when a bid
    lies above an ask at the same or a lower strike.
    """
    if not bids.shape == asks.shape == depths.shape or bids.ndim != 1 or bids.size == 0:
        raise LadderMathsError("quotes: expected one bid, ask and depth for each rung")
    low, high = np.fmax(bids, 0.0), np.fmin(asks, 1.0)  # these pass over NaN
    own, own_width = (low + high) * 0.5, np.maximum(high - low, SPREAD_MIN)
    bare = np.isnan(bids + asks)
    # A bid at a higher strike holds for all lower ones, an ask at a lower one for all higher ones.
    low = np.maximum.accumulate(low[::-1])[::-1]
    high = np.minimum.accumulate(high)
    width = high - low
    if np.minimum.reduce(width) < 0.0:
        crossed = int((width < 0.0).sum())
        raise LadderContradicts(f"quotes: survival would have to rise at {crossed} rungs")
    if not np.minimum.reduce(depths) >= 0.0 or not np.maximum.reduce(depths) < np.inf:
        raise LadderMathsError("quotes: expected finite depths of 0 or more")
    middle, loads = own, depths + 1.0
    if np.logical_or.reduce(bare):
        middle = np.where(bare, (low + high) * 0.5, own)
        loads = np.where(bare, UNQUOTED_WEIGHT, loads)
    # Bounds that do not cross lie within 0 to 1, and so does what is between them. They fall
    # themselves, so a falling curve that is cut to them still falls.
    survival = np.minimum(np.maximum(falling(middle, loads / own_width), low), high)
    moved = float(np.maximum.reduce(np.abs(survival - middle)))
    return MarketImplied(
        survival, masses_of(survival), moved, float(np.add.reduce(width)) / width.size
    )


def implied_pmf(bids: Floats, asks: Floats) -> Floats:
    """Return the masses that the quotes of a partition imply, shape (n,).

    Raises LadderContradicts when bids sum past 1, or asks of a whole partition below it.
    """
    low, high = np.fmax(bids, 0.0), np.fmin(asks, 1.0)
    if not bids.shape == asks.shape or bids.ndim != 1 or bids.size == 0:
        raise LadderMathsError("quotes: expected one bid and one ask for each rung")
    if bool((low > high).any()) or low.sum() > 1.0 or high.sum() < 1.0:
        raise LadderContradicts(
            f"quotes: expected bids up to asks around a sum of 1,"
            f" got {low.sum():.4f} and {high.sum():.4f}"
        )
    return simplex_projection((low + high) / 2.0)
