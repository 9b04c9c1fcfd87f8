"""The session's clock: bins of the time of day and how much of each a span of time covers.

A short session (13:00 close) has the same first minutes and the same last half-hour.
"""

from bisect import bisect_right

import numpy as np
from numpy.typing import NDArray

from libs.domain.macro_days import MacroEvent

Floats = NDArray[np.float64]

FULL_MINUTES = 390.0
LAST_MINUTES = 30.0
"""The part of a short session that goes by the time to its close."""
FOMC_MINUTE = 270.0
"""14:00 New York time, in minutes after the open."""

BINS: tuple[float, ...] = (0, 15, 30, 60, 90, 150, 210, 270, 330, 360, 375, 385)
"""Minutes after the open at which the bins of a full session begin."""
BIN_ENDS: tuple[float, ...] = (*BINS[1:], FULL_MINUTES)
USUAL_VARIANCE: tuple[float, ...] = (5.0, 3.0, 2.2, 1.5, 1.0, 0.8, 0.8, 1.0, 1.3, 1.6, 2.0, 2.0)
"""The usual U of a session's variance; where a fit starts, and stays without data."""


def overlaps(from_minute: Floats, to_minute: Floats, length: Floats) -> Floats:
    """Return the minutes of each span in each bin, shape (n, bins).

    `length` is the session's, in minutes, shape (n,).
    """
    turn = length - LAST_MINUTES
    shift = FULL_MINUTES - length
    early = _covered(np.minimum(from_minute, turn), np.minimum(to_minute, turn))
    late = _covered(
        np.maximum(from_minute, turn) + shift,
        np.maximum(to_minute, turn) + shift,
    )
    return early + late


def _covered(begin: Floats, end: Floats) -> Floats:
    low, high = np.array(BINS), np.array(BIN_ENDS)
    found: Floats = np.clip(
        np.minimum(end[:, None], high) - np.maximum(begin[:, None], low), 0.0, None
    )
    return found


def event_factors(
    events: frozenset[MacroEvent], kappa_cpi: float, kappa_fomc: float
) -> tuple[float, float]:
    """Return what multiplies the variance before 14:00 and from 14:00 on."""
    day = kappa_cpi**2 if MacroEvent.CPI in events else 1.0
    late = kappa_fomc**2 if MacroEvent.FOMC in events else 1.0
    return day, day * late


def spread(rates: tuple[float, ...], begin: float, end: float, factor: float) -> float:
    """Return ∫ of the rates by bin over minutes of a full session, times `factor` from 14:00 on.

    Before the open goes by the first bin's rate.
    """
    if end <= begin:
        return 0.0
    total = 0.0
    place = max(bisect_right(BINS, begin) - 1, 0)
    while begin < end and place < len(BINS):
        stop = min(end, BIN_ENDS[place])
        share = (stop - begin) * rates[place]
        total += share * factor if BINS[place] >= FOMC_MINUTE else share
        begin = stop
        place += 1
    return total


def variance_between(
    rates: tuple[float, ...],
    begin: float,
    end: float,
    length: float,
    factors: tuple[float, float] = (1.0, 1.0),
) -> float:
    """Return the variance of the log level from one minute after the open to another."""
    day, late = factors
    ratio = late / day
    if length == FULL_MINUTES:
        return day * spread(rates, begin, end, ratio)
    turn, shift = length - LAST_MINUTES, FULL_MINUTES - length
    found = spread(rates, min(begin, turn), min(end, turn), ratio)
    found += spread(rates, max(begin, turn) + shift, max(end, turn) + shift, 1.0)
    return day * found
