"""What one event could lose, outcome by outcome, with everything open at its worst.

Losses are integers of micro-dollars. An order or allowance that may fill counts where it loses and
not where it gains, so the worst case holds whatever subset of them fills.
"""

from collections.abc import Callable, Mapping, Sequence
from math import sqrt

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from libs.common.messages import Side
from libs.common.own_orders import OwnOrders
from libs.domain.money import PRICE_ONE_E4
from services.risk.sizing.outcomes import Atoms, Floats
from services.risk.sizing.reservations import Allowance, Key, directed_e2

Money = NDArray[np.int64]
Fee = Callable[[int], int]
"""The fee of 0.01 contract at a price, in micro-dollars, rounded up."""


class Level(Struct, frozen=True):
    """So many may fill, each 0.01 contract losing `cost_e4` micro-dollars where it loses."""

    cost_e4: int
    count_e2: int


class Open(Struct, frozen=True):
    """What may still fill on one market and side; make it with `open_of`.

    `levels` are alternatives: one of them fills, or a part of one and then of another. What is
    unknown adds to them: nobody knows whether it rests.
    """

    levels: tuple[Level, ...] = ()
    worst_e6: int = 0
    count_e2: int = 0
    unknown_e6: int = 0
    unknown_e2: int = 0

    def excess_e6(self, cost_e4: int) -> int:
        """Return what the alternatives could cost beyond so much a piece, before a new one holds.

        The worst of all with x more at that cost is at most x·cost plus this, or their own worst.
        """
        dearer = [
            Level(level.cost_e4 - cost_e4, level.count_e2)
            for level in self.levels
            if level.cost_e4 > cost_e4
        ]
        return worst_of(dearer)


def open_of(levels: Sequence[Level], unknown: Sequence[Level]) -> Open:
    """Return what alternatives and orders of unknown outcome come to."""
    return Open(
        levels=tuple(levels),
        worst_e6=worst_of(levels),
        count_e2=max([level.count_e2 for level in levels], default=0),
        unknown_e6=sum([level.cost_e4 * level.count_e2 for level in unknown]),
        unknown_e2=sum([level.count_e2 for level in unknown]),
    )


def worst_of(levels: Sequence[Level]) -> int:
    """Return the most that alternatives lose: the dearest first, then what others allow beyond."""
    if len(levels) < 2:
        return levels[0].cost_e4 * levels[0].count_e2 if levels else 0
    reached_e2 = loss_e6 = 0
    for level in sorted(levels, key=lambda one: -one.cost_e4):
        if level.count_e2 > reached_e2:
            loss_e6 += level.cost_e4 * (level.count_e2 - reached_e2)
            reached_e2 = level.count_e2
    return loss_e6


class Summary(Struct, frozen=True):
    """What an event adds to the portfolio; `low` and `high` are its outermost outcomes."""

    worst_e6: int = 0
    deviation: float = 0.0
    low_e6: int = 0
    high_e6: int = 0


