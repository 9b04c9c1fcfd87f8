"""The chain over all candidates: what each step leaves of each, who is chosen, the joint counts."""

import numpy as np
from msgspec import Struct

from services.risk.sizing.chain import (
    JOINT,
    KELLY,
    LOT,
    PILOT,
    REGIME,
    SIZE_LADDER,
    STEPS,
)
from services.risk.sizing.field import UNLIMITED_E2, Counts, Field
from services.risk.sizing.joint import Joint, size_jointly
from services.risk.sizing.policy import SizingPolicy
from services.risk.sizing.portfolio import Room

LOT_ROW = STEPS.index(LOT) - 1


class Plan(Struct, frozen=True, eq=False):
    """What each step left of each candidate, in the order of `STEPS`, shape (steps, candidates).

    `dropped` names the step that left a candidate out although its ceiling was above zero.
    """

    left_e2: Counts
    dropped: tuple[str, ...]
    joint: Joint
    multiplier: float

    def limited_by(self) -> list[str]:
        """Return for each candidate the step that set its count: the last one that lowered it.

        The cut to whole lots is told if nothing else is.
        """
        lowered = self.left_e2[1:] < self.left_e2[:-1]
        telling = lowered.copy()
        telling[LOT_ROW] = False
        last = len(telling) - 1 - telling[::-1].argmax(axis=0)
        named = np.where(telling.any(axis=0), last + 1, np.where(lowered[LOT_ROW], LOT_ROW + 1, 0))
        return [
            step or STEPS[place] for step, place in zip(self.dropped, named.tolist(), strict=True)
        ]


def plan_of(
    field: Field,
    family: str,
    rooms: tuple[Room, Room],
    policy: SizingPolicy,
    multiplier: float,
) -> Plan:
    """Return the plan; `rooms` are the portfolio's without and with the regime's multiplier."""
    count = len(field.candidates)
    asked_e2 = field.asked_e2
    plain = field.ceilings(family, rooms[0], policy, 1.0)
    kelly_e2 = field.within_kelly(policy.kelly, 1.0, asked_e2)
    regime_e2 = regime_policy_e2 = np.full(count, UNLIMITED_E2, dtype=np.int64)
    if multiplier != 1.0:
        scaled = field.ceilings(family, rooms[1], policy, multiplier)
        regime_policy_e2 = np.minimum.reduce(list(scaled.values()))
        part_e2 = np.minimum(regime_policy_e2, (asked_e2 * multiplier).astype(np.int64))
        regime_e2 = np.minimum(part_e2, field.within_kelly(policy.kelly, multiplier, part_e2))
    stage = policy.size_ladder.stage_of(family)
    ceilings = plain | {
        REGIME: regime_e2,
        SIZE_LADDER: np.full(count, stage.count_max_e2, dtype=np.int64),
        PILOT: _pilot_ceilings(field, policy),
    }
    left = [asked_e2]
    for step in STEPS[1 : STEPS.index(LOT)]:
        left.append(np.minimum(left[-1], kelly_e2 if step == KELLY else ceilings[step]))
    lots_e2 = left[-1] - left[-1] % policy.lot_e2
    left.append(lots_e2)
    policy_e2 = np.minimum.reduce(list(ceilings.values()))
    policy_e2 = np.minimum(policy_e2, regime_policy_e2)
    dropped = _dropped(field, lots_e2, policy, family)
    chosen_e2 = np.where([not step for step in dropped], lots_e2, 0)
    joint = size_jointly(field, chosen_e2, policy_e2, rooms[1], policy, multiplier)
    return Plan(np.stack([*left, joint.counts_e2]), dropped, joint, multiplier)


def _pilot_ceilings(field: Field, policy: SizingPolicy) -> Counts:
    pilot = policy.pilot
    if not pilot.active:
        return np.full(len(field.candidates), UNLIMITED_E2, dtype=np.int64)
    return np.clip(pilot.position_max_e2 - field.held_e2, 0, pilot.count_max_e2)


def _dropped(field: Field, lots_e2: Counts, policy: SizingPolicy, family: str) -> tuple[str, ...]:
    """Return for each candidate, best first, which step leaves it out beside better ones.

    Rungs are taken in the order of expected value; of one market and side only the best counts.
    """
    stage, pilot = policy.size_ladder.stage_of(family), policy.pilot
    rungs: set[int] = set()
    keys: set[object] = set()
    found: list[str] = []
    for candidate, count_e2 in zip(field.candidates, lots_e2.tolist(), strict=True):
        step = ""
        if count_e2 > 0:
            fresh = candidate.rung not in rungs
            if candidate.key in keys:
                step = JOINT
            elif fresh and len(rungs) >= stage.rungs_max:
                step = SIZE_LADDER
            elif fresh and pilot.active and len(rungs) >= pilot.rungs_max:
                step = PILOT
            else:
                rungs.add(candidate.rung)
                keys.add(candidate.key)
        found.append(step)
    return tuple(found)
