"""The index model: σ by time of day, times a volatility of the day that is learnt as it shows.

The log of the day's volatility, x, wanders as an AR(1) about 0. Each minute's move is evidence
on x, weighed by Bayes' rule on a grid; the target's distribution is normal given x, hence a scale
mixture: wide and heavy-tailed at the open, and as narrow as today is calm. No drift, no floor.
"""

from math import exp, sqrt

import numpy as np
from numpy.typing import NDArray

from libs.domain.distributions import NormalMixture
from libs.domain.eastern import NS_PER_MINUTE
from libs.domain.money import LEVEL_ONE_E4
from libs.domain.windows import seconds_to_target
from services.pricer.calibration import Calibration, Mixture
from services.pricer.models.contract import Belief, IndexInputs, Target
from services.pricer.models.mixture_fit import fit
from services.pricer.models.volatility import (
    FLICKER_SHARE,
    VolatilityWatch,
    tail_variance,
    usual_variance,
)

__all__ = ["NAME", "distribution", "fit", "watch"]

NAME = "index"
Floats = NDArray[np.float64]

PARTS = 7
_HERMITE = np.polynomial.hermite_e.hermegauss(PARTS)
_PART_AT: Floats = _HERMITE[0]
_PART_WEIGHT: Floats = _HERMITE[1] / _HERMITE[1].sum()


def distribution(inputs: IndexInputs, calibration: Calibration, now_ns: int) -> NormalMixture:
    """Return the distribution of the index at the target; raises TargetPassedError."""
    target = inputs.target
    minutes = seconds_to_target(now_ns, target.at_ns) / 60.0
    parameters = calibration.symbols[target.symbol]
    assert isinstance(parameters, Mixture), f"expected parameters of {NAME}"
    end = (target.at_ns - target.day.open_ns) / NS_PER_MINUTE
    variance = usual_variance(parameters, target.day, end - minutes, end)
    mean, spread = _volatility_ahead(parameters, target, inputs.belief, now_ns, minutes)
    # Few minutes keep the heavy tails of one; the sum over many loses them.
    tail = tail_variance(parameters.tail_degrees) / max(minutes, 1.0)
    scale = exp(mean - tail) * sqrt(variance)
    level = inputs.level_e4 / LEVEL_ONE_E4
    sigmas: Floats = np.exp(_PART_AT * sqrt(spread + tail))
    sigmas *= level * scale
    return NormalMixture(level, sigmas, _PART_WEIGHT)


def _volatility_ahead(
    parameters: Mixture, target: Target, belief: Belief | None, now_ns: int, minutes: float
) -> tuple[float, float]:
    """Return mean and variance of x halfway to the target, from what was believed last."""
    whole = parameters.log_sigma**2
    flicker = whole * FLICKER_SHARE**2
    if belief is None or belief.open_ns != target.day.open_ns:
        return 0.0, whole + flicker
    assert belief.at_ns <= now_ns, "a belief from the future"
    gap = (now_ns - belief.at_ns) / NS_PER_MINUTE + minutes / 2.0
    keep = exp(-gap / parameters.memory_minutes)
    spread = keep**2 * belief.variance + (1.0 - keep**2) * whole
    return keep * belief.mean, spread + flicker


def watch(calibration: Calibration, symbol: str) -> VolatilityWatch:
    """Return what learns today's volatility from its moves."""
    parameters = calibration.symbols[symbol]
    assert isinstance(parameters, Mixture), f"expected parameters of {NAME}"
    return VolatilityWatch(parameters)
