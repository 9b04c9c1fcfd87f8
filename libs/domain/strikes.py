"""Strikes and ladders: what each rung pays, and the probability a distribution gives to it.

A rung's payoff is decided by its strike type alone (domain.md §0). A reported value lies on the
family's reporting grid (0.01 index point, 0.1 % CPI), so "above 7869.9999" is "7870.00 or above".
"""

from collections.abc import Callable, Iterable
from enum import StrEnum
from itertools import pairwise

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from libs.domain.families import LadderKind, family_of_series
from libs.domain.money import LEVEL_MAX_E4, LEVEL_ONE_E4, format_level

LADDER_RUNGS_MAX = 1_000

Floats = NDArray[np.float64]
Cdf = Callable[[Floats], Floats]


class StrikeError(ValueError):
    """A rung or a ladder that cannot be what the exchange lists."""


class StrikeType(StrEnum):
    """The exchange's words for a strike (kalshi-api.md §4); we price the first five."""

    GREATER = "greater"
    GREATER_OR_EQUAL = "greater_or_equal"
    LESS = "less"
    LESS_OR_EQUAL = "less_or_equal"
    BETWEEN = "between"
    FUNCTIONAL = "functional"
    CUSTOM = "custom"
    STRUCTURED = "structured"


_ABOVE = (StrikeType.GREATER, StrikeType.GREATER_OR_EQUAL)
_BELOW = (StrikeType.LESS, StrikeType.LESS_OR_EQUAL)


