"""One proposal's quotes over the event's outcomes, and each step's ceiling for each of them alone.

A ceiling is the most of one quote that a step allows when no other quote is granted. It does not
depend on what was asked. Counts and money are integers; floats only where Kelly and σ are.
"""

from collections.abc import Sequence

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from libs.common.messages import Quote
from libs.common.own_orders import Position
from libs.domain.money import PRICE_ONE_E4
from services.risk.sizing.book import EventBook, Fee
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
from services.risk.sizing.portfolio import Room
from services.risk.sizing.reservations import Key

Counts = NDArray[np.int64]
Places = NDArray[np.intp]
UNLIMITED_E2 = 10**13
ROOT_STEPS = 40
EDGE_MIN = 1e-6
"""An edge of 0.01 contract below this, in micro-dollars, is the rounding of floats."""
WHOLE = 1e-6
"""A float count within this of the next whole one is that one."""


class Candidate(Struct, frozen=True):
    """One quote with what it costs and wins per 0.01 contract, and what already may fill there.

    `excess_e6` is what the alternatives that stand could cost beyond it: see `Open.excess_e6`.
    """

    quote: Quote
    key: Key
    rung: int
    position_e2: int
    cost_e4: int
    gain_e4: int
    standing_e6: int
    standing_e2: int
    excess_e6: int
    market_loss_e6: int
    held_e2: int

    def numbers(self) -> tuple[int, ...]:
        """Return the columns of a field, in the order of `COLUMNS`."""
        return (
            self.quote.count_e2,
            self.cost_e4,
            self.gain_e4,
            self.standing_e6,
            self.standing_e2,
            self.excess_e6,
            self.market_loss_e6,
            self.held_e2,
        )


COLUMNS = 8
_BY_CANDIDATE = (
    "asked_e2",
    "bids",
    "chances",
    "cost_e4",
    "deviations",
    "excess_e6",
    "free_e2",
    "gain_e4",
    "held_e2",
    "market_loss_e6",
    "standing_e2",
    "standing_e6",
    "_worst_e6",
)
NOTHING_HELD = Position()


def candidate_of(quote: Quote, atoms: Atoms, book: EventBook, fee: Fee) -> Candidate:
    """Return a quote with its costs; raises KeyError for a market that the ladder doesn't name."""
    ticker, side, price_e4 = quote.ticker, quote.side, quote.price_e4
    key: Key = (ticker, side)
    opened = book.open.get(key)
    position = book.positions.get(ticker, NOTHING_HELD)
    fee_e4, count_e2 = fee(price_e4), position.count_e2
    if side == "bid":
        lost_e4, held_e2, loss_e6 = price_e4, count_e2, -position.cash_e6
    else:
        lost_e4, held_e2 = PRICE_ONE_E4 - price_e4, -count_e2
        loss_e6 = -position.cash_e6 - count_e2 * PRICE_ONE_E4
    cost_e4, gain_e4 = lost_e4 + fee_e4, PRICE_ONE_E4 - lost_e4 - fee_e4
    rung = atoms.rung_of[ticker]
    if opened is None:
        return Candidate(quote, key, rung, count_e2, cost_e4, gain_e4, 0, 0, 0, loss_e6, held_e2)
    return Candidate(
        quote,
        key,
        rung,
        count_e2,
        cost_e4,
        gain_e4,
        opened.worst_e6,
        opened.count_e2,
        opened.excess_e6(cost_e4),
        loss_e6 + opened.unknown_e6,
        held_e2 + opened.unknown_e2,
    )


