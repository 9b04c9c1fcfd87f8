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