class EventBook:
    """Positions and what may fill of one event at one time, ready for its ladder's outcomes."""

    def __init__(
        self,
        event_ticker: str,
        own: OwnOrders,
        allowances: Mapping[Key, list[Allowance]],
        fee: Fee,
    ) -> None:
        self.positions = {
            ticker: position
            for ticker in own.tickers(event_ticker)
            if (position := own.position(ticker)).count_e2 or position.cash_e6
        }
        self.open = self._gather(event_ticker, own, allowances, fee)
        self._inventory: tuple[Atoms, Money] | None = None

    @property
    def empty(self) -> bool:
        """Return whether nothing is held and nothing may fill."""
        return not self.positions and not self.open

    def _gather(
        self,
        event_ticker: str,
        own: OwnOrders,
        allowances: Mapping[Key, list[Allowance]],
        fee: Fee,
    ) -> dict[Key, Open]:
        resting: dict[Key, Level] = {}
        unknown: dict[Key, list[Level]] = {}
        for order in own.open_orders(event_ticker):
            key: Key = (order.ticker, order.side)
            level = Level(cost_of(order.side, order.price_e4, fee), order.remaining_e2)
            if order.state == "unknown":
                unknown.setdefault(key, []).append(level)
            elif (known := resting.get(key)) is None:
                resting[key] = level
            else:  # two of them add up, at the dearer's price
                dearer_e4 = max(known.cost_e4, level.cost_e4)
                resting[key] = Level(dearer_e4, known.count_e2 + level.count_e2)
        found: dict[Key, Open] = {}
        for key in {**resting, **unknown, **allowances}:
            held_e2 = directed_e2(key[1], self.held_e2(key[0]))
            levels = [
                Level(cost_of(key[1], one.price_e4, fee), one.reach_e2 - held_e2)
                for one in allowances.get(key, ())
                if one.reach_e2 > held_e2
            ]
            if key in resting:
                levels.append(resting[key])
            if levels or key in unknown:
                found[key] = open_of(levels, unknown.get(key, ()))
        return found

    def held_e2(self, ticker: str) -> int:
        """Return the position of a market, YES positive."""
        position = self.positions.get(ticker)
        return position.count_e2 if position else 0

    def inventory_e6(self, atoms: Atoms) -> Money:
        """Return what the positions gain in each outcome, shape (atoms,).

        A market that the ladder doesn't name gains its worst.
        """
        if self._inventory is not None and self._inventory[0] is atoms:
            return self._inventory[1]
        counts, cash_e6 = np.zeros(atoms.pays.shape[1], np.int64), 0
        for ticker, position in self.positions.items():
            rung = atoms.rung_of.get(ticker)
            if rung is None:
                cash_e6 -= position.worst_loss_e6()
            else:
                counts[rung] += position.count_e2
                cash_e6 += position.cash_e6
        gains: Money = atoms.paying @ (counts * PRICE_ONE_E4) + cash_e6
        self._inventory = atoms, gains
        return gains

    def open_loss_e6(self, atoms: Atoms, amounts: Mapping[Key, int]) -> Money:
        """Return what amounts by market and side lose in each outcome, shape (atoms,)."""
        if_paid, always = np.zeros(atoms.pays.shape[1], np.int64), 0
        for (ticker, side), amount_e6 in amounts.items():
            rung = atoms.rung_of.get(ticker)
            if rung is None:
                always += amount_e6
            elif side == "bid":
                always += amount_e6
                if_paid[rung] -= amount_e6
            else:
                if_paid[rung] += amount_e6
        found: Money = atoms.paying @ if_paid + always
        return found

    def loss_e6(self, atoms: Atoms) -> Money:
        """Return the worst loss in each outcome, negative where it gains, shape (atoms,)."""
        worst = {key: one.worst_e6 + one.unknown_e6 for key, one in self.open.items()}
        return self.open_loss_e6(atoms, worst) - self.inventory_e6(atoms)

    def deviation(self, atoms: Atoms, masses: Floats | None) -> float:
        """Return the most that σ of the event's profit can be, whatever fills.

        Without probabilities each market is taken to be as uncertain as can be.
        """
        gains = self.inventory_e6(atoms).astype(np.float64)
        if masses is None:
            held = float(gains.max() - gains.min()) / 2.0
        else:
            mean = float(masses @ gains)
            held = float(np.sqrt(masses @ (gains - mean) ** 2))
        chances = (
            [0.5] * atoms.pays.shape[1] if masses is None else (masses @ atoms.paying).tolist()
        )
        for (ticker, _), one in self.open.items():
            rung = atoms.rung_of.get(ticker)
            chance = 0.5 if rung is None else chances[rung]
            held += (one.count_e2 + one.unknown_e2) * rung_deviation(chance)
        return held

    def summary(self, atoms: Atoms | None, masses: Floats | None) -> Summary:
        """Return what the event adds to the portfolio; without a ladder nothing offsets."""
        if self.empty:
            return Summary()
        if atoms is None:
            worst_e6 = sum(one.worst_loss_e6() for one in self.positions.values())
            worst_e6 += sum(one.worst_e6 + one.unknown_e6 for one in self.open.values())
            counts_e2 = sum(abs(one.count_e2) for one in self.positions.values())
            counts_e2 += sum(one.count_e2 + one.unknown_e2 for one in self.open.values())
            return Summary(worst_e6, counts_e2 * rung_deviation(0.5), worst_e6, worst_e6)
        loss_e6 = self.loss_e6(atoms)
        return Summary(
            max(0, int(loss_e6.max())),
            self.deviation(atoms, masses),
            max(0, *(int(loss_e6[atom]) for atom in atoms.low)),
            max(0, *(int(loss_e6[atom]) for atom in atoms.high)),
        )


def cost_of(side: Side, price_e4: int, fee: Fee) -> int:
    """Return what 0.01 contract loses where it loses, in micro-dollars, its fee included."""
    return (price_e4 if side == "bid" else PRICE_ONE_E4 - price_e4) + fee(price_e4)


def rung_deviation(chance: float) -> float:
    """Return σ of what 0.01 contract pays, in micro-dollars."""
    return PRICE_ONE_E4 * sqrt(max(0.0, chance * (1.0 - chance)))
