"""Do bars and levels of one symbol speak of the same index, and of the same minutes? Pure.

Levels are either a bar's close (exactly, but for rounding) or the next bar's open (in real bars
0.13 bp beside it by the median, 3 bps at auctions), while an index moves 2 bps in a minute. So a
level that equals the close a minute away, and not the one at its own time, tells of shifted stamps.
"""

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from libs.domain.eastern import NS_PER_MINUTE
from services.pricer.models.history import sessions_of

Times = NDArray[np.int64]
Floats = NDArray[np.float64]

AGREE_SHARE = 1e-4
"""A level and the bar that ends at its time differ by less, unless one of them is doubtful."""
EXACT_SHARE = 2e-6
"""A level and a close that differ by less are one number, once written to the cent."""
MEDIAN_POINTS = 3
"""With fewer points there is no median to speak of, and only numbers that are equal count."""
FACTOR_MAX = 2.0
"""An index does not double or halve between two rows: units or symbols are mixed."""
BESIDE = {-1: "the bar before", 1: "the bar after"}


class Suspect(Struct, frozen=True):
    """Bars whose levels agree with the bar a minute aside: of one file and day, or of all."""

    file: int | None
    day: str | None
    aside: str
    points: int
    sure: bool


def off_scale(
    minute_ns: Times, closes: Floats, files: NDArray[np.int64], level_ns: Times, levels: Floats
) -> tuple[int, float, float] | None:
    """Return the first row past a step that no index makes: its file (−1: levels), before, found.

    Where a bar stands beside a level the bar's file is named.
    """
    times = np.concatenate([minute_ns, level_ns])
    values = np.concatenate([closes, levels])
    origin = np.concatenate([files, np.full(level_ns.size, -1, np.int64)])
    order = np.argsort(times, kind="stable")
    values, origin = values[order], origin[order]
    wild = np.flatnonzero(np.abs(np.diff(np.log(values))) > np.log(FACTOR_MAX))
    if not wild.size:
        return None
    at = int(wild[0])
    row, other = (at, at + 1) if origin[at + 1] < 0 else (at + 1, at)
    return int(origin[row]), float(values[other]), float(values[row])


def differing(minute_ns: Times, closes: Floats, level_ns: Times, levels: Floats) -> int:
    """Return how many levels differ from the bar that ends at their time."""
    _, at_bar, at_level = np.intersect1d(minute_ns, level_ns, return_indices=True)
    return int((np.abs(np.log(closes[at_bar] / levels[at_level])) > AGREE_SHARE).sum())


def shifted(
    minute_ns: Times, closes: Floats, files: NDArray[np.int64], level_ns: Times, levels: Floats
) -> list[Suspect]:
    """Return the files and days whose stamps are a minute off against the levels.

    Sure: the median says so, or more levels equal the close a minute aside than are nearer to
    their own. Not sure: some do, as where a file is shifted from some row on, or by coincidence.
    """
    both, at_bar, at_level = np.intersect1d(minute_ns, level_ns, return_indices=True)
    if not both.size:
        return []
    level, file = levels[at_level], files[at_bar]
    here = np.abs(np.log(closes[at_bar] / level))
    sessions, number = sessions_of(both)
    asides = {shift: _aside(minute_ns, closes, both, level, shift) for shift in BESIDE}
    # Where most levels equal some close, one that equals the wrong close is no coincidence.
    nearest = np.minimum(here, np.minimum(*asides.values()))
    exact = float(np.median(nearest)) <= EXACT_SHARE
    found: list[Suspect] = []
    for shift, what in BESIDE.items():
        aside = asides[shift]
        known = np.isfinite(aside)
        if _by_median(here[known], aside[known]):
            found.append(Suspect(None, None, what, int(known.sum()), sure=True))
        for at, day in sorted(set(zip(file[known].tolist(), number[known].tolist(), strict=True))):
            mine = known & (file == at) & (number == day)
            speak = _nearer(aside[mine], here[mine], EXACT_SHARE)
            against = _nearer(here[mine], aside[mine], AGREE_SHARE)
            by_median = _by_median(here[mine], aside[mine])
            if speak or by_median:
                name = sessions[day].day.isoformat()
                sure = by_median or (exact and speak > against)
                found.append(Suspect(at, name, what, speak or int(mine.sum()), sure))
    return found


def _aside(minute_ns: Times, closes: Floats, at_ns: Times, level: Floats, shift: int) -> Floats:
    """Return |log close/level| of the bar so many minutes aside, infinite without one."""
    beside = at_ns + shift * NS_PER_MINUTE
    place = np.minimum(np.searchsorted(minute_ns, beside), minute_ns.size - 1)
    apart = np.abs(np.log(closes[place] / level))
    return np.where(minute_ns[place] == beside, apart, np.inf)


def _by_median(here: Floats, aside: Floats) -> bool:
    if here.size < MEDIAN_POINTS:
        return False
    return float(np.median(here)) > 5.0 * float(np.median(aside)) + EXACT_SHARE


def _nearer(one: Floats, other: Floats, limit: float) -> int:
    """Return how many levels are within a limit of one close and far nearer to it."""
    return int(((one <= limit) & (other > 5.0 * one + EXACT_SHARE)).sum())
