"""The first baseline: a driftless Gaussian random walk, one volatility for every minute."""

from math import sqrt

import numpy as np

from libs.domain.distributions import Normal
from libs.domain.money import LEVEL_ONE_E4
from libs.domain.windows import seconds_to_target
from services.pricer.calibration import Calibration, RandomWalk
from services.pricer.models.contract import IndexInputs
from services.pricer.models.history import (
    FitError,
    History,
    artifact,
    level_moves,
    minute_moves,
)

NAME = "random-walk"


def fit(history: History, fitted_ns: int) -> Calibration:
    """Return σ of a minute: squared moves over the time in which they came, levels and minutes."""
    symbols = {}
    for found in history.symbols:
        minutes = minute_moves(found)
        levels = level_moves(found, minutes)
        squares = float((minutes.change**2).sum() + (levels.change**2).sum())
        time = float(
            sum((moves.to_minute - moves.from_minute).sum() for moves in (minutes, levels))
        )
        if squares <= 0.0:
            raise FitError(f"{found.symbol}: expected moves within sessions, got none")
        count = int(np.count_nonzero(minutes.change)) + int(np.count_nonzero(levels.change))
        symbols[found.symbol] = RandomWalk(minute_sigma=sqrt(squares / time), moves=count)
    return artifact(history, symbols, fitted_ns)


def watch(calibration: Calibration, symbol: str) -> None:
    """Return nothing: a random walk learns nothing from today."""


def distribution(inputs: IndexInputs, calibration: Calibration, now_ns: int) -> Normal:
    """Return the distribution of the index at the target; raises TargetPassedError."""
    parameters = calibration.symbols[inputs.target.symbol]
    assert isinstance(parameters, RandomWalk), f"expected parameters of {NAME}"
    minutes = seconds_to_target(now_ns, inputs.target.at_ns) / 60.0
    level = inputs.level_e4 / LEVEL_ONE_E4
    return Normal(level, level * parameters.minute_sigma * sqrt(minutes))
