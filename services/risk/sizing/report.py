"""What sizing says: sized quotes, those withheld, and each step as a gate of the verdict."""

from collections.abc import Sequence
from itertools import repeat
from operator import add

from msgspec import Struct

from libs.common.messages import GateResult, Quote, SizedQuote
from libs.domain.money import COUNT_ONE_E2, MONEY_ONE_E6
from services.risk.sizing.chain import (
    CORRELATION_VAR,
    FACTOR_VAR,
    FAMILY_LOSS,
    JOINT,
    KELLY,
    LOSS_BUDGET,
    LOT,
    PAL,
    PILOT,
    REGIME,
    SIZE_LADDER,
    STEPS,
    factor_var,
    portfolio_deviation,
)
from services.risk.sizing.field import Field
from services.risk.sizing.policy import SizingPolicy
from services.risk.sizing.portfolio import Room, scaled
from services.risk.sizing.program import GAP_MAX
from services.risk.sizing.select import Plan

PMF = "pmf"
GATES = (PMF, *STEPS[1:])
REASONS = {
    KELLY: "kelly_not_positive",
    PAL: "pal_exhausted",
    FACTOR_VAR: "factor_var_exhausted",
    FAMILY_LOSS: "family_loss_exhausted",
    CORRELATION_VAR: "correlation_var_exhausted",
    LOSS_BUDGET: "loss_budget_exhausted",
    REGIME: "regime",
    SIZE_LADDER: "size_ladder",
    PILOT: "pilot_clamp",
    LOT: "below_one_lot",
    JOINT: "joint_limits",
}
NOT_SOLVED = "joint_not_solved"


class Sizing(Struct, frozen=True):
    """The approved quotes, the others with a count of 0, and the steps as gates.

    `content` tells approvals apart: it is part of their verdict's id.
    """

    quotes: tuple[SizedQuote, ...]
    withheld: tuple[SizedQuote, ...]
    gates: tuple[GateResult, ...]
    content: str = ""


def all_passed() -> Sizing:
    """Return the sizing of a proposal that asks for nothing."""
    return Sizing((), (), tuple(GateResult(gate=name, ok=True) for name in GATES))


def barred(quotes: Sequence[Quote], gate: str, reason: str, detail: str) -> Sizing:
    """Return the sizing of a proposal that can't be sized: nothing, and which gate says why."""
    gates = tuple(
        GateResult(gate=name, ok=False, reason=reason, detail=detail)
        if name == gate
        else GateResult(gate=name, ok=True, detail="nothing to size")
        for name in GATES
    )
    return Sizing((), tuple(_withheld(quote, gate) for quote in quotes), gates)


def reported(
    field: Field,
    plan: Plan,
    unsound: Sequence[Quote],
    family: str,
    room: Room,
    policy: SizingPolicy,
) -> Sizing:
    """Return what the plan comes to; a step fails as a gate when it left nothing at all.

    `room` is what the portfolio left with the regime's multiplier.
    """
    sized: list[SizedQuote] = []
    withheld = [_withheld(quote, KELLY) for quote in unsound]
    dropped = dict.fromkeys(STEPS, 0)
    dropped[KELLY] = len(unsound)
    for quote, way, left_e2, limited_by in zip(
        field.quotes, field.ways, plan.left_e2, plan.limited_by(), strict=True
    ):
        one = _sized(quote, way.position_e2, left_e2, limited_by)
        if one.count_e2 > 0:
            sized.append(one)
        else:
            withheld.append(one)
            dropped[limited_by] += 1
    sized.sort(key=lambda quote: (quote.ticker, quote.side))
    measured = _measured(field, plan, sized, family, room, policy)
    gates = [GateResult(gate=PMF, ok=True, measured=1.0, unit="mass")]
    for name in STEPS[1:]:
        value, limit, unit = measured[name]
        left_nothing = not sized and dropped[name] > 0
        reason = NOT_SOLVED if name == JOINT and plan.joint.gap is None else REASONS[name]
        detail = f"dropped {dropped[name]}" if dropped[name] else ""
        if name == JOINT and plan.joint.why:
            detail = f"{detail} {plan.joint.why}".strip()
        gates.append(
            GateResult(
                gate=name,
                ok=not left_nothing,
                reason=reason if left_nothing else "",
                measured=value,
                limit=limit,
                unit=unit,
                detail=detail,
            )
        )
    content = "\x1f".join([f"{one.ticker}|{one.side}|{one.count_e2}" for one in sized])
    return Sizing(tuple(sized), tuple(withheld), tuple(gates), content)


