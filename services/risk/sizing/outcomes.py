"""The outcomes of one event: which rungs each of them pays, and how likely each is.

Rungs of an event share one value, so what can happen is a row of atoms: the intervals between
nested thresholds, or the ranges of a partition and "none of them".
"""

from collections.abc import Mapping

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from libs.common.messages import LadderDefined
from libs.domain.families import LadderKind
from libs.domain.money import format_level

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Integers = NDArray[np.int64]

MASS_TOLERANCE = 1e-9
"""Probabilities that miss coherence by less are rounded floats."""
ABOVE = frozenset({"greater", "greater_or_equal"})


class NoOutcomes(ValueError):
    """No pmf can be made of what came; the text says why."""


class Atoms(Struct, frozen=True, eq=False):
    """What can happen to one ladder, lowest value first.

    `pays`, shape (atoms, rungs), says which rungs pay, `paying` the same as 1 and 0; `strikes`
    are the rungs' levels as text. `low` and `high` are the atoms that may lie outermost.
    """

    ladder_id: str
    kind: LadderKind
    rung_of: dict[str, int]
    strikes: tuple[str, ...]
    pays: Flags
    paying: Integers
    low: tuple[int, ...]
    high: tuple[int, ...]


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
    levels = zip(definition.floors_e4, definition.caps_e4, strict=True)
    return Atoms(
        ladder_id=definition.ladder_id,
        kind=LadderKind(definition.kind),
        rung_of={ticker: rung for rung, ticker in enumerate(definition.tickers)},
        strikes=tuple(_strike(floor_e4, cap_e4) for floor_e4, cap_e4 in levels),
        pays=pays,
        paying=pays.astype(np.int64),
        low=low,
        high=high,
    )


def _strike(floor_e4: int | None, cap_e4: int | None) -> str:
    level_e4 = cap_e4 if floor_e4 is None else floor_e4
    return "" if level_e4 is None else format_level(level_e4)


def masses_of(atoms: Atoms, probabilities: Floats, quoted: Mapping[int, float]) -> Floats:
    """Return the probability of each atom, shape (atoms,), summing to 1.

    `probabilities` are the fair ladder's per rung. `quoted` gives rungs the probability of their
    quote: the mass between them is scaled to agree, which is the least change that does.
    Raises NoOutcomes when either contradicts itself.
    """
    rungs = atoms.pays.shape[1]
    if probabilities.shape != (rungs,) or not np.isfinite(probabilities).all():
        raise NoOutcomes(f"expected {rungs} probabilities, got {probabilities.shape}")
    if atoms.kind is LadderKind.NESTED:
        return _nested(probabilities, quoted)
    return _partition(probabilities, quoted)


def _coherent(masses: Floats, what: str) -> Floats:
    if masses.min() < -MASS_TOLERANCE:
        raise NoOutcomes(f"{what} contradict themselves by {-masses.min():.3g}")
    kept = np.maximum(masses, 0.0)
    found: Floats = kept / kept.sum()
    return found


def _between(survival: Floats) -> Floats:
    """Return the mass below, between and above thresholds."""
    masses = np.empty(len(survival) + 1)
    masses[0], masses[1:-1], masses[-1] = 1.0 - survival[0], survival[:-1], survival[-1]
    masses[1:-1] -= survival[1:]
    return masses


def _nested(survival: Floats, quoted: Mapping[int, float]) -> Floats:
    masses = _coherent(_between(survival), "fair probabilities")
    if not quoted:
        return masses
    places = sorted(quoted)
    wanted = _coherent(_between(np.array([quoted[rung] for rung in places])), "quotes")
    if len(places) == len(survival):
        return wanted
    rungs = np.array(places, dtype=np.intp)
    bounds = np.empty(len(rungs) + 2, dtype=np.intp)
    bounds[0], bounds[1:-1], bounds[-1] = 0, rungs + 1, len(masses)
    starts, sizes = bounds[:-1], bounds[1:] - bounds[:-1]
    present = np.add.reduceat(masses, starts)
    # Where the fair ladder sees nothing and the quotes do, the mass is spread evenly.
    seen = present > MASS_TOLERANCE
    scale = np.where(seen, wanted / np.maximum(present, MASS_TOLERANCE), 0.0)
    even = np.where(seen, 0.0, wanted / sizes)
    found: Floats = masses * np.repeat(scale, sizes) + np.repeat(even, sizes)
    return found


def _partition(probabilities: Floats, quoted: Mapping[int, float]) -> Floats:
    none = 1.0 - float(probabilities.sum())
    masses = _coherent(np.append(probabilities, none), "fair probabilities")
    if not quoted:
        return masses
    rungs = np.array(sorted(quoted), dtype=np.intp)
    wanted = np.array([quoted[rung] for rung in rungs.tolist()])
    rest = 1.0 - float(wanted.sum())
    if rest < -MASS_TOLERANCE or float(wanted.min()) < 0.0:
        raise NoOutcomes(f"quoted probabilities add up to {float(wanted.sum()):.6g}")
    others = np.ones(len(masses), dtype=np.bool_)
    others[rungs] = False
    present = float(masses[others].sum())
    found: Floats = np.empty_like(masses)
    found[rungs] = wanted
    if present > MASS_TOLERANCE:
        found[others] = masses[others] * (max(0.0, rest) / present)
    else:
        found[others] = max(0.0, rest) / int(others.sum())
    found /= found.sum()
    return found
