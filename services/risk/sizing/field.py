"""One proposal's quotes over the event's outcomes, and each step's ceiling for each of them alone.

A ceiling is the most of one quote that a step allows when no other quote is granted. It does not
depend on what was asked. Counts and money are integers; floats only where Kelly and σ are.
"""

from collections.abc import Sequence

from libs.common.messages import Quote
from libs.domain.money import PRICE_ONE_E4
from services.risk.sizing.book import EventBook, Way, rung_deviation
from services.risk.sizing.chain import (
    CORRELATION_VAR,
    FACTOR_VAR,
    FAMILY_LOSS,
    KELLY,
    LOSS_BUDGET,
    PAL,
    kelly_fraction,
    scale_fraction,
)
from services.risk.sizing.growth import WHOLE, growth_counts
from services.risk.sizing.outcomes import Atoms
from services.risk.sizing.policy import KellyPolicy, SizingPolicy
from services.risk.sizing.portfolio import Room, scaled

UNLIMITED_E2 = 10**13
EDGE_MIN = 1e-6
"""An edge of 0.01 contract below this, in micro-dollars, is the rounding of floats."""
LOSSES = (KELLY, PAL, FACTOR_VAR, FAMILY_LOSS, CORRELATION_VAR, LOSS_BUDGET)
"""The steps that limit losses, in the order of the chain."""


class Field:
    """The event's outcomes with the quotes in them; raises KeyError for a quote of no rung.

    `chances` are those that a quote wins, `deviations` σ of what 0.01 contract of it pays.
    """

    def __init__(
        self, atoms: Atoms, masses: Sequence[float], book: EventBook, quotes: Sequence[Quote]
    ) -> None:
        self.atoms, self.masses, self.quotes = atoms, masses, quotes
        self.ways = book.ways(atoms, quotes)
        self.loss_e6 = book.loss_e6(atoms)
        self.deviation = book.deviation(atoms, masses)
        # Alternatives on a quote's own market and side are replaced by it.
        self.gains_e6 = book.gains_e6(atoms, {way.key for way in self.ways})
        chances = [one.probability for one in quotes]
        self.deviations = [rung_deviation(chance) for chance in chances]
        self.chances = [
            chance if way.column == way.rung else 1.0 - chance
            for way, chance in zip(self.ways, chances, strict=True)
        ]

    def within_kelly(
        self, policy: KellyPolicy, multiplier: float, most_e2: Sequence[int]
    ) -> list[int]:
        """Return the growth-optimal count of each quote alone, looked for up to `most_e2`.

        These are within Kelly's largest fraction.
        """
        wealth_e6 = kelly_wealth_e6(policy, multiplier)
        start_e6 = [wealth_e6 + gain_e6 for gain_e6 in self.gains_e6]
        if min(start_e6) <= 0.0:
            return [0] * len(self.quotes)
        most_e2 = [
            most if chance * way.gain_e4 - (1.0 - chance) * way.cost_e4 > EDGE_MIN else 0
            for most, chance, way in zip(most_e2, self.chances, self.ways, strict=True)
        ]
        return growth_counts(self.atoms, self.masses, start_e6, self.ways, most_e2)

    def largest_fraction(self, policy: KellyPolicy) -> float | None:
        """Return the largest of the quotes' Kelly fractions by the plain formula, scaled."""
        if not self.quotes:
            return None
        best = max(
            [
                kelly_fraction(chance, stake_of(quote))
                for chance, quote in zip(self.chances, self.quotes, strict=True)
            ]
        )
        return scale_fraction(best, policy.uncertainty, policy.imbalance, policy.fraction_max)


def stake_of(quote: Quote) -> float:
    """Return what a contract costs, in dollars and without its fee."""
    price = quote.price_e4 / PRICE_ONE_E4
    return price if quote.side == "bid" else 1.0 - price