class Rung(Struct, frozen=True):
    """One market of a ladder: strike type with its floor and cap in `level_e4`."""

    ticker: str
    strike_type: StrikeType
    floor_e4: int | None = None
    cap_e4: int | None = None

    def __post_init__(self) -> None:
        needs_floor = self.strike_type in _ABOVE or self.strike_type is StrikeType.BETWEEN
        needs_cap = self.strike_type in _BELOW or self.strike_type is StrikeType.BETWEEN
        if not (needs_floor or needs_cap):
            raise StrikeError(
                f"rung {self.ticker!r}: expected a threshold or a range,"
                f" got strike type {self.strike_type.value!r}"
            )
        if (self.floor_e4 is None) == needs_floor or (self.cap_e4 is None) == needs_cap:
            raise StrikeError(
                f"rung {self.ticker!r}: {self.strike_type.value!r} does not go with"
                f" floor {self.floor_e4} and cap {self.cap_e4}"
            )
        for bound_e4 in (self.floor_e4, self.cap_e4):
            if bound_e4 is not None and not -LEVEL_MAX_E4 < bound_e4 < LEVEL_MAX_E4:
                raise StrikeError(f"rung {self.ticker!r}: strike {bound_e4} is out of range")
        if self.floor_e4 is not None and self.cap_e4 is not None and self.floor_e4 > self.cap_e4:
            raise StrikeError(f"rung {self.ticker!r}: floor {self.floor_e4} above {self.cap_e4}")

    def settles_yes(self, level_e4: int) -> bool:
        """Return whether the rung pays when this value is reported."""
        if self.floor_e4 is not None and (
            level_e4 < self.floor_e4
            or (level_e4 == self.floor_e4 and self.strike_type is StrikeType.GREATER)
        ):
            return False
        return self.cap_e4 is None or (
            level_e4 < self.cap_e4
            or (level_e4 == self.cap_e4 and self.strike_type is not StrikeType.LESS)
        )

    def lowest_e4(self, grid_e4: int) -> int | None:
        """Return the lowest reported value that pays; None when there is no lower end."""
        if self.floor_e4 is None:
            return None
        if self.strike_type is StrikeType.GREATER:
            return (self.floor_e4 // grid_e4 + 1) * grid_e4
        return -(-self.floor_e4 // grid_e4) * grid_e4

    def highest_e4(self, grid_e4: int) -> int | None:
        """Return the highest reported value that pays; None when there is no upper end."""
        if self.cap_e4 is None:
            return None
        if self.strike_type is StrikeType.LESS:
            return (-(-self.cap_e4 // grid_e4) - 1) * grid_e4
        return self.cap_e4 // grid_e4 * grid_e4

    def label(self) -> str:
        """Return the payoff in signs, for people: "> 7869.9999", "7225 to 7249.99"."""
        floor = "" if self.floor_e4 is None else format_level(self.floor_e4)
        cap = "" if self.cap_e4 is None else format_level(self.cap_e4)
        signs = {"greater": ">", "greater_or_equal": "≥", "less": "<", "less_or_equal": "≤"}
        sign = signs.get(self.strike_type.value)
        return f"{floor} to {cap}" if sign is None else f"{sign} {floor or cap}"


def _place(rung: Rung) -> tuple[int, int, str]:
    floor_e4 = -LEVEL_MAX_E4 if rung.floor_e4 is None else rung.floor_e4
    cap_e4 = LEVEL_MAX_E4 if rung.cap_e4 is None else rung.cap_e4
    return (floor_e4, cap_e4, rung.ticker)


def order_rungs(rungs: Iterable[Rung]) -> tuple[Rung, ...]:
    """Return rungs from the lowest to the highest: by floor, then by cap."""
    return tuple(sorted(rungs, key=_place))


class Ladder(Struct, frozen=True):
    """All rungs of one event, from the lowest to the highest, and the time of its target."""

    event_ticker: str
    series_ticker: str
    target_ns: int
    rungs: tuple[Rung, ...]
    kind: LadderKind

    def __post_init__(self) -> None:
        where = f"ladder {self.event_ticker!r}"
        if not 1 <= len(self.rungs) <= LADDER_RUNGS_MAX:
            raise StrikeError(f"{where}: expected 1 to {LADDER_RUNGS_MAX} rungs")
        if len({rung.ticker for rung in self.rungs}) != len(self.rungs):
            raise StrikeError(f"{where}: two rungs have one ticker")
        if len({_place(rung)[:2] for rung in self.rungs}) != len(self.rungs):
            raise StrikeError(f"{where}: two rungs have one strike")
        if order_rungs(self.rungs) != self.rungs:
            raise StrikeError(f"{where}: rungs out of order; use order_rungs")
        if self.kind is LadderKind.NESTED:
            for rung in self.rungs:
                if rung.strike_type not in _ABOVE:
                    raise StrikeError(f"{where}: nested, but {rung.ticker!r} is no threshold")
        elif not _side_by_side(self.rungs):
            raise StrikeError(f"{where}: a partition, but its ranges overlap")

    @property
    def grid_e4(self) -> int:
        """Return the reporting grid of the family; raise UnknownFamilyError."""
        return family_of_series(self.series_ticker).grid_e4

    def edges(self, *, continuity_correction: bool = True) -> "RungEdges":
        """Return the ladder's edges for pricing; build once per ladder and keep."""
        return rung_edges(self.rungs, self.grid_e4, continuity_correction=continuity_correction)


def _side_by_side(rungs: tuple[Rung, ...]) -> bool:
    # On the finest grid there is (0.0001), as the exchange's own ranges must not overlap on it.
    ends = [(rung.lowest_e4(1), rung.highest_e4(1)) for rung in rungs]
    return all(
        below is not None and above is not None and below < above
        for (_, below), (above, _) in pairwise(ends)
    )


def partition_gaps(rungs: tuple[Rung, ...], grid_e4: int) -> int:
    """Return how many neighbours of an ordered partition leave reported values uncovered.

    An open end that no rung covers counts as one, so 0 means: exactly one rung will pay.
    """
    ends = [(rung.lowest_e4(grid_e4), rung.highest_e4(grid_e4)) for rung in rungs]
    open_ends = (ends[0][0] is not None) + (ends[-1][1] is not None)
    holes = sum(
        below is None or above is None or above != below + grid_e4
        for (_, below), (above, _) in pairwise(ends)
    )
    return open_ends + holes


class RungEdges(Struct, frozen=True, eq=False):
    """The distinct levels where rungs begin and end, and which two belong to each rung.

    `levels` is ascending, shape (edges,), in natural units. `lower` and `upper`, shape (rungs,),
    index the cdf at the levels padded with 0 before and 1 after. Equal edges share one cdf
    value, so the prices of one event are coherent by construction (domain.md §2).
    """

    levels: Floats
    lower: NDArray[np.intp]
    upper: NDArray[np.intp]

    def probabilities(self, cdf_at: Cdf) -> Floats:
        """Return each rung's probability of paying, shape (rungs,), in ladder order.

        `cdf_at` takes `levels` and returns P(X <= level) of the same shape. Raises StrikeError
        if that is no cdf: not finite, outside 0 to 1, or falling.
        """
        padded = np.empty(len(self.levels) + 2)
        padded[0], padded[-1] = 0.0, 1.0
        padded[1:-1] = cdf_at(self.levels)
        if not np.logical_and.reduce(padded[1:] >= padded[:-1]):  # also false for NaN
            raise StrikeError("cdf: expected finite rising values from 0 to 1")
        found: Floats = padded[self.upper] - padded[self.lower]
        return found


def rung_edges(
    rungs: tuple[Rung, ...], grid_e4: int, *, continuity_correction: bool = True
) -> RungEdges:
    """Return the edges of rungs on a reporting grid.

    With the correction an edge lies half a grid step below the lowest value that pays, since
    the report is a rounding of a continuous value. Without it the edge is that value itself.
    """
    if grid_e4 <= 0:
        raise StrikeError(f"grid_e4: expected a positive step, got {grid_e4}")
    ends = [(rung.lowest_e4(grid_e4), rung.highest_e4(grid_e4)) for rung in rungs]
    for rung, (lowest_e4, highest_e4) in zip(rungs, ends, strict=True):
        if lowest_e4 is not None and highest_e4 is not None and lowest_e4 > highest_e4:
            raise StrikeError(f"rung {rung.ticker!r} holds no value on the grid of {grid_e4}")
    lower_e4 = [lowest for lowest, _ in ends]
    upper_e4 = [None if highest is None else highest + grid_e4 for _, highest in ends]
    levels_e4 = sorted({level for level in (*lower_e4, *upper_e4) if level is not None})
    place = {level: index + 1 for index, level in enumerate(levels_e4)}
    shift_e4 = grid_e4 / 2 if continuity_correction else 0.0
    levels = (np.array(levels_e4, dtype=np.float64) - shift_e4) / LEVEL_ONE_E4
    last = len(levels_e4) + 1
    return RungEdges(
        levels=levels,
        lower=np.array([0 if level is None else place[level] for level in lower_e4], np.intp),
        upper=np.array([last if level is None else place[level] for level in upper_e4], np.intp),
    )


def probabilities(cdf_at: Cdf, rungs: tuple[Rung, ...], grid_e4: int) -> Floats:
    """Return the probability of each rung; on a hot path keep `rung_edges` and use that."""
    return rung_edges(rungs, grid_e4).probabilities(cdf_at)
