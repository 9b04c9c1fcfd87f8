"""Size the quotes of one event together: the program's arrays, whole lots, the integer check."""

from collections.abc import Sequence
from operator import add, le, truediv

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from libs.domain.money import PRICE_ONE_E4
from services.risk.sizing.field import Field, kelly_wealth_e6
from services.risk.sizing.growth import payoffs_of
from services.risk.sizing.policy import SizingPolicy
from services.risk.sizing.portfolio import Room
from services.risk.sizing.program import Unsolved, solve

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]

LOT_TOLERANCE = 1e-4
"""A float share of a lot this near the next whole one is that one."""
ROW_TOLERANCE = 1e-9


class Joint(Struct, frozen=True, eq=False):
    """The counts of the chosen quotes and the certificate; `why` says why there is none."""

    counts_e2: list[int]
    gap: float | None
    why: str = ""


class _Limits:
    """What the event may lose in each outcome and how uncertain it may be, and what is taken."""

    def __init__(
        self,
        field: Field,
        chosen: Sequence[int],
        room: Room,
        policy: SizingPolicy,
        multiplier: float,
    ) -> None:
        self.field = field
        self.ways = [field.ways[place] for place in chosen]
        self.deviations = [field.deviations[place] for place in chosen]
        self.wealth_e6 = kelly_wealth_e6(policy.kelly, multiplier)
        most_e6 = min(int(policy.kelly.fraction_max * self.wealth_e6), room.tightest_e6())
        # A gain that is locked in does not raise the limit.
        self.left_e6 = [most_e6 - loss if loss > 0 else most_e6 for loss in field.loss_e6]
        for ends, limit_e6 in ((field.atoms.low, room.low_e6), (field.atoms.high, room.high_e6)):
            if limit_e6 is not None and limit_e6 < most_e6:
                for atom in ends:
                    left_e6 = limit_e6 - max(0, field.loss_e6[atom])
                    self.left_e6[atom] = min(self.left_e6[atom], left_e6)
        self.left_deviation = room.deviation - field.deviation

    def hold(self, counts_e2: Sequence[int]) -> bool:
        """Return whether whole counts keep every limit, or add nothing to what may fill now."""
        added_deviation = 0.0
        more_e6: list[tuple[int, int]] = []
        for way, count_e2, deviation in zip(self.ways, counts_e2, self.deviations, strict=True):
            more_e6.append((way.column, way.more_e6(count_e2)))
            if count_e2 > way.standing_e2:
                added_deviation += (count_e2 - way.standing_e2) * deviation
        slack = ROW_TOLERANCE * max(1.0, self.left_deviation)
        if not (added_deviation == 0.0 or added_deviation <= self.left_deviation + slack):
            return False
        added_e6 = self.field.atoms.lost(more_e6)
        return all(
            added <= left or added == 0 for added, left in zip(added_e6, self.left_e6, strict=True)
        )

    def barred(self) -> list[bool]:
        """Return which quotes may add nothing: a limit is used up where they lose."""
        if min(self.left_e6) > 0 and self.left_deviation > 0.0:
            return [False] * len(self.ways)
        tightest_e6 = self.field.atoms.where_lost(self.left_e6, min)
        return [
            tightest_e6[way.column] <= 0 or (self.left_deviation <= 0.0 < deviation)
            for way, deviation in zip(self.ways, self.deviations, strict=True)
        ]

    def all_may_rest(self, boxes_e2: Sequence[int], added_e2: Sequence[int]) -> bool:
        """Return whether all that quotes may have is the optimum: no row binds, growth rises.

        Then rows have no price and the box's are the slopes: the gap is zero. In doubt no. What
        is barred adds nothing, so a limit that is used up is as good as one of zero.
        """
        atoms = self.field.atoms
        uses_e6 = atoms.lost(
            [
                (way.column, way.cost_e4 * added)
                for way, added in zip(self.ways, added_e2, strict=True)
            ]
        )
        used_deviation = sum([a * d for a, d in zip(added_e2, self.deviations, strict=True)])
        if not used_deviation <= max(0.0, self.left_deviation):
            return False
        if not all(map(le, uses_e6, [left if left > 0 else 0 for left in self.left_e6])):
            return False
        # What wins gains, and what loses has gained a contract's worth less.
        most_e6 = sum([way.gain_e4 * count for way, count in zip(self.ways, boxes_e2, strict=True)])
        lost_e6 = atoms.lost(
            [
                (way.column, PRICE_ONE_E4 * count)
                for way, count in zip(self.ways, boxes_e2, strict=True)
            ]
        )
        wealth_e6 = [
            self.wealth_e6 + (gain + most_e6 - lost)
            for gain, lost in zip(self.field.gains_e6, lost_e6, strict=True)
        ]
        if not min(wealth_e6) > 0.0:
            return False
        weights = atoms.where_lost(list(map(truediv, self.field.masses, wealth_e6)), add)
        for way, box in zip(self.ways, boxes_e2, strict=True):
            # A quote wins where one on the other side of its rung loses.
            wins, losses = weights[way.column - atoms.rungs], weights[way.column]
            if box and not wins * way.gain_e4 >= losses * way.cost_e4:
                return False
        return True


