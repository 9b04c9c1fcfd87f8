"""The outcomes of one event: which rungs each of them pays, and how likely each is.

Rungs of an event share one value, so what can happen is a row of atoms: the intervals between
nested thresholds, or the ranges of a partition and "none of them". Sums and worst cases over the
outcomes in which a quote loses are running ones, and an event has tens of atoms: plain lists.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import accumulate
from math import isfinite
from operator import sub
from typing import TypeVar

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from libs.common.messages import LadderDefined
from libs.domain.families import LadderKind
from libs.domain.money import format_level

Flags = NDArray[np.bool_]

MASS_TOLERANCE = 1e-9
"""Probabilities that miss coherence by less are rounded floats."""
ABOVE = frozenset({"greater", "greater_or_equal"})

Value = TypeVar("Value", bound=float)


class NoOutcomes(ValueError):
    """No pmf can be made of what came; the text says why."""


class Atoms(Struct, frozen=True, eq=False):
    """What can happen to one ladder, lowest value first: one atom more than there are rungs.

    `strikes` are the rungs' levels as text. `low` and `high` are the atoms that may lie outermost.
    A *column* stands for a side of a rung: bids on all rungs come first, then asks. `loses`, shape
    (atoms, columns), says where which loses, and `ends` for each in which of `low` and `high`.
    """

    ladder_id: str
    kind: LadderKind
    rung_of: dict[str, int]
    strikes: tuple[str, ...]
    low: tuple[int, ...]
    high: tuple[int, ...]
    loses: Flags
    ends: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...]

    @property
    def rungs(self) -> int:
        """Return how many rungs there are."""
        return len(self.strikes)

    def lost(self, amounts: Iterable[tuple[int, int]], always: int = 0) -> list[int]:
        """Return what amounts by column lose in each atom, beside what is lost in all of them."""
        rungs = self.rungs
        if_paid = [0] * rungs
        for column, amount in amounts:
            if column < rungs:
                always += amount
                if_paid[column] -= amount
            else:
                if_paid[column - rungs] += amount
        if self.kind is LadderKind.NESTED:
            return list(accumulate(if_paid, initial=always))
        return [always + amount for amount in if_paid] + [always]

    def where_lost(
        self, values: Sequence[Value], fold: Callable[[Value, Value], Value]
    ) -> list[Value]:
        """Fold the values of the atoms in which a quote loses, for each column."""
        up, down = list(accumulate(values, fold)), list(accumulate(reversed(values), fold))
        down.reverse()
        if self.kind is LadderKind.NESTED:
            return up[:-1] + down[1:]
        bids = [fold(below, above) for below, above in zip(up, down[2:], strict=False)]
        return [down[1], *bids, *values[:-1]]


def atoms_of(definition: LadderDefined) -> Atoms:
    """Return the atoms of a ladder; raises NoOutcomes when its kind or strikes are unknown."""
    rungs = len(definition.tickers)
    if rungs == 0:
        raise NoOutcomes("the ladder has no rungs")
    if definition.kind == LadderKind.NESTED:
        if set(definition.strike_types) - ABOVE:
            raise NoOutcomes(f"nested rungs of types {sorted(set(definition.strike_types))}")
        pays = np.tri(rungs + 1, rungs, -1, dtype=np.bool_)
        low: tuple[int, ...] = (0,)
        high: tuple[int, ...] = (rungs,)
    elif definition.kind == LadderKind.PARTITION:
        pays = np.eye(rungs + 1, rungs, dtype=np.bool_)
        low, high = (0, rungs), (rungs - 1, rungs)  # "none of them" lies at either end
    else:
        raise NoOutcomes(f"a ladder of kind {definition.kind!r}")
    loses = np.hstack([~pays, pays])
    ends = tuple(
        (tuple(atom for atom in low if lost[atom]), tuple(atom for atom in high if lost[atom]))
        for lost in loses.T.tolist()
    )
    levels = zip(definition.floors_e4, definition.caps_e4, strict=True)
    return Atoms(
        ladder_id=definition.ladder_id,
        kind=LadderKind(definition.kind),
        rung_of={ticker: rung for rung, ticker in enumerate(definition.tickers)},
        strikes=tuple(_strike(floor_e4, cap_e4) for floor_e4, cap_e4 in levels),
        low=low,
        high=high,
        loses=loses,
        ends=ends,
    )


def _strike(floor_e4: int | None, cap_e4: int | None) -> str:
    level_e4 = cap_e4 if floor_e4 is None else floor_e4
    return "" if level_e4 is None else format_level(level_e4)


def masses_of(atoms: Atoms, fair: Sequence[float]) -> list[float]:
    """Return the probability of each atom by the fair ladder's per rung, summing to 1.

    Raises NoOutcomes when they contradict themselves.
    """
    if len(fair) != atoms.rungs:
        raise NoOutcomes(f"expected {atoms.rungs} probabilities, got {len(fair)}")
    nested = atoms.kind is LadderKind.NESTED
    masses = _between(fair) if nested else [*fair, 1.0 - sum(fair)]
    return _coherent(masses, "fair probabilities")


def scaled_to(atoms: Atoms, masses: list[float], quoted: Mapping[int, float]) -> list[float]:
    """Return the probability of each atom so that quoted rungs have that of their quote.

    The mass between them is scaled to agree, which is the least change that does. Raises
    NoOutcomes when the quotes contradict themselves.
    """
    if not quoted:
        return masses
    places = sorted(quoted)
    wanted = [quoted[rung] for rung in places]
    if atoms.kind is LadderKind.NESTED:
        return _nested(masses, places, _coherent(_between(wanted), "quotes"))
    return _partition(masses, places, wanted)


def _coherent(masses: list[float], what: str) -> list[float]:
    least = min(masses)
    if not (least >= -MASS_TOLERANCE and isfinite(sum(masses))):
        raise NoOutcomes(f"{what} contradict themselves by {-least:.3g}")
    kept = [mass if mass > 0.0 else 0.0 for mass in masses] if least < 0.0 else masses
    total = sum(kept)
    return [mass / total for mass in kept]


def _between(survival: Sequence[float]) -> list[float]:
    """Return the mass below, between and above thresholds."""
    return list(map(sub, (1.0, *survival), (*survival, 0.0)))


def _nested(masses: list[float], places: Sequence[int], wanted: list[float]) -> list[float]:
    if len(places) + 1 == len(masses):
        return wanted
    found: list[float] = []
    ends = (*(rung + 1 for rung in places), len(masses))
    for end, mass in zip(ends, wanted, strict=True):
        part = masses[len(found) : end]
        present = sum(part)
        if present > MASS_TOLERANCE:
            scale = mass / present
            found += [one * scale for one in part]
        else:  # where the fair ladder sees nothing and the quotes do, the mass is spread evenly
            found += [mass / len(part)] * len(part)
    return found


def _partition(masses: list[float], places: Sequence[int], wanted: list[float]) -> list[float]:
    rest = 1.0 - sum(wanted)
    if not (rest >= -MASS_TOLERANCE and min(wanted) >= 0.0):
        raise NoOutcomes(f"quoted probabilities add up to {sum(wanted):.6g}")
    rest = max(0.0, rest)
    quoted = set(places)
    present = sum([mass for place, mass in enumerate(masses) if place not in quoted])
    if present > MASS_TOLERANCE:
        found = [mass * (rest / present) for mass in masses]
    else:
        found = [rest / (len(masses) - len(places))] * len(masses)
    for place, mass in zip(places, wanted, strict=True):
        found[place] = mass
    total = sum(found)
    return [mass / total for mass in found]
