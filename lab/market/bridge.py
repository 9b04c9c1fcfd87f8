"""Fill minute bars with one print per second that meets each bar's O, H, L and C exactly."""

import numpy as np
from numpy.typing import NDArray

from lab.market.seeds import generator

SECONDS = 60
CENT_E4 = 100
# The expected range of a driftless Brownian path over one unit of time is sqrt(8/pi) sigma.
RANGE_PER_SIGMA = 1.596


def bridge_minute(
    open_e4: int, high_e4: int, low_e4: int, close_e4: int, *seed_parts: str | int
) -> NDArray[np.int64]:
    """Return 60 prints, one a second: first == open, last == close, max == high, min == low.

    Between these anchors runs a Brownian bridge folded back into [low, high], on the 0.01 grid
    where the bar's own levels allow it.
    """
    assert low_e4 <= min(open_e4, close_e4), f"low {low_e4} above open or close"
    assert high_e4 >= max(open_e4, close_e4), f"high {high_e4} below open or close"
    if high_e4 == low_e4:
        return np.full(SECONDS, open_e4, dtype=np.int64)
    rng = generator("bridge", *seed_parts)
    anchors = _anchors(open_e4, high_e4, low_e4, close_e4, rng)
    noise = rng.standard_normal(SECONDS) * (high_e4 - low_e4) / RANGE_PER_SIGMA / SECONDS**0.5
    walk = np.cumsum(noise)
    seconds = np.arange(SECONDS, dtype=np.float64)
    at = np.array(sorted(anchors), dtype=np.int64)
    levels = np.array([anchors[int(second)] for second in at], dtype=np.float64)
    raw = walk + np.interp(seconds, at.astype(np.float64), levels - walk[at])
    prints = _fold(raw, low_e4, high_e4)
    prints[at] = levels.astype(np.int64)
    return prints


def _anchors(
    open_e4: int, high_e4: int, low_e4: int, close_e4: int, rng: np.random.Generator
) -> dict[int, int]:
    """Return second of the minute -> level for open, close and, at free seconds, high and low."""
    anchors = {0: open_e4, SECONDS - 1: close_e4}
    first, second = sorted(int(at) for at in rng.choice(SECONDS - 2, 2, replace=False) + 1)
    # A rising minute more often makes its low first (and the other way round).
    rising = close_e4 >= open_e4
    low_first = bool(rng.random() < (0.7 if rising else 0.3))
    low_at, high_at = (first, second) if low_first else (second, first)
    if low_e4 < min(open_e4, close_e4):
        anchors[low_at] = low_e4
    if high_e4 > max(open_e4, close_e4):
        anchors[high_at] = high_e4
    return anchors


def _fold(raw: NDArray[np.float64], low_e4: int, high_e4: int) -> NDArray[np.int64]:
    """Reflect levels at both borders into [low, high], then round them to the 0.01 grid."""
    width = float(high_e4 - low_e4)
    phase = np.mod(raw - low_e4, 2.0 * width)
    folded = low_e4 + np.where(phase > width, 2.0 * width - phase, phase)
    on_grid = np.rint(folded / CENT_E4).astype(np.int64) * CENT_E4
    return np.clip(on_grid, low_e4, high_e4)
