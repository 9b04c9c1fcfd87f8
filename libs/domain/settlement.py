"""Settlement: the index level at a target by the on/before rule, and who is paid (domain.md §6)."""

from collections.abc import Iterable

from msgspec import Struct

from libs.domain.eastern import utc_text
from libs.domain.families import LadderKind
from libs.domain.strikes import Ladder

ON_BEFORE = "on_before"


class SettlementError(ValueError):
    """A settlement that cannot be worked out; nothing may be called realised."""


class Print(Struct, frozen=True):
    """One level and the time from which it was known: of a bar its end, not its start."""

    at_ns: int
    level_e4: int


class Fixing(Struct, frozen=True):
    """The level that settles a target; `fallback` is "on_before" when no print is at the target."""

    target_ns: int
    level_e4: int
    printed_ns: int
    fallback: str | None


def fix_on_or_before(
    prints: Iterable[Print], target_ns: int, age_max_ns: int | None = None
) -> Fixing:
    """Return the print at the target, else the newest before it; of equal times the last given.

    Give the finest data there is, in any order. Raises SettlementError when there is none, or
    none within `age_max_ns` of the target.
    """
    newest: Print | None = None
    for candidate in prints:
        if candidate.at_ns <= target_ns and (newest is None or candidate.at_ns >= newest.at_ns):
            newest = candidate
    if newest is None:
        raise SettlementError(f"fixing: no print at or before {utc_text(target_ns)}; get the data")
    if age_max_ns is not None and target_ns - newest.at_ns > age_max_ns:
        raise SettlementError(
            f"fixing: newest print before {utc_text(target_ns)} is of {utc_text(newest.at_ns)},"
            " too old; get finer data"
        )
    fallback = None if newest.at_ns == target_ns else ON_BEFORE
    return Fixing(target_ns, newest.level_e4, newest.at_ns, fallback)


def to_grid(level_e4: int, grid_e4: int) -> int:
    """Return a level rounded to its reporting grid, halves upwards as `rung_edges` has them."""
    return (2 * level_e4 + grid_e4) // (2 * grid_e4) * grid_e4


def settle_ladder(ladder: Ladder, level_e4: int) -> tuple[bool, ...]:
    """Return which rungs pay at a reported level, in ladder order, by strike type.

    The level is rounded to the family's grid first. Of a partition at most one pays.
    """
    reported_e4 = to_grid(level_e4, ladder.grid_e4)
    pays = tuple(rung.settles_yes(reported_e4) for rung in ladder.rungs)
    assert ladder.kind is LadderKind.NESTED or sum(pays) <= 1, "ranges side by side never overlap"
    return pays
