"""A seeded session of SPX and NDX, one print per second on the 0.01 grid.

Volatility follows the time of day and clusters, returns have heavy tails, the indices move
together, and the level lags its constituents by a few seconds, as a published index does.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lab.market.seeds import generator

CENT_E4 = 100


@dataclass(frozen=True)
class SyntheticIndex:
    """How one synthetic index moves; `minute_sigma` is its relative noon volatility a minute."""

    base_level_e4: int
    minute_sigma: float
    # Correlation of its per-second shocks with the common factor; SPX is the factor itself.
    loading: float


# SPX: 1.8 points a minute at 6,800, hence about 7 in a quarter of an hour; NDX moves 1.1 times
# as much, relative to its level. The loading is the correlation measured on real minutes.
INDICES = {
    "I:SPX": SyntheticIndex(68_000_000, 1.8 / 6_800, 1.0),
    "I:NDX": SyntheticIndex(250_000_000, 1.1 * 1.8 / 6_800, 0.93),
}

TAIL_DEGREES = 5.0
CLUSTER_LOG_SIGMA = 0.35
CLUSTER_MINUTES = 20.0
LAG_SECONDS = 2.0
LAG_KERNEL_SECONDS = 12
OVERNIGHT_SIGMA = 0.006


def intraday_profile(at_s: NDArray[np.float64], session_s: float) -> NDArray[np.float64]:
    """Return volatility by second of the session, relative to noon (1): high at both ends."""
    at_open = 1.3 * np.exp(-at_s / 1_200.0)
    at_close = 0.5 * np.exp(-(session_s - at_s) / 600.0)
    return np.asarray(1.0 + at_open + at_close, dtype=np.float64)


def expected_sigma_e4(
    level_e4: int, symbol: str, from_s: float, to_s: float, session_s: float
) -> float:
    """Return the standard deviation of the level's change over seconds of a session, in e4."""
    if to_s <= from_s:
        return 0.0
    # Outside of the session the model knows nothing better than its nearest end.
    grid = np.clip(np.linspace(from_s, to_s, 17), 0.0, session_s)
    mean_square = float(np.mean(intraday_profile(grid, session_s) ** 2))
    minute_sigma = INDICES[symbol].minute_sigma
    return level_e4 * minute_sigma * math.sqrt(mean_square * (to_s - from_s) / 60.0)


def synthetic_session(
    seed: int, symbol: str, session_date: str, session_s: int, base_level_e4: int | None = None
) -> NDArray[np.int64]:
    """Return `session_s + 1` prints in level_e4, one a second from the open to the close.

    Raises KeyError for a symbol that has no synthetic model (see `INDICES`).
    """
    index = INDICES[symbol]
    scale = _cluster(generator(seed, session_date, "cluster"), session_s)
    seconds = np.arange(session_s, dtype=np.float64)
    scale = scale * intraday_profile(seconds, float(session_s))
    shocks = index.loading * _shocks(generator(seed, session_date, "factor"), session_s)
    if index.loading < 1.0:
        own = _shocks(generator(seed, session_date, symbol), session_s)
        shocks = shocks + math.sqrt(1.0 - index.loading**2) * own
    returns = _lag(shocks * scale) * index.minute_sigma / math.sqrt(60.0)
    gap = OVERNIGHT_SIGMA * float(generator(seed, session_date, "gap").standard_normal())
    log_level = np.concatenate(([0.0], np.cumsum(returns))) + gap
    level_e4 = (base_level_e4 or index.base_level_e4) * np.exp(log_level)
    return np.rint(level_e4 / CENT_E4).astype(np.int64) * CENT_E4


def _shocks(rng: np.random.Generator, count: int) -> NDArray[np.float64]:
    """Draw heavy-tailed shocks of unit variance."""
    unit = math.sqrt((TAIL_DEGREES - 2.0) / TAIL_DEGREES)
    return np.asarray(rng.standard_t(TAIL_DEGREES, count) * unit, dtype=np.float64)


def _cluster(rng: np.random.Generator, session_s: int) -> NDArray[np.float64]:
    """Draw a slow volatility factor per second, of mean square 1 (AR(1) in logs by minute)."""
    minutes = session_s // 60 + 2
    keep = math.exp(-1.0 / CLUSTER_MINUTES)
    draws = rng.standard_normal(minutes)
    log_factor = np.empty(minutes)
    log_factor[0] = draws[0]
    for minute in range(1, minutes):
        log_factor[minute] = keep * log_factor[minute - 1] + math.sqrt(1 - keep**2) * draws[minute]
    at_minute = np.arange(session_s, dtype=np.float64) / 60.0
    smooth = np.interp(at_minute, np.arange(minutes, dtype=np.float64), log_factor)
    return np.exp(CLUSTER_LOG_SIGMA * smooth - CLUSTER_LOG_SIGMA**2)


def _lag(returns: NDArray[np.float64]) -> NDArray[np.float64]:
    """Spread each second's return over the next few, as constituents reprice one by one."""
    kernel = np.exp(-np.arange(LAG_KERNEL_SECONDS) / LAG_SECONDS)
    return np.convolve(returns, kernel / kernel.sum())[: returns.size]
