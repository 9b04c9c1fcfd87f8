"""The runbook's hourly index model: X_T = S + drift(m) + σ(m)·Z (domain.md §2, a baseline).

Kept of it: σ per whole minute to the target, a residual floor, an event multiplier and the PIT
bias correction. Where it was wrong we are not: κ multiplies σ (not σ²), the floor comes from the
same moves as σ, drift is fitted as zero, and a target in the past is an error.
"""

from collections.abc import Sequence
from math import sqrt

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray
from scipy.special import expit, logit, ndtr, ndtri

from libs.domain.eastern import NS_PER_MINUTE, eastern_date
from libs.domain.money import LEVEL_ONE_E4
from libs.domain.windows import seconds_to_target
from services.pricer.calibration import HourlyCalibration, sealed

MODEL = "index_hourly.1"
FLOOR_HORIZON_S = 2
"""The residual floor is the move within the cancel buffer: no quote rests closer to the target."""

Floats = NDArray[np.float64]


class HourlyInputs(Struct, frozen=True, kw_only=True):
    """What the model looks at: the newest level, the target, and whether it is an event day."""

    level_e4: int
    target_ns: int
    event_day: bool = False


class MinuteSeries(Struct, frozen=True, eq=False):
    """Levels in index points and when each was known (a bar's end), times rising, shape (n,)."""

    known_ns: NDArray[np.int64]
    levels: Floats


class HourlyDistribution(Struct, frozen=True):
    """A normal distribution in index points with the bias correction on survival.

    The correction S' = sigmoid(logit S + bias) is monotone, so every rung of an event is still
    priced from one distribution.
    """

    mean: float
    sigma: float
    bias: float = 0.0

    def cdf(self, levels: Floats) -> Floats:
        """Return P(X <= level), the shape of `levels`."""
        plain: Floats = ndtr((levels - self.mean) / self.sigma)
        if self.bias == 0.0:
            return plain
        corrected: Floats = expit(logit(plain) - self.bias)
        return corrected

    def quantile(self, probabilities: Floats) -> Floats:
        """Return the levels with these cdf values, the inverse of `cdf`."""
        plain = probabilities if self.bias == 0.0 else expit(logit(probabilities) + self.bias)
        found: Floats = self.mean + self.sigma * ndtri(plain)
        return found


def distribution(
    inputs: HourlyInputs, calibration: HourlyCalibration, now_ns: int
) -> HourlyDistribution:
    """Return the distribution of the index at the target; raises TargetPassedError."""
    minutes = seconds_to_target(now_ns, inputs.target_ns) / 60.0
    sigma = max(sigma_at(calibration, minutes), calibration.residual_floor_points)
    if inputs.event_day:
        sigma *= calibration.kappa_event
    drift = calibration.drift_points[min(round(minutes), len(calibration.drift_points) - 1)]
    level = inputs.level_e4 / LEVEL_ONE_E4
    return HourlyDistribution(level + drift, sigma, calibration.pit_bias)


def sigma_at(calibration: HourlyCalibration, minutes: float) -> float:
    """Return σ in points; between whole minutes, and past the last one, variance goes linearly."""
    table = calibration.sigma_points
    last = len(table) - 1
    if minutes >= last:
        return table[last] * sqrt(minutes / last)
    whole = int(minutes)
    share = minutes - whole
    return sqrt((1.0 - share) * table[whole] ** 2 + share * table[whole + 1] ** 2)


def fit(
    history: Sequence[MinuteSeries],
    *,
    family: str,
    symbol: str,
    fitted_ns: int,
    minutes_max: int = 20,
    kappa_event: float = 1.0,
) -> HourlyCalibration:
    """Return the calibration: RMS of all moves over m minutes within each series.

    Moves overlap and end at any minute, so a table from few days is thin: `samples` says how
    thin. σ never falls with the horizon. Raises ValueError when a horizon has no move.
    """
    if not history:
        raise ValueError("fit: expected at least one series of minutes, got none")
    sigma, samples = [0.0], [0]
    for minutes in range(1, minutes_max + 1):
        moves = np.concatenate([_moves(series, minutes) for series in history])
        if moves.size == 0:
            raise ValueError(f"fit: expected moves over {minutes} minutes, got none")
        rms = float(np.sqrt(np.mean(moves**2)))
        sigma.append(max(rms, sigma[-1]))
        samples.append(int(moves.size))
    days = sorted(
        {eastern_date(int(at)).isoformat() for series in history for at in series.known_ns}
    )
    return sealed(
        HourlyCalibration(
            family=family,
            symbol=symbol,
            fitted_ns=fitted_ns,
            window_start=days[0],
            window_end=days[-1],
            window_days=tuple(days),
            samples=tuple(samples),
            sigma_points=tuple(round(value, 6) for value in sigma),
            drift_points=(0.0,) * len(sigma),
            residual_floor_points=round(sigma[1] * sqrt(FLOOR_HORIZON_S / 60), 6),
            kappa_event=kappa_event,
        )
    )


def _moves(series: MinuteSeries, minutes: int) -> Floats:
    spans_ns = series.known_ns[minutes:] - series.known_ns[:-minutes]
    moves = series.levels[minutes:] - series.levels[:-minutes]
    found: Floats = moves[spans_ns == minutes * NS_PER_MINUTE]
    return found
