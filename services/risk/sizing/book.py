"""What one event could lose, outcome by outcome, with everything open at its worst.

Losses are integers of micro-dollars. An order or allowance that may fill counts where it loses and
not where it gains, so the worst case holds whatever subset of them fills.
"""

from collections.abc import Callable, Container, Mapping, Sequence
from math import sqrt
from operator import add, mul, sub

from msgspec import Struct

from libs.common.messages import Quote, Side
from libs.common.own_orders import OwnOrders, Position
from libs.domain.money import PRICE_ONE_E4
from services.risk.sizing.outcomes import Atoms
from services.risk.sizing.reservations import Allowance, Key, directed_e2

Fee = Callable[[int], int]
"""The fee of 0.01 contract at a price, in micro-dollars, rounded up."""


class Level(Struct, frozen=True, gc=False):
    """So many may fill, each 0.01 contract losing `cost_e4` micro-dollars where it loses."""

    cost_e4: int
    count_e2: int


class Open(Struct, frozen=True, gc=False):
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


class Way(Struct, frozen=True, kw_only=True, gc=False):
    """What 0.01 contract of a quote costs where it loses and gains where it wins, and what may
    fill there now.

    `standing` are the alternatives on its market and side, which it replaces, `excess_e6` what
    they could cost beyond it (`Open.excess_e6`), and `free_e2` how much of it costs nothing beyond
    them. `market_loss_e6` is what its market may lose without them, `held_e2` how much is held in
    its direction, what is unknown with it. `worst_e6` is the event's worst loss where it loses,
    `low_e6` and `high_e6` that in the outermost outcomes if it loses there: before it costs
    anything, what stands replaced.
    """

    key: Key
    column: int
    rung: int
    cost_e4: int
    gain_e4: int
    standing_e6: int
    standing_e2: int
    excess_e6: int
    free_e2: int
    market_loss_e6: int
    held_e2: int
    position_e2: int
    worst_e6: int
    low_e6: int | None
    high_e6: int | None

    def more_e6(self, count_e2: int) -> int:
        """Return what a count could lose beyond what stands."""
        if count_e2 <= 0:
            return 0
        return max(0, count_e2 * self.cost_e4 + self.excess_e6 - self.standing_e6)


def open_of(levels: Sequence[Level], unknown: Sequence[Level]) -> Open:
    """Return what alternatives and orders of unknown outcome come to."""
    if len(levels) == 1 and not unknown:
        (one,) = levels
        return Open((one,), one.cost_e4 * one.count_e2, one.count_e2)
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


class Summary(Struct, frozen=True, gc=False):
    """What an event adds to the portfolio; `low` and `high` are its outermost outcomes."""

    worst_e6: int = 0
    deviation: float = 0.0
    low_e6: int = 0
    high_e6: int = 0


NOTHING = Summary()
NOTHING_HELD = Position()
NOTHING_OPEN = Open()


