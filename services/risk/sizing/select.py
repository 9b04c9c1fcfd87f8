"""The chain over all quotes: what each step leaves of each, who is chosen, the joint counts."""

from collections.abc import Sequence

from msgspec import Struct

from services.risk.sizing.chain import ASKED, JOINT, LOT, PILOT, SIZE_LADDER, STEPS
from services.risk.sizing.field import LOSSES, UNLIMITED_E2, Ceilings, Field
from services.risk.sizing.joint import Joint, size_jointly
from services.risk.sizing.policy import SizingPolicy
from services.risk.sizing.portfolio import Room

assert STEPS[1 : len(LOSSES) + 1] == LOSSES, "the chain's order is that of the ceilings"
_LOT = STEPS.index(LOT)


class Plan(Struct, frozen=True, eq=False):
    """What each step left of each quote, in the order of `STEPS`.

    `dropped` names the step that left a quote out although its ceiling was above zero.
    """

    left_e2: list[tuple[int, ...]]
    dropped: list[str]
    joint: Joint
    multiplier: float

    def limited_by(self) -> list[str]:
        """Return for each quote the step that set its count: the last one that lowered it.

        The cut to whole lots is told if nothing else is.
        """
        return [
            step or _lowered_last(left_e2)
            for step, left_e2 in zip(self.dropped, self.left_e2, strict=True)
        ]


def _lowered_last(left_e2: Sequence[int]) -> str:
    place = left_e2.index(left_e2[-1])  # they only fall: from here on it stays
    if place == _LOT:
        place = left_e2.index(left_e2[_LOT - 1]) or _LOT
    return STEPS[place] if place else ASKED


def plan_of(
    field: Field,
    family: str,
    rooms: tuple[Room, Room],
    policy: SizingPolicy,
    multiplier: float,
) -> Plan:
    """Return the plan; `rooms` are the portfolio's without and with the regime's multiplier."""
    asked_e2 = [quote.count_e2 for quote in field.quotes]
    alone = Ceilings(field, family, rooms[0], policy, 1.0).of_all()
    most_e2 = [min(asked, one[0]) for asked, one in zip(asked_e2, alone, strict=True)]
    kelly_e2 = field.within_kelly(policy.kelly, 1.0, most_e2)
    regime_e2 = limits_e2 = [UNLIMITED_E2] * len(asked_e2)
    if multiplier != 1.0:
        regime_e2, limits_e2 = _regime(field, family, rooms[1], policy, multiplier)
    stage_e2 = policy.size_ladder.stage_of(family).count_max_e2
    pilot_e2 = _pilot_ceilings(field, policy)
    left_e2 = [
        _left(asked, kelly, one, (regime, stage_e2, pilot), policy.lot_e2)
        for asked, kelly, one, regime, pilot in zip(
            asked_e2, kelly_e2, alone, regime_e2, pilot_e2, strict=True
        )
    ]
    lots_e2 = [left[_LOT] for left in left_e2]
    dropped = _dropped(field, lots_e2, policy, family)
    chosen = [
        place
        for place, (lots, step) in enumerate(zip(lots_e2, dropped, strict=True))
        if lots > 0 and not step
    ]
    policy_e2 = [
        min(*alone[place], limits_e2[place], stage_e2, pilot_e2[place]) for place in chosen
    ]
    joint = size_jointly(
        field, chosen, [lots_e2[place] for place in chosen], policy_e2, rooms[1], policy, multiplier
    )
    counts_e2 = [0] * len(left_e2)
    for place, count_e2 in zip(chosen, joint.counts_e2, strict=True):
        counts_e2[place] = count_e2
    ways = [(*left, count_e2) for left, count_e2 in zip(left_e2, counts_e2, strict=True)]
    return Plan(ways, dropped, joint, multiplier)


def _left(
    asked: int, kelly: int, losses: tuple[int, ...], last: tuple[int, int, int], lot_e2: int
) -> tuple[int, ...]:
    """Return what each step leaves of one quote, up to whole lots."""
    _, pal, factor, family, correlation, budget = losses
    regime, stage, pilot = last
    kelly = kelly if kelly < asked else asked
    pal = pal if pal < kelly else kelly
    factor = factor if factor < pal else pal
    family = family if family < factor else factor
    correlation = correlation if correlation < family else family
    budget = budget if budget < correlation else correlation
    regime = regime if regime < budget else budget
    stage = stage if stage < regime else regime
    pilot = pilot if pilot < stage else stage
    lots = pilot - pilot % lot_e2
    return asked, kelly, pal, factor, family, correlation, budget, regime, stage, pilot, lots


def _regime(
    field: Field, family: str, room: Room, policy: SizingPolicy, multiplier: float
) -> tuple[list[int], list[int]]:
    """Return the ceilings with every figure multiplied, what was asked too; and without that."""
    scaled = Ceilings(field, family, room, policy, multiplier).of_all()
    limits_e2 = [min(one) for one in scaled]
    part_e2 = [
        min(limit, int(quote.count_e2 * multiplier))
        for limit, quote in zip(limits_e2, field.quotes, strict=True)
    ]
    kelly_e2 = field.within_kelly(policy.kelly, multiplier, part_e2)
    return list(map(min, part_e2, kelly_e2)), limits_e2


def _pilot_ceilings(field: Field, policy: SizingPolicy) -> list[int]:
    pilot = policy.pilot
    if not pilot.active:
        return [UNLIMITED_E2] * len(field.ways)
    return [
        min(max(0, pilot.position_max_e2 - way.held_e2), pilot.count_max_e2) for way in field.ways
    ]


def _dropped(field: Field, lots_e2: Sequence[int], policy: SizingPolicy, family: str) -> list[str]:
    """Return for each quote, best first, which step leaves it out beside better ones.

    Rungs are taken in the order of expected value; of one market and side only the best counts.
    """
    stage, pilot = policy.size_ladder.stage_of(family), policy.pilot
    rungs: set[int] = set()
    columns: set[int] = set()
    found: list[str] = []
    for way, count_e2 in zip(field.ways, lots_e2, strict=True):
        step = ""
        if count_e2 > 0:
            fresh = way.rung not in rungs
            if way.column in columns:
                step = JOINT
            elif fresh and len(rungs) >= stage.rungs_max:
                step = SIZE_LADDER
            elif fresh and pilot.active and len(rungs) >= pilot.rungs_max:
                step = PILOT
            else:
                rungs.add(way.rung)
                columns.add(way.column)
        found.append(step)
    return found
