"""Size the quotes of one event together: the program's arrays, whole lots, the integer check."""

import numpy as np
from msgspec import Struct

from services.risk.sizing.field import Counts, Field, kelly_wealth_e6, tilts
from services.risk.sizing.outcomes import Flags, Floats
from services.risk.sizing.policy import SizingPolicy
from services.risk.sizing.portfolio import Room
from services.risk.sizing.program import Unsolved, solve

LOT_TOLERANCE = 1e-4
"""A float share of a lot this near the next whole one is that one."""
ROW_TOLERANCE = 1e-9


class Joint(Struct, frozen=True, eq=False):
    """The counts by candidate and the certificate; `why` says why there is none."""

    counts_e2: Counts
    gap: float | None
    why: str = ""


class _Limits:
    """What the event may lose in each outcome and how uncertain it may be, and what is taken."""

    def __init__(self, field: Field, room: Room, policy: SizingPolicy, multiplier: float) -> None:
        self.field = field
        kelly_e6 = int(policy.kelly.fraction_max * kelly_wealth_e6(policy.kelly, multiplier))
        most_e6 = np.full(len(field.loss_e6), min(kelly_e6, room.tightest_e6()), dtype=np.int64)
        for atom, limit_e6 in tilts(field.atoms, room):
            most_e6[atom] = min(int(most_e6[atom]), limit_e6)
        # A gain that is locked in does not raise the limit.
        self.left_e6 = most_e6 - np.maximum(field.loss_e6, 0)
        self.left_deviation = room.deviation - field.deviation

    def hold(self, counts_e2: Counts) -> bool:
        """Return whether whole counts keep every limit, or add nothing to what may fill now."""
        field = self.field
        worst_e6 = counts_e2 * field.cost_e4 + field.excess_e6
        more_e6 = np.where(counts_e2 > 0, np.maximum(worst_e6 - field.standing_e6, 0), 0)
        added_e6 = field.loses @ more_e6
        more_e2 = np.maximum(counts_e2 - field.standing_e2, 0)
        added_deviation = float(more_e2 @ field.deviations)
        within = (added_e6 <= self.left_e6) | (added_e6 == 0)
        slack = ROW_TOLERANCE * max(1.0, self.left_deviation)
        return bool(within.all()) and (
            added_deviation == 0.0 or added_deviation <= self.left_deviation + slack
        )


def size_jointly(
    field: Field,
    ceilings_e2: Counts,
    policy_e2: Counts,
    room: Room,
    policy: SizingPolicy,
    multiplier: float,
) -> Joint:
    """Return whole lots within the ceilings that together keep every limit; zero if unsolved.

    `policy_e2` are the ceilings without what was asked. What of a quote is free of charge, since
    an order of ours may fill there anyway, is a variable of its own beside what it adds.
    """
    counts_e2 = np.zeros(len(ceilings_e2), dtype=np.int64)
    chosen = np.flatnonzero(ceilings_e2)
    if not len(chosen):
        return Joint(counts_e2, 0.0)
    limits = _Limits(field.only(chosen), room, policy, multiplier)
    joint = _solved(limits, ceilings_e2[chosen], policy_e2[chosen], policy, multiplier)
    counts_e2[chosen] = joint.counts_e2
    return Joint(counts_e2, joint.gap, joint.why)


def _solved(
    limits: _Limits,
    ceilings_e2: Counts,
    policy_e2: Counts,
    policy: SizingPolicy,
    multiplier: float,
) -> Joint:
    field = limits.field
    free_e2 = np.minimum(field.free_e2, ceilings_e2)
    added_e2 = ceilings_e2 - free_e2
    added_e2[_barred(limits)] = 0
    boxes = np.concatenate([free_e2, added_e2]).astype(np.float64)
    used = np.flatnonzero(boxes > 0.0)
    n = len(ceilings_e2)
    zero = np.zeros(n, dtype=np.int64)
    if not len(used):
        return Joint(zero, 0.0)
    wealth_e6 = kelly_wealth_e6(policy.kelly, multiplier)
    if wealth_e6 <= 0.0:
        return Joint(zero, None, "nothing to bet with")
    owners = used % n
    adds = used >= n
    gains = field.payoffs()[:, owners] * (boxes[used] / wealth_e6)
    try:
        found = solve(
            field.masses,
            1.0 + field.gains_e6 / wealth_e6,
            gains,
            _rows(limits, owners, np.where(adds, boxes[used], 0.0)),
            boxes[used] / np.maximum(policy_e2[owners], boxes[used]),
        )
    except Unsolved as error:
        return Joint(zero, None, str(error))
    amounts = np.zeros(2 * n)
    amounts[used] = found.shares * boxes[used]
    counts = amounts[:n] + amounts[n:]
    whole_e2 = _lots(counts, policy.lot_e2, ceilings_e2)
    return _checked(limits, whole_e2, policy.lot_e2, found.gap)


def _barred(limits: _Limits) -> Flags:
    """Return which candidates may add nothing: a limit is used up where they lose."""
    spent = (limits.left_e6 <= 0)[:, None] & limits.field.loses
    barred: Flags = np.asarray(spent.any(axis=0))
    if limits.left_deviation <= 0.0:
        barred[limits.field.deviations > 0.0] = True
    return barred


def _rows(limits: _Limits, owners: Counts, added_e2: Floats) -> Floats:
    """Return each limit's use by the whole of each variable, as parts of what is left."""
    field = limits.field
    open_rows = limits.left_e6 > 0
    costs = field.cost_e4[owners] * added_e2
    losses = field.loses[open_rows][:, owners] * costs / limits.left_e6[open_rows][:, None]
    if limits.left_deviation <= 0.0:
        return losses
    uncertain = field.deviations[owners] * added_e2 / limits.left_deviation
    return np.vstack([losses, uncertain])


def _lots(counts: Floats, lot_e2: int, ceilings_e2: Counts) -> Counts:
    lots = np.floor(counts / lot_e2 + LOT_TOLERANCE).astype(np.int64)
    return np.minimum(lots * lot_e2, ceilings_e2)


def _checked(limits: _Limits, counts_e2: Counts, lot_e2: int, gap: float) -> Joint:
    """Return the counts if they keep every limit, else the last ones a lot smaller, or zero."""
    for place in reversed(range(len(counts_e2))):
        if limits.hold(counts_e2):
            return Joint(counts_e2, gap)
        counts_e2[place] = max(0, int(counts_e2[place]) - lot_e2)
    if limits.hold(counts_e2):
        return Joint(counts_e2, gap)
    return Joint(np.zeros_like(counts_e2), None, "whole lots break a limit")
