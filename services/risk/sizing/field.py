"""One proposal's quotes over the event's outcomes, and each step's ceiling for each of them alone.

A ceiling is the most of one quote that a step allows when no other quote is granted. It does not
depend on what was asked. Counts and money are integers; floats only where Kelly and σ are.
"""

from collections.abc import Sequence

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from libs.common.messages import Quote
from libs.domain.money import PRICE_ONE_E4
from services.risk.sizing.book import EventBook, Fee, Open, cost_of, rung_deviation
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
from services.risk.sizing.outcomes import Atoms, Flags, Floats
from services.risk.sizing.policy import KellyPolicy, SizingPolicy
from services.risk.sizing.portfolio import Room, scaled
from services.risk.sizing.reservations import Key, directed_e2

Counts = NDArray[np.int64]
UNLIMITED_E2 = 10**13
ROOT_STEPS = 40
EDGE_MIN = 1e-6
"""An edge of 0.01 contract below this, in micro-dollars, is the rounding of floats."""
WHOLE = 1e-6
"""A float count within this of the next whole one is that one."""


class Candidate(Struct, frozen=True):
    """One quote with what it costs and wins per 0.01 contract, and what already may fill there.

    `spare_e6` of the alternatives' worst is cheaper than the new quote's: see `Open.excess_e6`.
    """

    quote: Quote
    key: Key
    rung: int
    cost_e4: int
    gain_e4: int
    deviation: float
    standing_e6: int
    standing_e2: int
    excess_e6: int
    market_loss_e6: int
    held_e2: int
    position_e2: int

    @property
    def free_e2(self) -> int:
        """Return how much of the quote costs nothing beyond what already may fill."""
        return min(self.standing_e2, max(0, self.standing_e6 - self.excess_e6) // self.cost_e4)

    @property
    def edge(self) -> float:
        """Return the expected gain of 0.01 contract, in micro-dollars."""
        chance = self.quote.probability if self.key[1] == "bid" else 1.0 - self.quote.probability
        return chance * self.gain_e4 - (1.0 - chance) * self.cost_e4


def candidate_of(quote: Quote, atoms: Atoms, book: EventBook, fee: Fee) -> Candidate:
    """Return a quote with its costs; raises KeyError for a market that the ladder doesn't name."""
    key: Key = (quote.ticker, quote.side)
    opened = book.open.get(key, Open())
    cost_e4 = cost_of(quote.side, quote.price_e4, fee)
    fee_e4 = fee(quote.price_e4)
    won_e4 = PRICE_ONE_E4 - quote.price_e4 if quote.side == "bid" else quote.price_e4
    position_e2 = book.held_e2(quote.ticker)
    return Candidate(
        quote=quote,
        key=key,
        rung=atoms.rung_of[quote.ticker],
        cost_e4=cost_e4,
        gain_e4=won_e4 - fee_e4,
        deviation=rung_deviation(quote.probability),
        standing_e6=opened.worst_e6,
        standing_e2=opened.count_e2,
        excess_e6=opened.excess_e6(cost_e4),
        market_loss_e6=book.market_loss_e6(key),
        held_e2=directed_e2(quote.side, position_e2) + opened.unknown_e2,
        position_e2=position_e2,
    )


class Field:
    """The event's outcomes with the candidates in them."""

    def __init__(
        self, atoms: Atoms, masses: Floats, book: EventBook, candidates: Sequence[Candidate]
    ) -> None:
        self.atoms, self.masses, self.candidates = atoms, masses, tuple(candidates)
        pays = atoms.pays[:, [one.rung for one in candidates]]
        bids = np.array([one.key[1] == "bid" for one in candidates], dtype=np.bool_)
        self.loses: Flags = pays != bids
        self.loss_e6 = book.loss_e6(atoms)
        self.deviation = book.deviation(atoms, masses)
        keys = {one.key for one in candidates}
        beside = {
            key: one.unknown_e6 + (0 if key in keys else one.worst_e6)
            for key, one in book.open.items()
        }
        # Alternatives on a candidate's own market and side are replaced by it.
        self.gains_e6 = book.inventory_e6(atoms) - book.open_loss_e6(atoms, beside)
        self.cost_e4 = self._column("cost_e4")
        self.standing_e6 = self._column("standing_e6")
        self.excess_e6 = self._column("excess_e6")

    def _column(self, name: str) -> Counts:
        return np.array([getattr(one, name) for one in self.candidates], dtype=np.int64)

    def payoffs(self) -> Floats:
        """Return what 0.01 contract of each candidate brings by outcome, (atoms, candidates)."""
        return np.where(self.loses, -self.cost_e4, self._column("gain_e4")).astype(np.float64)

    def within_loss(self, limit_e6: int | None, where: Flags | None = None) -> Counts:
        """Return the most of each candidate with which no outcome loses more than the limit."""
        if limit_e6 is None:
            return np.full(len(self.candidates), UNLIMITED_E2, dtype=np.int64)
        loses = self.loses if where is None else self.loses & where[:, None]
        floor = np.iinfo(np.int64).min // 2
        worst_e6 = np.where(loses, self.loss_e6[:, None], floor).max(axis=0) - self.standing_e6
        # A gain that is locked in does not raise the limit.
        room_e6 = limit_e6 - np.maximum(worst_e6, 0) - self.excess_e6
        found = np.maximum(room_e6, 0) // self.cost_e4
        return np.where(loses.any(axis=0), found, UNLIMITED_E2)

    def within_kelly(self, policy: KellyPolicy, multiplier: float) -> Counts:
        """Return the growth-optimal count of each candidate alone, within Kelly's fraction."""
        wealth_e6 = kelly_wealth_e6(policy, multiplier)
        most = self.within_loss(int(policy.fraction_max * wealth_e6))
        start = self.gains_e6.astype(np.float64) + wealth_e6
        if not self.candidates or float(start.min()) <= 0.0:
            return np.zeros(len(self.candidates), dtype=np.int64)
        edges = np.array([one.edge for one in self.candidates])
        most[edges <= EDGE_MIN] = 0
        return largest_growth(self.masses, start, self.payoffs(), most)

    def within_pal(self, family: str, policy: SizingPolicy, multiplier: float) -> Counts:
        """Return what the maximum loss of each candidate's strike leaves."""
        limits_e6 = np.array(
            [
                scaled(policy.pal.limit_e6(family, self.atoms.strikes[one.rung]), multiplier)
                for one in self.candidates
            ],
            dtype=np.int64,
        )
        room_e6 = limits_e6 - np.maximum(self._column("market_loss_e6"), 0) - self.excess_e6
        found: Counts = np.maximum(room_e6, 0) // self.cost_e4
        return found

    def within_correlation(self, room: Room) -> Counts:
        """Return what σ of family and portfolio and the tilts leave."""
        deviations = np.array([one.deviation for one in self.candidates])
        standing = self._column("standing_e2") * deviations
        left = np.maximum(room.deviation - (self.deviation - standing), 0.0)
        found = np.full(len(self.candidates), UNLIMITED_E2, dtype=np.int64)
        moving = deviations > 0.0
        capped = np.minimum(left[moving] / deviations[moving], float(UNLIMITED_E2))
        found[moving] = (capped + WHOLE).astype(np.int64)
        for atom, limit_e6 in ((0, room.low_e6), (-1, room.high_e6)):
            where = np.zeros(len(self.loss_e6), dtype=np.bool_)
            where[atom] = True
            found = np.minimum(found, self.within_loss(limit_e6, where))
        return found

    def ceilings(
        self, family: str, room: Room, policy: SizingPolicy, multiplier: float
    ) -> dict[str, Counts]:
        """Return the ceilings of the steps that limit losses, in the order of the chain."""
        return {
            KELLY: self.within_kelly(policy.kelly, multiplier),
            PAL: self.within_pal(family, policy, multiplier),
            FACTOR_VAR: self.within_loss(room.losses_e6[FACTOR_VAR]),
            FAMILY_LOSS: self.within_loss(room.losses_e6[FAMILY_LOSS]),
            CORRELATION_VAR: self.within_correlation(room),
            LOSS_BUDGET: self.within_loss(room.losses_e6[LOSS_BUDGET]),
        }

    def fractions(self, policy: KellyPolicy) -> list[float]:
        """Return Kelly's scaled fraction of each candidate by the plain formula."""
        found = []
        for one in self.candidates:
            bid = one.key[1] == "bid"
            chance = one.quote.probability if bid else 1.0 - one.quote.probability
            price_e4 = one.quote.price_e4 if bid else PRICE_ONE_E4 - one.quote.price_e4
            plain = kelly_fraction(chance, price_e4 / PRICE_ONE_E4)
            found.append(
                scale_fraction(plain, policy.uncertainty, policy.imbalance, policy.fraction_max)
            )
        return found


def kelly_wealth_e6(policy: KellyPolicy, multiplier: float) -> float:
    """Return the bankroll that Kelly's fraction is taken of, discounts taken off.

    A smaller bankroll and a smaller fraction are the same thing.
    """
    return policy.bankroll_e6 * (1.0 - policy.uncertainty) * (1.0 - policy.imbalance) * multiplier


def largest_growth(masses: Floats, wealth: Floats, payoffs: Floats, most: Counts) -> Counts:
    """Return for each column alone the whole count that maximises Σ q·log(w + x·g), up to `most`.

    Wealth is positive where counts are within `most`. Newton's steps within a shrinking bracket.
    """
    found = most.copy()
    slope = _growth_slope(masses, wealth, payoffs, most.astype(np.float64))
    places = np.flatnonzero((slope < 0.0) & (most > 0))
    if not len(places):
        return found
    gains = payoffs[:, places]
    low, high = np.zeros(len(places)), most[places].astype(np.float64)
    at = low.copy()
    for _ in range(ROOT_STEPS):
        weights = masses[:, None] * gains / (wealth[:, None] + at * gains)
        slope = weights.sum(axis=0)
        bend = (weights * gains / (wealth[:, None] + at * gains)).sum(axis=0)
        low, high = np.where(slope >= 0.0, at, low), np.where(slope < 0.0, at, high)
        step = at + slope / bend
        inside = (step > low) & (step < high)
        fresh = np.where(inside, step, (low + high) / 2.0)
        if float(np.abs(fresh - at).max()) < WHOLE / 100:
            break
        at = fresh
    found[places] = (np.maximum(at, 0.0) + WHOLE).astype(np.int64)
    found[places[_growth_slope(masses, wealth, gains, low * 0.0) <= 0.0]] = 0
    return np.minimum(found, most)


def _growth_slope(masses: Floats, wealth: Floats, payoffs: Floats, counts: Floats) -> Floats:
    slope: Floats = (masses[:, None] * payoffs / (wealth[:, None] + counts * payoffs)).sum(axis=0)
    return slope
