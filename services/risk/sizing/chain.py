"""The steps of the chain by name, and their formulas: Kelly, factor VaR, σ over groups.

Formulas and golden rows are domain.md's §3 and §8; `None` stands for a step without a limit.
"""

from collections.abc import Mapping
from math import sqrt

ASKED = "asked"
KELLY = "kelly"
PAL = "pal"
FACTOR_VAR = "factor_var"
FAMILY_LOSS = "family_loss"
CORRELATION_VAR = "correlation_var"
LOSS_BUDGET = "loss_budget"
REGIME = "regime"
SIZE_LADDER = "size_ladder"
PILOT = "pilot"
LOT = "lot"
JOINT = "joint"
STEPS = (
    ASKED,
    KELLY,
    PAL,
    FACTOR_VAR,
    FAMILY_LOSS,
    CORRELATION_VAR,
    LOSS_BUDGET,
    REGIME,
    SIZE_LADDER,
    PILOT,
    LOT,
    JOINT,
)
"""In the order of the chain."""

Exposures = Mapping[str, int]
"""What could be lost by family, in micro-dollars."""


def kelly_fraction(probability: float, price: float) -> float:
    """Return f = (p − m) / (1 − m) for a contract at m that pays 1 with probability p."""
    return (probability - price) / (1.0 - price)


def scale_fraction(
    fraction: float, uncertainty: float, imbalance: float, fraction_max: float
) -> float:
    """Return the fraction within ± the maximum, discounted for uncertainty and imbalance."""
    truncated = max(-fraction_max, min(fraction_max, fraction))
    return truncated * (1.0 - uncertainty) * (1.0 - imbalance)


def factor_exposures(
    losses_e6: Exposures, betas: Mapping[str, Mapping[str, float]]
) -> dict[str, float]:
    """Return Σβ·loss of each factor, in micro-dollars."""
    found: dict[str, float] = {}
    for family, loss_e6 in losses_e6.items():
        for factor, beta in betas.get(family, {}).items():
            found[factor] = found.get(factor, 0.0) + beta * loss_e6
    return found


def factor_var(
    losses_e6: Exposures,
    vols: Mapping[str, float],
    betas: Mapping[str, Mapping[str, float]],
) -> float:
    """Return √Σ(vol_f·Σβ·loss)², in micro-dollars."""
    exposures = factor_exposures(losses_e6, betas)
    return sqrt(sum((vols[factor] * amount) ** 2 for factor, amount in exposures.items()))


def factor_var_room_e6(
    family: str,
    others_e6: Exposures,
    limit_e6: int,
    vols: Mapping[str, float],
    betas: Mapping[str, Mapping[str, float]],
) -> int | None:
    """Return the most that `family` may lose beside the others; None if no factor moves it."""
    own = betas.get(family, {})
    exposures = factor_exposures(others_e6, betas)
    square = sum((vols[factor] * beta) ** 2 for factor, beta in own.items())
    if square == 0.0:
        return None
    mixed = sum(vols[f] ** 2 * beta * exposures.get(f, 0.0) for f, beta in own.items())
    fixed = sum((vols[factor] * amount) ** 2 for factor, amount in exposures.items())
    return max(0, int(_largest_root(square, mixed, fixed - float(limit_e6) ** 2)))


def deviation_room(own: str, deviations: Mapping[str, float], rho: float, most: float) -> float:
    """Return the σ that `own` may have so that √(Σσ² + 2ρΣσσ′) of all groups stays at `most`."""
    rest = [sigma for group, sigma in deviations.items() if group != own]
    total = sum(rest)
    squares = sum(sigma * sigma for sigma in rest)
    fixed = squares + rho * (total * total - squares)
    return max(0.0, _largest_root(1.0, rho * total, fixed - most * most))


def portfolio_deviation(deviations: Mapping[str, float], rho: float) -> float:
    """Return √(Σσ² + 2ρΣσσ′) over groups."""
    total = sum(deviations.values())
    squares = sum(sigma * sigma for sigma in deviations.values())
    return sqrt(squares + rho * (total * total - squares))


def _largest_root(square: float, mixed: float, fixed: float) -> float:
    """Return the larger x of square·x² + 2·mixed·x + fixed = 0, −1 if the limit is passed at 0."""
    if fixed > 0.0:
        return -1.0
    return (sqrt(mixed * mixed - square * fixed) - mixed) / square