def _measured(
    field: Field,
    plan: Plan,
    sized: Sequence[SizedQuote],
    family: str,
    room: Room,
    policy: SizingPolicy,
) -> dict[str, tuple[float | None, float | None, str]]:
    """Return each step's value, limit and unit: the event's worst loss beside what it may lose."""
    strike_e6 = max([way.market_loss_e6 for way in field.ways], default=0)
    more_e6: list[tuple[int, int]] = []
    own = field.deviation
    for way, left_e2, deviation in zip(field.ways, plan.left_e2, field.deviations, strict=True):
        if count_e2 := left_e2[-1]:
            strike_e6 = max(strike_e6, way.market_loss_e6 + count_e2 * way.cost_e4)
            more_e6.append((way.column, way.more_e6(count_e2)))
            own += count_e2 * deviation
    lost_e6 = map(max, field.loss_e6, repeat(0))
    worst_e6 = max(map(add, lost_e6, field.atoms.lost(more_e6)))
    worst = _dollars(worst_e6)
    gap = plan.joint.gap
    portfolio, correlation = policy.portfolio, policy.correlation
    losses_e6 = {**room.losses_beside_e6}
    losses_e6[family] = losses_e6.get(family, 0) + worst_e6
    factors = factor_var(losses_e6, portfolio.factor_vols, portfolio.factor_betas)
    deviations, group = {**room.deviations_beside}, portfolio.group_of(family)
    deviations[group] = deviations.get(group, 0.0) + own
    uncertain = correlation.z * portfolio_deviation(deviations, correlation.rho)
    stage = policy.size_ladder.stage_of(family)
    largest = max((quote.count_e2 for quote in sized), default=0)
    rungs = len({quote.ticker for quote in sized})
    fraction = field.largest_fraction(policy.kelly)
    pal_e6 = scaled(policy.pal.family_e6.get(family, 0), plan.multiplier)
    return {
        KELLY: (fraction, policy.kelly.fraction_max, "fraction"),
        PAL: (_dollars(strike_e6), _dollars(pal_e6), "dollars"),
        FACTOR_VAR: (
            round(factors / MONEY_ONE_E6, 6),
            _dollars(scaled(portfolio.factor_var_max_e6, plan.multiplier)),
            "dollars",
        ),
        FAMILY_LOSS: (worst, _limit(room.losses_e6[FAMILY_LOSS]), "dollars"),
        CORRELATION_VAR: (
            round(uncertain / MONEY_ONE_E6, 6),
            _dollars(scaled(correlation.portfolio_var_max_e6, plan.multiplier)),
            "dollars",
        ),
        LOSS_BUDGET: (worst, _limit(room.losses_e6[LOSS_BUDGET]), "dollars"),
        REGIME: (plan.multiplier, 1.0, "multiplier"),
        SIZE_LADDER: (largest / COUNT_ONE_E2, stage.count_max_e2 / COUNT_ONE_E2, "contracts"),
        PILOT: (float(rungs), float(policy.pilot.rungs_max), "rungs"),
        LOT: (None, policy.lot_e2 / COUNT_ONE_E2, "contracts"),
        # Rounded: the last bits of a gap differ between processors, a verdict should not.
        JOINT: (None if gap is None else round(gap, 9), GAP_MAX, "gap"),
    }


def _dollars(money_e6: int) -> float:
    return money_e6 / MONEY_ONE_E6


def _limit(money_e6: int | None) -> float | None:
    return None if money_e6 is None else _dollars(money_e6)


def _sized(quote: Quote, position_e2: int, left_e2: tuple[int, ...], limited_by: str) -> SizedQuote:
    return SizedQuote(
        ticker=quote.ticker,
        side=quote.side,
        price_e4=quote.price_e4,
        count_e2=left_e2[-1],
        asked_count_e2=quote.count_e2,
        limited_by=limited_by,
        probability=quote.probability,
        ev_per_contract_e6=quote.ev_per_contract_e6,
        position_e2=position_e2,
        left_e2=left_e2,
    )


def _withheld(quote: Quote, limited_by: str) -> SizedQuote:
    return SizedQuote(
        ticker=quote.ticker,
        side=quote.side,
        price_e4=quote.price_e4,
        count_e2=0,
        asked_count_e2=quote.count_e2,
        limited_by=limited_by,
        probability=quote.probability,
        ev_per_contract_e6=quote.ev_per_contract_e6,
    )
