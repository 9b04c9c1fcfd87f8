"""Proper scores by groups of cases, with intervals that treat a day as one observation.

Minutes before one target, the targets of a day, and the two indices all share the day's luck:
resampling cases would make the intervals far too narrow, so whole days are drawn.
"""

from math import sqrt

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray
from scipy.special import betainc, kolmogorov

Floats = NDArray[np.float64]

RESAMPLES = 4_000
DAYS_MIN = 3
"""Fewer days give no interval at all."""
PIT_BINS = 10
INTERVALS = (50, 80, 95)


class DayDraws(Struct, frozen=True, eq=False):
    """How often each day is drawn in each resample, shape (resamples, days)."""

    days: tuple[str, ...]
    counts: Floats

    @classmethod
    def of(cls, days: tuple[str, ...], seed: int = 20_260_101) -> "DayDraws":
        """Return seeded draws of as many days as there are, with replacement."""
        rng = np.random.default_rng(seed)
        size = len(days)
        counts = rng.multinomial(size, np.full(size, 1.0 / size), RESAMPLES).astype(np.float64)
        return cls(days, counts)


def sums_by_day(values: Floats, day: NDArray[np.int64], days: int) -> Floats:
    """Return the sum of the values of each day, shape (days,)."""
    return np.bincount(day, weights=values, minlength=days).astype(np.float64)


def gain_of(
    mine: Floats, theirs: Floats, day: NDArray[np.int64], draws: DayDraws
) -> tuple[float, tuple[float, float] | None]:
    """Return 1 − Σ mine / Σ theirs and its 95 % interval over days, None with too few days."""
    size = len(draws.days)
    ours, other = sums_by_day(mine, day, size), sums_by_day(theirs, day, size)
    point = _share(ours.sum(), other.sum())
    if np.unique(day).size < DAYS_MIN:
        return point, None
    below = draws.counts @ other
    drawn = below > 0
    if not drawn.any():
        return point, None
    spread = 1.0 - (draws.counts @ ours)[drawn] / below[drawn]
    return point, _interval(spread)


def difference_of(
    mine: Floats, theirs: Floats, day: NDArray[np.int64], draws: DayDraws
) -> tuple[float, tuple[float, float] | None]:
    """Return the mean of mine − theirs and its 95 % interval over days."""
    size = len(draws.days)
    sums = sums_by_day(mine - theirs, day, size)
    counts = np.bincount(day, minlength=size).astype(np.float64)
    point = float(sums.sum() / counts.sum())
    if np.unique(day).size < DAYS_MIN:
        return point, None
    below = draws.counts @ counts
    drawn = below > 0
    return point, _interval((draws.counts @ sums)[drawn] / below[drawn])


def _share(mine: float, theirs: float) -> float:
    return float(1.0 - mine / theirs) if theirs > 0 else 0.0


def _interval(spread: Floats) -> tuple[float, float]:
    low, high = np.percentile(spread, [2.5, 97.5])
    return round(float(low), 6), round(float(high), 6)


def coverage(pit: Floats, percent: int) -> float:
    """Return the share of outcomes within the central interval of so many percent."""
    tail = (1.0 - percent / 100.0) / 2.0
    return float(((pit >= tail) & (pit <= 1.0 - tail)).mean())


class Uniformity(Struct, frozen=True):
    """Is the PIT uniform? p by Kolmogorov–Smirnov as if cases were independent, and by days.

    `p_by_days` tests that mean and spread of the PIT are those of a uniform, with the covariance
    of whole days (a cluster-robust Hotelling test); None with too few days for it.
    """

    n: int
    histogram: tuple[float, ...]
    ks: float
    p_independent: float
    p_by_days: float | None


def uniformity(pit: Floats, day: NDArray[np.int64]) -> Uniformity:
    """Return the histogram (shares of PIT_BINS bins) and the tests."""
    n = pit.size
    ordered = np.sort(pit)
    steps = np.arange(n + 1) / n
    distance = float(max((steps[1:] - ordered).max(), (ordered - steps[:-1]).max()))
    shares = np.histogram(pit, bins=PIT_BINS, range=(0.0, 1.0))[0] / n
    root = sqrt(n)
    return Uniformity(
        n=n,
        histogram=tuple(round(float(share), 6) for share in shares),
        ks=round(distance, 6),
        p_independent=float(kolmogorov((root + 0.12 + 0.11 / root) * distance)),
        p_by_days=_p_by_days(pit, day),
    )


def _p_by_days(pit: Floats, day: NDArray[np.int64]) -> float | None:
    moments = np.stack([pit - 0.5, (pit - 0.5) ** 2 - 1.0 / 12.0])
    days, index = np.unique(day, return_inverse=True)
    count, size = len(days), len(moments)
    if count < size + DAYS_MIN:
        return None
    sums = np.stack([np.bincount(index, weights=moment) for moment in moments])
    total = sums.sum(axis=1)
    centred = sums - sums.mean(axis=1, keepdims=True)
    cover = centred @ centred.T * count / (count - 1)
    if abs(np.linalg.det(cover)) < 1e-12:
        return None
    hotelling = float(total @ np.linalg.solve(cover, total))
    ratio = hotelling * (count - size) / (size * (count - 1))
    free = count - size
    # The upper tail of F(size, free).
    return float(betainc(free / 2.0, size / 2.0, free / (free + size * ratio)))