class Field:
    """The event's outcomes with the candidates in them."""

    def __init__(
        self, atoms: Atoms, masses: Floats, book: EventBook, candidates: Sequence[Candidate]
    ) -> None:
        self.atoms, self.masses, self.candidates = atoms, masses, tuple(candidates)
        rungs = [one.rung for one in candidates]
        self.bids = np.array([one.key[1] == "bid" for one in candidates], dtype=np.bool_)
        self.loses: Flags = atoms.pays[:, rungs] != self.bids
        self.loss_e6 = book.loss_e6(atoms)
        self.deviation = book.deviation(atoms, masses)
        keys = {one.key for one in candidates}
        beside = {
            key: one.unknown_e6 + (0 if key in keys else one.worst_e6)
            for key, one in book.open.items()
        }
        # Alternatives on a candidate's own market and side are replaced by it.
        self.gains_e6 = book.inventory_e6(atoms) - book.open_loss_e6(atoms, beside)
        table = np.array([one.numbers() for one in candidates], dtype=np.int64)
        (
            self.asked_e2,
            self.cost_e4,
            self.gain_e4,
            self.standing_e6,
            self.standing_e2,
            self.excess_e6,
            self.market_loss_e6,
            self.held_e2,
        ) = table.reshape(-1, COLUMNS).T
        chances = np.array([one.quote.probability for one in candidates])
        self.deviations = PRICE_ONE_E4 * np.sqrt(chances * (1.0 - chances))
        self.chances = np.where(self.bids, chances, 1.0 - chances)
        self.free_e2 = np.minimum(
            self.standing_e2, np.maximum(0, self.standing_e6 - self.excess_e6) // self.cost_e4
        )
        """How much of a quote costs nothing beyond what already may fill."""
        self._worst_e6 = self._worst_elsewhere()

    def only(self, places: Places) -> "Field":
        """Return the field of some of its candidates; what is beside them stays as it is."""
        part = Field.__new__(Field)
        part.__dict__.update(self.__dict__)
        part.candidates = tuple([self.candidates[place] for place in places.tolist()])
        part.loses = self.loses[:, places]
        for name in _BY_CANDIDATE:
            setattr(part, name, getattr(self, name)[places])
        return part

    def _worst_elsewhere(self) -> Counts:
        """Return the worst loss where each candidate loses, without what stands on its key."""
        floor = np.iinfo(np.int64).min // 2
        worst_e6 = np.where(self.loses, self.loss_e6[:, None], floor).max(axis=0)
        # A gain that is locked in does not raise the limit.
        found: Counts = np.maximum(worst_e6 - self.standing_e6, 0)
        return found

    def payoffs(self) -> Floats:
        """Return what 0.01 contract of each candidate brings by outcome, (atoms, candidates)."""
        return np.where(self.loses, -self.cost_e4, self.gain_e4).astype(np.float64)

    def within_loss(self, limit_e6: int | None) -> Counts:
        """Return the most of each candidate with which no outcome loses more than the limit."""
        if limit_e6 is None:
            return self._unlimited()
        found: Counts = np.maximum(limit_e6 - self._worst_e6 - self.excess_e6, 0) // self.cost_e4
        return found

    def within_tilt(self, limit_e6: int, atom: int) -> Counts:
        """Return the most of each candidate with which one outcome loses at most the limit."""
        here_e6 = np.maximum(self.loss_e6[atom] - self.standing_e6, 0)
        room_e6 = np.maximum(limit_e6 - here_e6 - self.excess_e6, 0)
        return np.where(self.loses[atom], room_e6 // self.cost_e4, UNLIMITED_E2)

    def _unlimited(self) -> Counts:
        return np.full(len(self.candidates), UNLIMITED_E2, dtype=np.int64)

    def within_fraction(self, policy: KellyPolicy, multiplier: float) -> Counts:
        """Return the most of each candidate that Kelly's largest fraction lets the event lose."""
        return self.within_loss(int(policy.fraction_max * kelly_wealth_e6(policy, multiplier)))

    def within_kelly(self, policy: KellyPolicy, multiplier: float, most_e2: Counts) -> Counts:
        """Return the growth-optimal count of each candidate alone, looked for up to `most_e2`."""
        wealth_e6 = kelly_wealth_e6(policy, multiplier)
        most = np.minimum(self.within_fraction(policy, multiplier), most_e2)
        start = self.gains_e6.astype(np.float64) + wealth_e6
        if float(start.min()) <= 0.0:
            return np.zeros(len(self.candidates), dtype=np.int64)
        edges = self.chances * self.gain_e4 - (1.0 - self.chances) * self.cost_e4
        most[edges <= EDGE_MIN] = 0
        return largest_growth(self.masses, start, self.payoffs(), most)

    def within_pal(self, family: str, policy: SizingPolicy, multiplier: float) -> Counts:
        """Return what the maximum loss of each candidate's strike leaves."""
        strikes, pal = self.atoms.strikes, policy.pal
        limits_e6 = np.full(len(self.candidates), pal.family_e6.get(family, 0), dtype=np.int64)
        if family in pal.strikes_e6:
            limits_e6[:] = [pal.limit_e6(family, strikes[one.rung]) for one in self.candidates]
        if multiplier != 1.0:
            limits_e6 = np.floor(limits_e6 * multiplier).astype(np.int64)
        room_e6 = limits_e6 - np.maximum(self.market_loss_e6, 0) - self.excess_e6
        found: Counts = np.maximum(room_e6, 0) // self.cost_e4
        return found

    def within_correlation(self, room: Room) -> Counts:
        """Return what σ of family and portfolio and the tilts leave."""
        standing = self.standing_e2 * self.deviations
        left = np.maximum(room.deviation - (self.deviation - standing), 0.0)
        found = self._unlimited()
        moving = self.deviations > 0.0
        capped = np.minimum(left[moving] / self.deviations[moving], float(UNLIMITED_E2))
        found[moving] = (capped + WHOLE).astype(np.int64)
        for atom, limit_e6 in tilts(self.atoms, room):
            found = np.minimum(found, self.within_tilt(limit_e6, atom))
        return found

    def ceilings(
        self, family: str, room: Room, policy: SizingPolicy, multiplier: float
    ) -> dict[str, Counts]:
        """Return the ceilings of the steps that limit losses, in the order of the chain.

        Kelly's is that of its largest fraction: `within_kelly` is dearer and depends on more.
        """
        return {
            KELLY: self.within_fraction(policy.kelly, multiplier),
            PAL: self.within_pal(family, policy, multiplier),
            FACTOR_VAR: self.within_loss(room.losses_e6[FACTOR_VAR]),
            FAMILY_LOSS: self.within_loss(room.losses_e6[FAMILY_LOSS]),
            CORRELATION_VAR: self.within_correlation(room),
            LOSS_BUDGET: self.within_loss(room.losses_e6[LOSS_BUDGET]),
        }

    def largest_fraction(self, policy: KellyPolicy) -> float | None:
        """Return the largest of the candidates' Kelly fractions by the plain formula, scaled."""
        if not self.candidates:
            return None
        prices = np.array([one.quote.price_e4 for one in self.candidates]) / PRICE_ONE_E4
        stakes = np.where(self.bids, prices, 1.0 - prices)
        best = float(kelly_fraction(self.chances, stakes).max())
        return scale_fraction(best, policy.uncertainty, policy.imbalance, policy.fraction_max)


def tilts(atoms: Atoms, room: Room) -> list[tuple[int, int]]:
    """Return the outermost atoms with what the event may lose there."""
    sides = ((atoms.low, room.low_e6), (atoms.high, room.high_e6))
    return [(atom, limit) for ends, limit in sides if limit is not None for atom in ends]


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
        inverse = gains / (wealth[:, None] + at * gains)
        slope, bend = masses @ inverse, masses @ (inverse * inverse)
        step = slope / bend
        if float(np.abs(step).max()) < WHOLE / 100:
            break
        low, high = np.where(slope >= 0.0, at, low), np.where(slope < 0.0, at, high)
        fresh = at + step
        inside = (fresh > low) & (fresh < high)
        at = np.where(inside | (np.abs(step) < WHOLE / 100), fresh, (low + high) / 2.0)
    found[places] = (np.maximum(at, 0.0) + WHOLE).astype(np.int64)
    return np.minimum(found, most)


def _growth_slope(masses: Floats, wealth: Floats, payoffs: Floats, counts: Floats) -> Floats:
    slope: Floats = masses @ (payoffs / (wealth[:, None] + counts * payoffs))
    return slope
