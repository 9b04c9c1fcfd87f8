"""How much of each proposed quote may rest: Kelly, PAL per strike, pilot clamp (domain.md §3).

Every step is a ceiling that does not depend on what was asked, so asking for more never yields
less. The count of a sized quote is what may rest on that market and side from the verdict on;
fills since then use it up. Positions and unknown orders count against it; an order of ours on
the same market and side does not, because the quote takes its place.
"""

from collections.abc import Sequence

from msgspec import Struct

from libs.common.messages import GateResult, Quote, Side, SizedQuote
from libs.common.own_orders import OwnOrders
from libs.domain.money import MONEY_ONE_E6, PRICE_ONE_E4
from services.risk.policy import SizingPolicy

ASKED = "asked"
KELLY = "kelly"
PAL = "pal"
PILOT = "pilot"
REASONS = {KELLY: "kelly_not_positive", PAL: "pal_exhausted", PILOT: "pilot_clamp"}


class Cap(Struct, frozen=True):
    """A ceiling and the step that set it; None means the step sets no limit."""

    name: str
    count_e2: int | None


class Exposure(Struct, frozen=True):
    """The worst loss of one market by outcome, and the signed contracts held."""

    loss_if_yes_e6: int
    loss_if_no_e6: int
    position_e2: int
    unknown_bid_e2: int
    unknown_ask_e2: int


class Sizing(Struct, frozen=True):
    """The approved quotes and what the three steps report as gates."""

    quotes: tuple[SizedQuote, ...]
    gates: tuple[GateResult, ...]


def kelly_fraction(probability: float, price: float) -> float:
    """Return f = (p − m) / (1 − m) for a contract at m that pays 1 with probability p."""
    return (probability - price) / (1.0 - price)


def scale_fraction(
    fraction: float, uncertainty: float, imbalance: float, fraction_max: float
) -> float:
    """Return the fraction discounted for uncertainty and imbalance, within ± the maximum."""
    scaled = fraction * (1.0 - uncertainty) * (1.0 - imbalance)
    return max(-fraction_max, min(fraction_max, scaled))


def apply_caps(asked_e2: int, caps: Sequence[Cap]) -> tuple[int, str]:
    """Return the smallest of what was asked and all caps, and the first step that set it."""
    allowed_e2, limited_by = asked_e2, ASKED
    for cap in caps:
        if cap.count_e2 is not None and max(0, cap.count_e2) < allowed_e2:
            allowed_e2, limited_by = max(0, cap.count_e2), cap.name
    return allowed_e2, limited_by


def exposure_of(own: OwnOrders, event_ticker: str, ticker: str, replaced: Side | None) -> Exposure:
    """Return what one market could lose, open orders filled at their worst.

    Orders on the side `replaced` are left out unless their outcome is unknown.
    """
    position = own.position(ticker)
    loss_if_no_e6 = -position.cash_e6
    loss_if_yes_e6 = -(position.cash_e6 + position.count_e2 * PRICE_ONE_E4)
    unknown_e2 = {"bid": 0, "ask": 0}
    for order in own.open_orders(event_ticker):
        if order.ticker != ticker:
            continue
        unknown = order.state == "unknown"
        if unknown:
            unknown_e2[order.side] += order.remaining_e2
        if order.side == replaced and not unknown:
            continue
        if order.side == "bid":
            loss_if_no_e6 += order.price_e4 * order.remaining_e2
        else:
            loss_if_yes_e6 += (PRICE_ONE_E4 - order.price_e4) * order.remaining_e2
    return Exposure(
        loss_if_yes_e6,
        loss_if_no_e6,
        position.count_e2,
        unknown_e2["bid"],
        unknown_e2["ask"],
    )


