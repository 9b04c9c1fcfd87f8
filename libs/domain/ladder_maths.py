"""Ladder maths on survival curves: projection, pmf, kinks, microprice (domain.md §2 and §8).

Arrays run from the lowest strike to the highest; survival is P(value above the strike), so it
must not rise. Statistics are floats; nothing here is money.
"""

import math
from collections.abc import Sequence

import numpy as np
from msgspec import Struct
from numpy.typing import ArrayLike, NDArray

from libs.domain.families import LadderKind
from libs.domain.money import PRICE_ONE_E4

Floats = NDArray[np.float64]
Prices = NDArray[np.int64]

# A bend of survival above this counts as a kink; the case of domain.md §8 admits .15 to .25.
KINK_BEND = 0.2

CURVE_SLACK = 1e-12
"""A mass this far below zero is rounding."""


class LadderMathsError(ValueError):
    """Arrays that are no ladder: wrong shape, empty, or not finite."""


def _finite(values: ArrayLike, what: str) -> Floats:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or array.size == 0 or not np.isfinite(array).all():
        raise LadderMathsError(f"{what}: expected a row of finite numbers, got {array!r:.80}")
    return array


def isotonic_survival(survival: ArrayLike, weights: ArrayLike | None = None) -> Floats:
    """Return the nearest non-increasing curve within 0 to 1, shape (n,), by weighted least squares.

    Values are first cut to 0 to 1. Weights must be positive; without them all count alike.
    """
    values = _finite(survival, "survival").clip(0.0, 1.0)
    loads = np.ones_like(values) if weights is None else _finite(weights, "weights")
    if loads.shape != values.shape or not (loads > 0).all():
        raise LadderMathsError("weights: expected one positive weight for each value")
    return falling(values, loads)


def falling(values: Floats, loads: Floats) -> Floats:
    """Return `isotonic_survival` of values within 0 to 1 with positive weights, unchecked."""
    if np.logical_and.reduce(values[1:] <= values[:-1]):
        return values
    # Pool adjacent violators: each block is (mean, weight, length), merged while it rises. The
    # first block is no value: nothing rises above it.
    means, masses, lengths = [math.inf], [0.0], [0]
    for value, load in zip(values.tolist(), loads.tolist(), strict=True):
        mean, mass, length = value, load, 1
        while means[-1] < mean:
            before = masses.pop()
            mean = (means.pop() * before + mean * mass) / (before + mass)
            mass += before
            length += lengths.pop()
        means.append(mean)
        masses.append(mass)
        lengths.append(length)
    return np.repeat(means, lengths)


def simplex_projection(values: ArrayLike) -> Floats:
    """Return the nearest point with no negative part and a sum of 1, shape (n,)."""
    array = _finite(values, "values")
    descending = np.sort(array)[::-1]
    excess = (np.cumsum(descending) - 1.0) / np.arange(1, array.size + 1)
    shift = excess[np.flatnonzero(descending > excess)[-1]]
    projected: Floats = np.maximum(array - shift, 0.0)
    return projected


def pmf_of_survival(survival: ArrayLike) -> Floats:
    """Return the mass below, between and above n thresholds, shape (n + 1,)."""
    pmf = masses_of(_finite(survival, "survival"))
    if float(pmf.min()) < -CURVE_SLACK:
        raise LadderMathsError(f"survival: expected to fall from 1 to 0, got {survival!r}")
    return pmf


def masses_of(curve: Floats) -> Floats:
    """Return the pmf of a survival curve that is known to be one."""
    pmf = np.empty(curve.size + 1)
    pmf[0], pmf[-1] = 1.0 - curve[0], curve[-1]
    np.subtract(curve[:-1], curve[1:], out=pmf[1:-1])
    return pmf


def survival_of_pmf(pmf: ArrayLike) -> Floats:
    """Return the survival at the n thresholds between n + 1 masses, shape (n,)."""
    masses = _finite(pmf, "pmf")
    return masses[::-1].cumsum()[::-1][1:]


class Kinks(Struct, frozen=True):
    """How unevenly survival falls: second differences of the curve."""

    bend_max: float
    bend_mean: float
    count: int


def kinks(survival: ArrayLike, bend: float = KINK_BEND) -> Kinks:
    """Return largest and mean absolute second difference, and how many exceed `bend`."""
    curve = _finite(survival, "survival")
    if curve.size < 3:
        return Kinks(0.0, 0.0, 0)
    bends = np.abs(np.diff(curve, 2))
    return Kinks(float(bends.max()), float(bends.mean()), int((bends > bend).sum()))


class Microprice(Struct, frozen=True):
    """The size-weighted price between bid and ask, and (bid − ask) / (bid + ask) of the sizes."""

    price: float
    imbalance: float


def microprice(bid: float, bid_size: float, ask: float, ask_size: float) -> Microprice:
    """Return microprice and imbalance of one market; sizes must be positive."""
    total = bid_size + ask_size
    if not (bid_size >= 0 and ask_size >= 0 and 0 < total < float("inf")):
        raise LadderMathsError(f"sizes: expected some quantity, got {bid_size} and {ask_size}")
    return Microprice(
        (bid * ask_size + ask * bid_size) / total,
        (bid_size - ask_size) / total,
    )


def microprices(
    bids: Floats, bid_sizes: Floats, asks: Floats, ask_sizes: Floats
) -> tuple[Floats, Floats]:
    """Return microprices and imbalances, shape (n,), NaN where a market is not two-sided."""
    two_sided = (bid_sizes > 0) & (ask_sizes > 0)
    total = np.where(two_sided, bid_sizes + ask_sizes, np.nan)
    return (bids * ask_sizes + asks * bid_sizes) / total, (bid_sizes - ask_sizes) / total


def count_rises(values: ArrayLike, tolerance: float = 0.0) -> int:
    """Return at how many strikes a quoted curve rises where survival must fall.

    NaN (no quote) is left out: its neighbours are compared. Counts before any projection.
    """
    curve = np.asarray(values, dtype=np.float64)
    quoted = curve[~np.isnan(curve)]
    return int((np.diff(quoted) > tolerance).sum())


def contradictions(kind: LadderKind, bids_e4: Sequence[int], asks_e4: Sequence[int]) -> int:
    """Return how often a ladder's quotes contradict one another, before any projection.

    Prices of rungs from the lowest strike; bid 0 and ask 10,000 where there is none. A bid bounds
    survival from below, an ask from above, so no bid of nested rungs may lie above an ask at a
    lower strike. In a partition exactly one range pays: its bids must not sum past 1.
    """
    if len(bids_e4) != len(asks_e4):
        raise LadderMathsError("quotes: expected one bid and one ask for each rung")
    if kind is not LadderKind.NESTED:
        return int(sum(bids_e4) > PRICE_ONE_E4)
    found, lowest_ask_e4 = 0, PRICE_ONE_E4
    for bid_e4, ask_e4 in zip(bids_e4, asks_e4, strict=True):
        if bid_e4 > lowest_ask_e4:
            found += 1
        if ask_e4 < lowest_ask_e4:
            lowest_ask_e4 = ask_e4
    return found
