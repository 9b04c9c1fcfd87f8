"""Distributions of a settling value, in its natural units, and their proper score (domain.md §2).

A `Distribution` is what every model returns; `cdf` fits `RungEdges.probabilities` as it is.
"""

import math
from typing import Protocol

import numpy as np
from msgspec import Struct
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr, ndtri

Floats = NDArray[np.float64]

_SQRT_PI = math.sqrt(math.pi)
_SQRT_2PI = math.sqrt(2 * math.pi)
_BISECTIONS = 60


class DistributionError(ValueError):
    """Parameters that describe no distribution."""


class Distribution(Protocol):
    """A distribution of one value; both functions take and return arrays of one shape."""

    def cdf(self, levels: Floats) -> Floats:
        """Return P(X <= level), rising with the level, from 0 to 1."""
        ...

    def quantile(self, probabilities: Floats) -> Floats:
        """Return the lowest level whose cdf reaches the probability, which lies within 0 to 1."""
        ...


class Scored(Distribution, Protocol):
    """A distribution that can be scored on what came."""

    @property
    def mean(self) -> float: ...

    @property
    def sigma(self) -> float: ...

    def crps(self, outcome: float) -> float:
        """Return the CRPS in units of the value; lower is better."""
        ...

    def log_density(self, outcome: float) -> float:
        """Return the log of the density at the outcome; higher is better."""
        ...


class Normal(Struct, frozen=True):
    """A normal distribution; raises DistributionError unless mean and sigma > 0 are finite."""

    mean: float
    sigma: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.mean) and 0 < self.sigma < math.inf):
            raise DistributionError(
                f"normal: expected a finite mean and sigma > 0, got {self.mean}, {self.sigma}"
            )

    def cdf(self, levels: Floats) -> Floats:
        found: Floats = ndtr((levels - self.mean) / self.sigma)
        return found

    def quantile(self, probabilities: Floats) -> Floats:
        found: Floats = self.mean + self.sigma * ndtri(probabilities)
        return found

    def crps(self, outcome: float) -> float:
        """Return the CRPS in closed form (Gneiting and Raftery 2007, section 4.2)."""
        z = (outcome - self.mean) / self.sigma
        density = math.exp(-z * z / 2) / _SQRT_2PI
        return self.sigma * (z * math.erf(z / math.sqrt(2)) + 2 * density - 1 / _SQRT_PI)

    def log_density(self, outcome: float) -> float:
        z = (outcome - self.mean) / self.sigma
        return -z * z / 2 - math.log(self.sigma * _SQRT_2PI)


class NormalMixture(Struct, frozen=True, eq=False):
    """Normal distributions around one mean, of several sigmas: a scale mixture, heavy in the tails.

    `sigmas` and `weights` have shape (parts,); the weights sum to 1. Built on the hot path, so
    whoever builds it answers for finite numbers and sigmas above 0.
    """

    mean: float
    sigmas: Floats
    weights: Floats

    @property
    def sigma(self) -> float:
        """Return the standard deviation."""
        return math.sqrt(float(self.weights @ (self.sigmas * self.sigmas)))

    def cdf(self, levels: Floats) -> Floats:
        parts = ndtr((levels - self.mean) / self.sigmas[:, None])
        parts *= self.weights[:, None]
        # Summed row by row: each level's terms are added in one order, so that the cdf rises.
        found: Floats = np.add.reduce(parts, axis=0)
        return np.minimum(found, 1.0, out=found)

    def quantile(self, probabilities: Floats) -> Floats:
        wanted = np.asarray(probabilities, dtype=np.float64)
        ends = ndtri(wanted) * np.array([[self.sigmas.min()], [self.sigmas.max()]])
        low, high = self.mean + ends.min(axis=0), self.mean + ends.max(axis=0)
        inside = np.isfinite(low)
        found = np.where(inside, 0.0, self.mean + ends[0])
        low, high, goal = low[inside], high[inside], wanted[inside]
        for _ in range(_BISECTIONS):
            middle = (low + high) / 2
            below = self.cdf(middle) < goal
            low, high = np.where(below, middle, low), np.where(below, high, middle)
        found[inside] = high
        return found

    def crps(self, outcome: float) -> float:
        """Return the CRPS in closed form: E|X − y| − E|X − X′| / 2, both sums of normal terms."""
        away = (outcome - self.mean) / self.sigmas
        to_outcome = self.sigmas * (
            away * (2 * ndtr(away) - 1) + 2 * np.exp(-away * away / 2) / _SQRT_2PI
        )
        squares = self.sigmas * self.sigmas
        apart = np.sqrt(squares[:, None] + squares) * math.sqrt(2 / math.pi)
        return float(self.weights @ to_outcome - self.weights @ apart @ self.weights / 2)

    def log_density(self, outcome: float) -> float:
        away = (outcome - self.mean) / self.sigmas
        parts = np.log(self.weights / (self.sigmas * _SQRT_2PI)) - away * away / 2
        top = parts.max()
        return float(top + np.log(np.exp(parts - top).sum()))


class Certain(Struct, frozen=True):
    """All mass on one value: a forecast without doubt."""

    value: float

    def __post_init__(self) -> None:
        if not math.isfinite(self.value):
            raise DistributionError(f"certain: expected a finite value, got {self.value}")

    def cdf(self, levels: Floats) -> Floats:
        return np.where(levels >= self.value, 1.0, 0.0)

    def quantile(self, probabilities: Floats) -> Floats:
        return np.full(np.shape(probabilities), self.value)

    def crps(self, outcome: float) -> float:
        """Return the CRPS, which is the absolute error; 0 for a perfect forecast."""
        return abs(outcome - self.value)


def crps(levels: ArrayLike, cdf_values: ArrayLike, outcome: float) -> float:
    """Return ∫ (F(x) − 1{x ≥ outcome})² dx over the range of `levels`, F a step function.

    `levels` ascends, shape (n,); F is `cdf_values[i]` from level i to the next, so the error is
    one step. Raises DistributionError for other shapes or an outcome outside the range.
    """
    grid = np.asarray(levels, dtype=np.float64)
    values = np.asarray(cdf_values, dtype=np.float64)
    if grid.ndim != 1 or grid.shape != values.shape or not bool((np.diff(grid) > 0).all()):
        raise DistributionError("crps: expected ascending levels and one cdf value for each")
    if not grid[0] <= outcome <= grid[-1]:
        raise DistributionError(f"crps: outcome {outcome} lies outside {grid[0]} to {grid[-1]}")
    widths = np.diff(grid)
    # The step with the outcome inside is below it for a part of its width, and above for the rest.
    share_above = np.clip((grid[1:] - outcome) / widths, 0.0, 1.0)
    below, above = values[:-1] ** 2, (1.0 - values[:-1]) ** 2
    return float((widths * (share_above * above + (1.0 - share_above) * below)).sum())