def size_quotes(
    quotes: Sequence[Quote], family: str, event_ticker: str, own: OwnOrders, policy: SizingPolicy
) -> Sizing:
    """Return what of a proposal may rest; a step fails as a gate when it left nothing at all."""
    pal_e6 = policy.pal_e6.get(family, 0)
    sized: list[SizedQuote] = []
    dropped: dict[str, list[str]] = {KELLY: [], PAL: [], PILOT: []}
    fractions: list[float] = []
    ranked = sorted(quotes, key=lambda quote: (-quote.ev_per_contract_e6, quote.ticker, quote.side))
    for quote in ranked:
        exposure = exposure_of(own, event_ticker, quote.ticker, quote.side)
        fraction, caps = _caps(quote, exposure, pal_e6, policy)
        fractions.append(fraction)
        count_e2, limited_by = apply_caps(quote.count_e2, caps)
        count_e2 -= count_e2 % policy.lot_e2
        if count_e2 == 0:
            dropped[limited_by if limited_by in dropped else PILOT].append(quote.ticker)
        elif len(sized) == policy.pilot_rungs_max or _taken(sized, quote):
            dropped[PILOT].append(quote.ticker)
        else:
            sized.append(_sized(quote, count_e2, limited_by, exposure.position_e2))
    sized.sort(key=lambda quote: (quote.ticker, quote.side))
    worst_e6 = max((_worst_loss_e6(own, event_ticker, quote) for quote in sized), default=0)
    measured = {
        KELLY: (max(fractions, default=None), policy.kelly_fraction_max, "fraction"),
        PAL: (worst_e6 / MONEY_ONE_E6, pal_e6 / MONEY_ONE_E6, "dollars"),
        PILOT: (float(len(sized)), float(policy.pilot_rungs_max), "rungs"),
    }
    gates = []
    for name, (value, limit, unit) in measured.items():
        left_nothing = not sized and bool(dropped[name])
        gates.append(
            GateResult(
                gate=name,
                ok=not left_nothing,
                reason=REASONS[name] if left_nothing else "",
                measured=value,
                limit=limit,
                unit=unit,
                detail=f"dropped {len(dropped[name])}" if dropped[name] else "",
            )
        )
    return Sizing(tuple(sized), tuple(gates))


def _caps(
    quote: Quote, exposure: Exposure, pal_e6: int, policy: SizingPolicy
) -> tuple[float, list[Cap]]:
    """Return the scaled Kelly fraction and the ceilings of one quote, in the order of steps."""
    if quote.side == "bid":
        probability, price_e4 = quote.probability, quote.price_e4
        at_risk_e6 = exposure.loss_if_no_e6
        held_e2 = exposure.position_e2 + exposure.unknown_bid_e2
    else:
        probability, price_e4 = 1.0 - quote.probability, PRICE_ONE_E4 - quote.price_e4
        at_risk_e6 = exposure.loss_if_yes_e6
        held_e2 = -exposure.position_e2 + exposure.unknown_ask_e2
    if not 0 < price_e4 < PRICE_ONE_E4:
        return 0.0, [Cap(KELLY, 0)]
    fraction = scale_fraction(
        kelly_fraction(probability, price_e4 / PRICE_ONE_E4),
        policy.kelly_uncertainty,
        policy.kelly_imbalance,
        policy.kelly_fraction_max,
    )
    stake_e6 = int(max(0.0, fraction) * policy.bankroll_e6)
    position_room_e2 = policy.pilot_position_max_e2 - held_e2
    return fraction, [
        Cap(KELLY, _room_e2(stake_e6, at_risk_e6, price_e4)),
        Cap(PAL, _room_e2(pal_e6, at_risk_e6, price_e4)),
        Cap(PILOT, min(policy.pilot_count_max_e2, max(0, position_room_e2))),
    ]


def _taken(sized: Sequence[SizedQuote], quote: Quote) -> bool:
    """Return whether a better quote has this market and side: two would share one room."""
    return any((one.ticker, one.side) == (quote.ticker, quote.side) for one in sized)


def _room_e2(limit_e6: int, at_risk_e6: int, cost_e4: int) -> int:
    # A locked-in gain (negative at risk) does not raise the limit.
    return max(0, limit_e6 - max(0, at_risk_e6)) // cost_e4


def _worst_loss_e6(own: OwnOrders, event_ticker: str, quote: SizedQuote) -> int:
    exposure = exposure_of(own, event_ticker, quote.ticker, quote.side)
    if quote.side == "bid":
        with_quote_e6 = exposure.loss_if_no_e6 + quote.price_e4 * quote.count_e2
        return max(with_quote_e6, exposure.loss_if_yes_e6, 0)
    with_quote_e6 = exposure.loss_if_yes_e6 + (PRICE_ONE_E4 - quote.price_e4) * quote.count_e2
    return max(with_quote_e6, exposure.loss_if_no_e6, 0)


def _sized(quote: Quote, count_e2: int, limited_by: str, position_e2: int) -> SizedQuote:
    return SizedQuote(
        ticker=quote.ticker,
        side=quote.side,
        price_e4=quote.price_e4,
        count_e2=count_e2,
        asked_count_e2=quote.count_e2,
        limited_by=limited_by,
        probability=quote.probability,
        ev_per_contract_e6=quote.ev_per_contract_e6,
        position_e2=position_e2,
    )
