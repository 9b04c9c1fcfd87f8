"""A day's volatility: where it stands by the session's clock, and what its moves teach.

x, the log of a day's volatility over its usual one, is kept as weights on a grid.
"""

from functools import lru_cache
from math import exp, lgamma, log, pi, sqrt

import numpy as np
from numpy.typing import NDArray
from scipy.special import polygamma

from libs.domain.eastern import NS_PER_MINUTE
from services.pricer.calibration import Mixture
from services.pricer.models.contract import Belief, TradingDay
from services.pricer.models.session import event_factors, variance_between

Floats = NDArray[np.float64]

NODES = 25
"""Of the grid for x; it reaches √(NODES − 1) standard deviations to either side."""
FLICKER_SHARE = 1.0 / 3.0
"""Volatility that lasts for minutes only, as a share of `log_sigma`: a quarter of an hour shows it,
and the next one has another. Too few minutes are at hand to fit it (ADR 0010)."""
SHORT_WEIGHT = 0.5
SHORT_MINUTES = 30.0
"""So moves over less than this vouch for x with half their weight."""


class VolatilityWatch:
    """The posterior of x on a grid, from the moves of one session."""

    def __init__(self, parameters: Mixture) -> None:
        self._parameters = parameters
        self._nodes = nodes_of(parameters.log_sigma)
        self._weights = stationary()
        self._open_ns = 0
        self._at_ns = 0
        self._belief: Belief | None = None

    @property
    def belief(self) -> Belief | None:
        return self._belief

    def observe(self, day: TradingDay, from_ns: int, to_ns: int, change: float) -> None:
        parameters = self._parameters
        assert day.open_ns <= from_ns < to_ns, "a move within the session"
        if day.open_ns != self._open_ns:
            self._open_ns, self._at_ns, self._weights = day.open_ns, 0, stationary()
        begin = (from_ns - day.open_ns) / NS_PER_MINUTE
        end = (to_ns - day.open_ns) / NS_PER_MINUTE
        if self._at_ns:
            assert to_ns > self._at_ns, "moves come in the order in which they are known"
            gap = (to_ns - self._at_ns) / NS_PER_MINUTE
            self._weights = self._weights @ transition(exp(-gap / parameters.memory_minutes))
        variance = usual_variance(parameters, day, begin, end)
        degrees = parameters.tail_degrees * (end - begin)
        evidence = log_evidence(change**2 / variance, self._nodes, degrees)
        if end - begin < SHORT_MINUTES:
            evidence *= SHORT_WEIGHT
        weights = self._weights * np.exp(evidence - evidence.max())
        self._weights = weights / weights.sum()
        self._at_ns = to_ns
        mean = float(self._weights @ self._nodes)
        spread = float(self._weights @ (self._nodes - mean) ** 2)
        self._belief = Belief(day.open_ns, to_ns, mean, spread)


def usual_variance(parameters: Mixture, day: TradingDay, begin: float, end: float) -> float:
    """Return the variance of the log level between two minutes after the open, where x is 0."""
    length = (day.close_ns - day.open_ns) / NS_PER_MINUTE
    factors = event_factors(day.events, parameters.kappa_cpi, parameters.kappa_fomc)
    return variance_between(rates_of(parameters.bin_sigmas), begin, end, length, factors)


@lru_cache(maxsize=64)
def rates_of(bin_sigmas: tuple[float, ...]) -> tuple[float, ...]:
    """Return the variance per minute of each bin."""
    return tuple(sigma**2 for sigma in bin_sigmas)


@lru_cache(maxsize=64)
def tail_variance(degrees: float) -> float:
    """Return the variance of log σ that makes a normal into Student's t (about 1 / 2ν)."""
    return float(polygamma(1, degrees / 2.0)) / 4.0


def log_evidence(squared: Floats | float, nodes: Floats, degrees: float) -> Floats:
    """Return the log density of moves given x, up to a constant in x and the move's unit.

    `squared` is move² over its usual variance, shape (...,); the result adds the nodes' axis.
    Student's t of unit variance; 2 degrees or fewer have none.
    """
    assert degrees > 2.0, f"expected above 2 degrees, got {degrees}"
    scaled = np.asarray(squared)[..., None] * np.exp(-2.0 * nodes) / (degrees - 2.0)
    constant = lgamma((degrees + 1) / 2) - lgamma(degrees / 2) - log((degrees - 2.0) * pi) / 2
    found: Floats = constant - nodes - (degrees + 1.0) / 2.0 * np.log1p(scaled)
    return found


def nodes_of(log_sigma: float) -> Floats:
    """Return the grid of x, shape (NODES,)."""
    return np.linspace(-1.0, 1.0, NODES) * log_sigma * sqrt(NODES - 1)


@lru_cache(maxsize=1)
def stationary() -> Floats:
    """Return the weights of the grid before anything was seen: binomial, nearly normal."""
    weights = np.array([1.0])
    for _ in range(NODES - 1):
        weights = np.convolve(weights, [0.5, 0.5])
    return weights


@lru_cache(maxsize=512)
def transition(keep: float) -> Floats:
    """Return the grid's transition with this autocorrelation (Rouwenhorst 1995), rows sum to 1."""
    stay = (1.0 + keep) / 2.0
    matrix = np.array([[stay, 1.0 - stay], [1.0 - stay, stay]])
    for size in range(3, NODES + 1):
        wider = np.zeros((size, size))
        wider[:-1, :-1] += stay * matrix
        wider[:-1, 1:] += (1.0 - stay) * matrix
        wider[1:, :-1] += (1.0 - stay) * matrix
        wider[1:, 1:] += stay * matrix
        wider[1:-1] /= 2.0
        matrix = wider
    return matrix
