"""The runbook's index model: X_T = S + drift(m) + σ(m)·Z (domain.md §2, a baseline).

Kept of it: σ per whole minute to the target, tables for hourly targets and for the close, a
residual floor, an event multiplier and the PIT bias correction. Where it was wrong we are not: κ
multiplies σ (not σ²), the floor comes from the same moves as σ, drift is fitted as zero, and a
target in the past is an error. So it is a harder rival than the runbook's own figures.
"""

import math
from collections.abc import Sequence
from itertools import takewhile
from math import sqrt

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray
from scipy.special import expit, logit, ndtr, ndtri

from libs.domain.distributions import Normal, Scored
from libs.domain.distributions import crps as integral_crps
from libs.domain.eastern import NS_PER_MINUTE
from libs.domain.money import LEVEL_ONE_E4
from libs.domain.windows import seconds_to_target
from services.pricer.calibration import Calibration, Runbook, SigmaTable
from services.pricer.models.contract import IndexInputs
from services.pricer.models.history import (
    FitError,
    History,
    SymbolHistory,
    artifact,
    sessions_of,
)

NAME = "runbook"
FLOOR_HORIZON_S = 2
"""The residual floor is the move within the cancel buffer: no quote rests closer to the target."""
TABLE_MINUTES = 20
KAPPA = 1.65
"""The event multiplier of the runbook's own fit; a handful of days is too few to fit one."""

Floats = NDArray[np.float64]


class BiasedNormal(Struct, frozen=True):
    """A normal distribution in index points with the bias correction on survival.

    The correction S' = sigmoid(logit S + bias) is monotone, so every rung of an event is still
    priced from one distribution.
    """

    mean: float
    sigma: float
    bias: float

    def cdf(self, levels: Floats) -> Floats:
        """Return P(X <= level), the shape of `levels`."""
        corrected: Floats = expit(logit(ndtr((levels - self.mean) / self.sigma)) - self.bias)
        return corrected

    def quantile(self, probabilities: Floats) -> Floats:
        """Return the levels with these cdf values, the inverse of `cdf`."""
        plain = expit(logit(probabilities) + self.bias)
        found: Floats = self.mean + self.sigma * ndtri(plain)
        return found

    def crps(self, outcome: float) -> float:
        """Return the CRPS by integration over ten standard deviations and the outcome."""
        reach = max(10.0 * self.sigma, 2.0 * abs(outcome - self.mean))
        levels = np.linspace(self.mean - reach, self.mean + reach, 4_001)
        middles = levels + reach / 4_000
        return integral_crps(levels, self.cdf(middles), outcome)

    def log_density(self, outcome: float) -> float:
        """Return log f(z) + log of the correction's slope at the outcome."""
        z = (outcome - self.mean) / self.sigma
        plain = float(ndtr(z))
        corrected = float(expit(logit(plain) - self.bias))
        slope = corrected * (1.0 - corrected) / (plain * (1.0 - plain))
        return Normal(self.mean, self.sigma).log_density(outcome) + math.log(slope)


def watch(calibration: Calibration, symbol: str) -> None:
    """Return nothing: the runbook's model learns nothing from today."""


def distribution(inputs: IndexInputs, calibration: Calibration, now_ns: int) -> Scored:
    """Return the distribution of the index at the target; raises TargetPassedError."""
    parameters = calibration.symbols[inputs.target.symbol]
    assert isinstance(parameters, Runbook), f"expected parameters of {NAME}"
    table = parameters.close if inputs.target.close else parameters.hourly
    minutes = seconds_to_target(now_ns, inputs.target.at_ns) / 60.0
    sigma = max(sigma_at(table, minutes), table.residual_floor_points)
    if inputs.target.day.events:
        sigma *= parameters.kappa_event
    drift = table.drift_points[min(round(minutes), len(table.drift_points) - 1)]
    mean = inputs.level_e4 / LEVEL_ONE_E4 + drift
    if parameters.pit_bias == 0.0:
        return Normal(mean, sigma)
    return BiasedNormal(mean, sigma, parameters.pit_bias)


def sigma_at(table: SigmaTable, minutes: float) -> float:
    """Return σ in points; between whole minutes, and past the last one, variance goes linearly."""
    sigmas = table.sigma_points
    last = len(sigmas) - 1
    if minutes >= last:
        return sigmas[last] * sqrt(minutes / last)
    whole = int(minutes)
    share = minutes - whole
    return sqrt((1.0 - share) * sigmas[whole] ** 2 + share * sigmas[whole + 1] ** 2)


def fit(history: History, fitted_ns: int, kappa_event: float = KAPPA) -> Calibration:
    """Return the RMS of moves by minutes: all there are for hourly targets, and into the close.

    Moves overlap, so a table from few days is thin: `samples` says how thin. σ never falls with
    the horizon. It needs minute bars: raises FitError without. Where none reach the close, its
    table is the hourly one.
    """
    symbols = {}
    missing = []
    for found in history.symbols:
        hourly = _table(found.symbol, _all_moves(found))
        try:
            close = _table(found.symbol, _moves_into_close(found))
        except FitError:
            close = hourly
            missing.append(f"{found.symbol}: moves into the close; its table is the hourly one")
        symbols[found.symbol] = Runbook(hourly=hourly, close=close, kappa_event=kappa_event)
    return artifact(history, symbols, fitted_ns, not_estimated=missing)


def _table(symbol: str, moves: Sequence[Floats]) -> SigmaTable:
    """Return the table of moves over 1, 2, … minutes, up to the first without any."""
    filled = list(takewhile(len, moves))
    if not filled:
        raise FitError(f"{symbol}: expected moves over a minute, got none")
    sigma, samples = [0.0], [0]
    for found in filled:
        sigma.append(max(float(np.sqrt(np.mean(found**2))), sigma[-1]))
        samples.append(int(found.size))
    if sigma[1] <= 0.0:
        raise FitError(f"{symbol}: expected levels that move, got none")
    return SigmaTable(
        samples=tuple(samples),
        sigma_points=tuple(round(value, 6) for value in sigma),
        drift_points=(0.0,) * len(sigma),
        residual_floor_points=round(sigma[1] * sqrt(FLOOR_HORIZON_S / 60), 6),
    )


def _all_moves(found: SymbolHistory) -> list[Floats]:
    """Return the moves over each number of minutes, gaps left out."""
    rows = []
    for minutes in range(1, TABLE_MINUTES + 1):
        spans_ns = found.minute_ns[minutes:] - found.minute_ns[:-minutes]
        change = found.minutes[minutes:] - found.minutes[:-minutes]
        rows.append(change[spans_ns == minutes * NS_PER_MINUTE])
    return rows


def _moves_into_close(found: SymbolHistory) -> list[Floats]:
    """Return the same for moves that end at a session's close."""
    sessions, _ = sessions_of(found.minute_ns)
    at = {int(time_ns): row for row, time_ns in enumerate(found.minute_ns)}
    closes = [session.close_ns for session in sessions if session.close_ns in at]
    rows = []
    for minutes in range(1, TABLE_MINUTES + 1):
        before = [close_ns - minutes * NS_PER_MINUTE for close_ns in closes]
        rows.append(
            np.array(
                [
                    found.minutes[at[close_ns]] - found.minutes[at[begin_ns]]
                    for close_ns, begin_ns in zip(closes, before, strict=True)
                    if begin_ns in at
                ]
            )
        )
    return rows
