"""Kelly for each quote alone: the whole count at which the event's expected log wealth is largest.

Most quotes are far from it: what the worst and the best wealth say decides. The others are solved.
"""

from collections.abc import Sequence
from operator import add

import numpy as np
from numpy.typing import NDArray

from services.risk.sizing.book import Way
from services.risk.sizing.outcomes import Atoms

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]

ROOT_STEPS = 40
WHOLE = 1e-6
"""A float count within this of the next whole one is that one."""
CLEAR = 1.0 + 1e-9
"""A gain that is larger than a loss by this factor is so whatever the rounding."""


def growth_counts(
    atoms: Atoms,
    masses: Sequence[float],
    wealth_e6: Sequence[float],
    ways: Sequence[Way],
    most_e2: Sequence[int],
) -> list[int]:
    """Return for each quote alone the count that maximises Σ q·log(w + x·g), up to its most.

    Wealth is positive where counts are within `most_e2`.
    """
    found = list(most_e2)
    least_e6, largest_e6 = min(wealth_e6), max(wealth_e6)
    missing, rungs = atoms.where_lost(masses, add), atoms.rungs
    unclear: list[int] = []
    for place, (way, count_e2) in enumerate(zip(ways, most_e2, strict=True)):
        if count_e2 <= 0:
            continue
        # The slope is Σ q·g/(w + x·g): at least as large as if wins met the largest wealth and
        # losses the least. A quote wins where one on the other side of its rung loses.
        left_e6 = least_e6 - count_e2 * way.cost_e4
        wins = missing[way.column - rungs] * way.gain_e4 * left_e6
        losses = missing[way.column] * way.cost_e4 * (largest_e6 + count_e2 * way.gain_e4)
        if not (left_e6 > 0.0 and wins > CLEAR * losses):
            unclear.append(place)
    if unclear:
        payoffs = payoffs_of(atoms, [ways[place] for place in unclear])
        most = np.array([most_e2[place] for place in unclear], dtype=np.int64)
        counts = largest_growth(np.array(masses), np.array(wealth_e6), payoffs, most)
        for place, count_e2 in zip(unclear, counts.tolist(), strict=True):
            found[place] = count_e2
    return found


def payoffs_of(atoms: Atoms, ways: Sequence[Way]) -> Floats:
    """Return what 0.01 contract of each quote brings by outcome, shape (atoms, quotes)."""
    loses = atoms.loses.take([way.column for way in ways], 1)
    costs = np.array([way.cost_e4 for way in ways], dtype=np.float64)
    gains = np.array([way.gain_e4 for way in ways], dtype=np.float64)
    found: Floats = np.where(loses, -costs, gains)
    return found


def largest_growth(masses: Floats, wealth: Floats, payoffs: Floats, most: Counts) -> Counts:
    """Return the counts of `growth_counts` by Newton's steps within a shrinking bracket."""
    found = most.copy()
    slope = _growth_slope(masses, wealth, payoffs, most.astype(np.float64))
    places = np.flatnonzero((slope < 0.0) & (most > 0))
    if not len(places):
        return found
    gains = payoffs[:, places]
    low, high = np.zeros(len(places)), most[places].astype(np.float64)
    at = low.copy()
    for _ in range(ROOT_STEPS):
        inverse = gains / (wealth[:, None] + at * gains)
        slope, bend = masses @ inverse, masses @ (inverse * inverse)
        step = slope / bend
        if float(np.abs(step).max()) < WHOLE / 100:
            break
        low, high = np.where(slope >= 0.0, at, low), np.where(slope < 0.0, at, high)
        fresh = at + step
        inside = (fresh > low) & (fresh < high)
        at = np.where(inside | (np.abs(step) < WHOLE / 100), fresh, (low + high) / 2.0)
    found[places] = (np.maximum(at, 0.0) + WHOLE).astype(np.int64)
    return np.minimum(found, most)


def _growth_slope(masses: Floats, wealth: Floats, payoffs: Floats, counts: Floats) -> Floats:
    slope: Floats = masses @ (payoffs / (wealth[:, None] + counts * payoffs))
    return slope