def size_jointly(
    field: Field,
    chosen: Sequence[int],
    ceilings_e2: Sequence[int],
    policy_e2: Sequence[int],
    room: Room,
    policy: SizingPolicy,
    multiplier: float,
) -> Joint:
    """Return whole lots of the chosen quotes within their ceilings that together keep every limit.

    They are zero if unsolved. `policy_e2` are the ceilings without what was asked, both of the
    chosen alone. What of a quote is free of charge, since an order of ours may fill there anyway,
    is a variable of its own beside what it adds.
    """
    if not chosen:
        return Joint([], 0.0)
    limits = _Limits(field, chosen, room, policy, multiplier)
    free_e2 = [min(way.free_e2, most) for way, most in zip(limits.ways, ceilings_e2, strict=True)]
    added_e2 = [
        0 if barred else most - free
        for most, free, barred in zip(ceilings_e2, free_e2, limits.barred(), strict=True)
    ]
    boxes_e2 = list(map(add, free_e2, added_e2))
    if not any(boxes_e2):
        return Joint([0] * len(chosen), 0.0)
    if limits.wealth_e6 <= 0.0:
        return Joint([0] * len(chosen), None, "nothing to bet with")
    if limits.all_may_rest(boxes_e2, added_e2):
        whole_e2 = [box_e2 - box_e2 % policy.lot_e2 for box_e2 in boxes_e2]
        return _checked(limits, whole_e2, policy.lot_e2, 0.0)
    return _solved(limits, (free_e2, added_e2), policy_e2, policy.lot_e2)


def _solved(
    limits: _Limits, parts_e2: tuple[list[int], list[int]], policy_e2: Sequence[int], lot_e2: int
) -> Joint:
    """Solve the program of what each quote may have free of charge, and what it may add."""
    field, n, wealth_e6 = limits.field, len(limits.ways), limits.wealth_e6
    boxes = np.array(parts_e2, dtype=np.float64).ravel()
    reach = np.array(policy_e2, dtype=np.float64)
    used = np.flatnonzero(boxes > 0.0)
    owners = used % n
    adds = used >= n
    gains = payoffs_of(field.atoms, limits.ways)[:, owners] * (boxes[used] / wealth_e6)
    try:
        found = solve(
            np.array(field.masses),
            1.0 + np.array(field.gains_e6, dtype=np.int64) / wealth_e6,
            gains,
            _rows(limits, owners, np.where(adds, boxes[used], 0.0)),
            boxes[used] / np.maximum(reach[owners], boxes[used]),
        )
    except Unsolved as error:
        return Joint([0] * n, None, str(error))
    amounts = np.zeros(2 * n)
    amounts[used] = found.shares * boxes[used]
    counts = amounts[:n] + amounts[n:]
    lots = np.floor(counts / lot_e2 + LOT_TOLERANCE).astype(np.int64) * lot_e2
    whole_e2 = list(map(min, lots.tolist(), map(add, *parts_e2)))
    return _checked(limits, whole_e2, lot_e2, found.gap)


def _rows(limits: _Limits, owners: Counts, added_e2: Floats) -> Floats:
    """Return each limit's use by the whole of each variable, as parts of what is left."""
    left_e6 = np.array(limits.left_e6, dtype=np.int64)
    columns = np.array([way.column for way in limits.ways])[owners]
    costs_e4 = np.array([way.cost_e4 for way in limits.ways])[owners]
    open_rows = left_e6 > 0
    loses = limits.field.atoms.loses[open_rows].take(columns, 1)
    losses = loses * (costs_e4 * added_e2) / left_e6[open_rows][:, None]
    if limits.left_deviation <= 0.0:
        return np.asarray(losses)
    uncertain = np.array(limits.deviations)[owners] * added_e2 / limits.left_deviation
    return np.vstack([losses, uncertain])


def _checked(limits: _Limits, counts_e2: list[int], lot_e2: int, gap: float) -> Joint:
    """Return the counts if they keep every limit, else the last ones a lot smaller, or zero."""
    for place in reversed(range(len(counts_e2))):
        if limits.hold(counts_e2):
            return Joint(counts_e2, gap)
        counts_e2[place] = max(0, counts_e2[place] - lot_e2)
    if limits.hold(counts_e2):
        return Joint(counts_e2, gap)
    return Joint([0] * len(counts_e2), None, "whole lots break a limit")