class EventBook:
    """Positions and what may fill of one event at one time, ready for its ladder's outcomes."""

    def __init__(
        self,
        event_ticker: str,
        own: OwnOrders,
        allowances: Mapping[Key, list[Allowance]],
        fee: Fee,
    ) -> None:
        self.positions = own.positions(event_ticker)
        self.open = self._gather(event_ticker, own, allowances, fee)
        self._of: Atoms | None = None
        self._inventory_e6: list[int] = []
        self._loss_e6: list[int] = []
        self._worst_e6: list[int] = []
        self._ways: dict[tuple[str, Side, int], Way] = {}
        self._fee = fee

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
            levels: list[Level] = []
            if key in allowances:
                held_e2 = directed_e2(key[1], self.held_e2(key[0]))
                levels += [
                    Level(cost_of(key[1], one.price_e4, fee), one.reach_e2 - held_e2)
                    for one in allowances[key]
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

    def inventory_e6(self, atoms: Atoms) -> list[int]:
        """Return what the positions gain in each outcome.

        A market that the ladder doesn't name gains its worst.
        """
        self._work_out(atoms)
        return self._inventory_e6

    def loss_e6(self, atoms: Atoms) -> list[int]:
        """Return the worst loss in each outcome, negative where it gains."""
        self._work_out(atoms)
        return self._loss_e6

    def _work_out(self, atoms: Atoms) -> None:
        """Find gains and losses by outcome, once for each ladder."""
        if self._of is atoms:
            return
        owed: list[tuple[int, int]] = []  # what a YES pays, an ask of it loses
        cash_e6 = 0
        for ticker, position in self.positions.items():
            rung = atoms.rung_of.get(ticker)
            if rung is None:
                cash_e6 -= position.worst_loss_e6()
            else:
                owed.append((rung + atoms.rungs, position.count_e2 * PRICE_ONE_E4))
                cash_e6 += position.cash_e6
        self._inventory_e6 = atoms.lost(owed, cash_e6)
        worst = {key: one.worst_e6 + one.unknown_e6 for key, one in self.open.items()}
        self._loss_e6 = list(map(sub, open_loss_e6(atoms, worst), self._inventory_e6))
        self._worst_e6 = atoms.where_lost(self._loss_e6, max)
        self._ways.clear()
        self._of = atoms

    def ways(self, atoms: Atoms, quotes: Sequence[Quote]) -> list[Way]:
        """Return what quotes cost here; raises KeyError for a market of no rung."""
        self._work_out(atoms)
        known, found = self._ways, []
        for quote in quotes:
            key = (quote.ticker, quote.side, quote.price_e4)
            way = known.get(key)
            if way is None:
                way = known[key] = self._way(atoms, key[:2], quote.price_e4)
            found.append(way)
        return found

    def _way(self, atoms: Atoms, key: Key, price_e4: int) -> Way:
        position = self.positions.get(key[0], NOTHING_HELD)
        opened = self.open.get(key, NOTHING_OPEN)
        rung, held_e2, loss_e6 = atoms.rung_of[key[0]], position.count_e2, -position.cash_e6
        column = rung
        if key[1] == "ask":
            column, held_e2 = rung + atoms.rungs, -held_e2
            loss_e6 += held_e2 * PRICE_ONE_E4
        cost_e4 = cost_of(key[1], price_e4, self._fee)
        standing_e6, standing_e2 = opened.worst_e6, opened.count_e2
        excess_e6 = opened.excess_e6(cost_e4) if opened.levels else 0
        free_e6 = standing_e6 - excess_e6
        low, high = (
            _beside(max([self._loss_e6[atom] for atom in lost]), standing_e6, excess_e6)
            if lost
            else None
            for lost in atoms.ends[column]
        )
        return Way(
            key=key,
            column=column,
            rung=rung,
            cost_e4=cost_e4,
            gain_e4=PRICE_ONE_E4 - cost_e4,
            standing_e6=standing_e6,
            standing_e2=standing_e2,
            excess_e6=excess_e6,
            free_e2=min(standing_e2, free_e6 // cost_e4) if free_e6 > 0 else 0,
            market_loss_e6=max(0, loss_e6 + opened.unknown_e6),
            held_e2=held_e2 + opened.unknown_e2,
            position_e2=position.count_e2,
            worst_e6=_beside(self._worst_e6[column], standing_e6, excess_e6),
            low_e6=low,
            high_e6=high,
        )

    def gains_e6(self, atoms: Atoms, replaced: Container[Key]) -> list[int]:
        """Return what the event gains in each outcome, what may fill taken at its worst.

        Alternatives on a market and side that is replaced do not count; what is unknown does.
        """
        beside = {
            key: amount_e6
            for key, one in self.open.items()
            if (amount_e6 := one.unknown_e6 + (0 if key in replaced else one.worst_e6))
        }
        inventory_e6 = self.inventory_e6(atoms)
        if not beside:
            return inventory_e6
        return list(map(sub, inventory_e6, open_loss_e6(atoms, beside)))

    def deviation(self, atoms: Atoms, masses: Sequence[float] | None) -> float:
        """Return the most that σ of the event's profit can be, whatever fills.

        Without probabilities each market is taken to be as uncertain as can be.
        """
        held = 0.0
        if self.positions:
            gains_e6 = self.inventory_e6(atoms)
            if masses is None:
                held = (max(gains_e6) - min(gains_e6)) / 2.0
            else:
                mean = sum(map(mul, masses, gains_e6))
                away = [gain - mean for gain in gains_e6]
                held = sqrt(sum(map(mul, masses, map(mul, away, away))))
        if not self.open:
            return held
        # A bid loses where its rung does not pay, so the masses there are the chance that it won't.
        misses = [] if masses is None else atoms.where_lost(masses, add)
        for (ticker, _), one in self.open.items():
            rung = atoms.rung_of.get(ticker)
            miss = 0.5 if rung is None or not misses else misses[rung]
            held += (one.count_e2 + one.unknown_e2) * rung_deviation(miss)
        return held

    def summary(self, atoms: Atoms | None, masses: Sequence[float] | None) -> Summary:
        """Return what the event adds to the portfolio; without a ladder nothing offsets."""
        if self.empty:
            return NOTHING
        if atoms is None:
            worst_e6 = sum(one.worst_loss_e6() for one in self.positions.values())
            worst_e6 += sum(one.worst_e6 + one.unknown_e6 for one in self.open.values())
            counts_e2 = sum(abs(one.count_e2) for one in self.positions.values())
            counts_e2 += sum(one.count_e2 + one.unknown_e2 for one in self.open.values())
            return Summary(worst_e6, counts_e2 * rung_deviation(0.5), worst_e6, worst_e6)
        loss_e6 = self.loss_e6(atoms)
        return Summary(
            max(0, *loss_e6),
            self.deviation(atoms, masses),
            max(0, *(loss_e6[atom] for atom in atoms.low)),
            max(0, *(loss_e6[atom] for atom in atoms.high)),
        )


def _beside(lost_e6: int, standing_e6: int, excess_e6: int) -> int:
    """Return what is lost beside a quote that replaces what stands.

    A gain that is locked in does not raise the limit.
    """
    return (lost_e6 - standing_e6 if lost_e6 > standing_e6 else 0) + excess_e6


def open_loss_e6(atoms: Atoms, amounts: Mapping[Key, int]) -> list[int]:
    """Return what amounts by market and side lose in each outcome."""
    known: list[tuple[int, int]] = []
    always_e6 = 0
    for (ticker, side), amount_e6 in amounts.items():
        rung = atoms.rung_of.get(ticker)
        if rung is None:
            always_e6 += amount_e6
        else:
            known.append((rung if side == "bid" else rung + atoms.rungs, amount_e6))
    return atoms.lost(known, always_e6)


def cost_of(side: Side, price_e4: int, fee: Fee) -> int:
    """Return what 0.01 contract loses where it loses, in micro-dollars, its fee included."""
    return (price_e4 if side == "bid" else PRICE_ONE_E4 - price_e4) + fee(price_e4)


def rung_deviation(chance: float) -> float:
    """Return σ of what 0.01 contract pays, in micro-dollars."""
    return PRICE_ONE_E4 * sqrt(max(0.0, chance * (1.0 - chance)))