class Ceilings:
    """The steps in `LOSSES` under what the portfolio leaves and the regime's multiplier.

    Kelly's is that of its largest fraction: `within_kelly` is dearer and depends on more.
    """

    def __init__(
        self, field: Field, family: str, room: Room, policy: SizingPolicy, multiplier: float
    ) -> None:
        self._field, self._family, self._room = field, family, room
        self._pal, self._multiplier = policy.pal, multiplier
        self._pal_e6 = scaled(policy.pal.family_e6.get(family, 0), multiplier)
        self._kelly_e6 = int(policy.kelly.fraction_max * kelly_wealth_e6(policy.kelly, multiplier))

    def of_all(self) -> list[tuple[int, ...]]:
        """Return the ceilings of every quote.

        A limit of the loss in all outcomes that an earlier one is at most as large as lowers
        nothing more, and counts as none.
        """
        kelly_e6 = least_e6 = self._kelly_e6
        limits_e6: list[int | None] = []
        for step in (FACTOR_VAR, FAMILY_LOSS, LOSS_BUDGET):
            limit_e6 = self._room.losses_e6[step]
            lowers = limit_e6 is not None and limit_e6 < least_e6
            limits_e6.append(limit_e6 if lowers else None)
            least_e6 = limit_e6 if limit_e6 is not None and lowers else least_e6
        factor_e6, family_e6, budget_e6 = limits_e6
        by_strike = self._family in self._pal.strikes_e6
        found: list[tuple[int, ...]] = []
        for way, deviation in zip(self._field.ways, self._field.deviations, strict=True):
            cost_e4, worst_e6 = way.cost_e4, way.worst_e6
            pal_e6 = self._strike_e6(way) if by_strike else self._pal_e6
            pal_e6 -= way.market_loss_e6 + way.excess_e6
            found.append(
                (
                    (kelly_e6 - worst_e6) // cost_e4 if kelly_e6 > worst_e6 else 0,
                    pal_e6 // cost_e4 if pal_e6 > 0 else 0,
                    UNLIMITED_E2 if factor_e6 is None else _within(factor_e6, worst_e6, cost_e4),
                    UNLIMITED_E2 if family_e6 is None else _within(family_e6, worst_e6, cost_e4),
                    self._within_correlation(way, deviation),
                    UNLIMITED_E2 if budget_e6 is None else _within(budget_e6, worst_e6, cost_e4),
                )
            )
        return found

    def _strike_e6(self, way: Way) -> int:
        strike = self._field.atoms.strikes[way.rung]
        return scaled(self._pal.limit_e6(self._family, strike), self._multiplier)

    def _within_correlation(self, way: Way, deviation: float) -> int:
        """Return what σ of family and portfolio and the tilts leave of a quote."""
        room, found = self._room, UNLIMITED_E2
        if deviation > 0.0:
            left = room.deviation - (self._field.deviation - way.standing_e2 * deviation)
            found = int(min(left / deviation, UNLIMITED_E2) + WHOLE) if left > 0.0 else 0
        if way.low_e6 is not None and room.low_e6 is not None:
            found = min(found, _within(room.low_e6, way.low_e6, way.cost_e4))
        if way.high_e6 is not None and room.high_e6 is not None:
            found = min(found, _within(room.high_e6, way.high_e6, way.cost_e4))
        return found


def _within(limit_e6: int, lost_e6: int, cost_e4: int) -> int:
    """Return the most of a quote with which a loss does not pass a limit."""
    return (limit_e6 - lost_e6) // cost_e4 if limit_e6 > lost_e6 else 0


def kelly_wealth_e6(policy: KellyPolicy, multiplier: float) -> float:
    """Return the bankroll that Kelly's fraction is taken of, discounts taken off.

    A smaller bankroll and a smaller fraction are the same thing.
    """
    return policy.bankroll_e6 * (1.0 - policy.uncertainty) * (1.0 - policy.imbalance) * multiplier
