"""What became of each order: a ledger's messages folded into rows to fit and score on. Pure.

A spell is an order at one price, from the word that it rests to its end. It is cut into rows of at
most `ROW_S` seconds, each with what the pricer could see at its beginning: the same books, the same
fair value, the same function of them. Orders that never filled are rows like all others.
"""

import hashlib
from collections import Counter

import numpy as np
from msgspec import Struct

from libs.common.messages import (
    FairLadder,
    Fill,
    LadderDefined,
    LadderSnapshot,
    Message,
    OrderIntent,
    OrderUpdate,
    Provenance,
)
from libs.common.own_orders import OwnOrders
from libs.domain.eastern import NS_PER_MINUTE, NS_PER_S
from services.pricer.fills import FillState
from services.pricer.ladder import LadderRefused, PricedLadder
from services.pricer.quotes import attention_of, fill_state, participation

ROW_S = 15
MARKOUT_S = 30
"""A fill is judged by fair value this long after it, or by the last one of its event."""
LAST_S = 3
"""What ends so shortly before its target was cancelled by the clock, not pulled."""
PROVENANCES: tuple[Provenance, ...] = ("live", "replay", "synthetic")
"""From the most real to the least."""


class Row(Struct, frozen=True):
    """A stretch of a spell: its state at the beginning, minutes at risk, and the share filled.

    Minutes count for the share that still rests.
    """

    series: str
    event: str
    state: FillState
    minutes: float
    share: float


class OrderRow(Struct, frozen=True):
    """A whole spell: its state when the order was sent, and what came of it.

    `pulled` says that we took it away before its time; `ended` is False for an order of which the
    ledger does not tell the end. `queue_e2` is what really stood before it, if the exchange says.
    """

    series: str
    event: str
    state: FillState
    minutes: float
    share: float
    pulled: bool
    ended: bool
    client_order_id: str = ""
    price_e4: int = 0
    queue_e2: int | None = None


class Markout(Struct, frozen=True):
    """What fair value moved against us from the quote to after its fill, in cents."""

    series: str
    event: str
    count_e2: int
    participation: float
    minutes_left: float
    adverse_cents: float


class Observations(Struct, frozen=True):
    """Everything that was seen of one run, with what had to be left out.

    `run` names it by its content.
    """

    run: str
    rows: list[Row]
    orders: list[OrderRow]
    markouts: list[Markout]
    problems: Counter[str]
    provenance: Provenance
    from_ns: int
    to_ns: int


class _Spell:
    """An order at one price."""

    def __init__(self, update: OrderUpdate, state: FillState, target_ns: int) -> None:
        self.update = update
        self.first = state
        self.target_ns = target_ns
        self.start_ns = self.row_ns = self.at_ns = update.ts_event_ns
        self.state = state
        self.whole_e2 = update.filled_count_e2 + update.remaining_count_e2
        self.base_e2 = 0
        self.row_base_e2 = 0
        self.filled_e2 = 0
        self.exposure_ns = 0.0

    def advance(self, now_ns: int) -> None:
        """Count the time up to now for what still rests."""
        resting = 1.0 - self.filled_e2 / self.whole_e2
        self.exposure_ns += max(now_ns - self.at_ns, 0) * resting
        self.at_ns = max(now_ns, self.at_ns)

    def take(self) -> tuple[FillState, float, float]:
        """Return the row so far and begin the next."""
        found = (
            self.state,
            self.exposure_ns / NS_PER_MINUTE,
            (self.filled_e2 - self.row_base_e2) / self.whole_e2,
        )
        self.exposure_ns, self.row_base_e2, self.row_ns = 0.0, self.filled_e2, self.at_ns
        return found


class _Asked(Struct, frozen=True):
    """What was seen when an order was placed or amended."""

    state: FillState
    probability: float
    participation: float


class _Event:
    """What was last known of one event."""

    def __init__(self, definition: LadderDefined, ladder: PricedLadder) -> None:
        self.definition = definition
        self.ladder = ladder
        self.snapshot: LadderSnapshot | None = None
        self.fair: FairLadder | None = None
        self.spells: dict[str, _Spell] = {}
        self.waiting: list[tuple[Fill, _Asked]] = []


class Observer:
    """Fold the messages of one ledger in the order of their publication."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.orders: list[OrderRow] = []
        self.markouts: list[Markout] = []
        self.problems: Counter[str] = Counter()
        self._events: dict[str, _Event] = {}
        self._own = OwnOrders()
        self._asked: dict[str, _Asked] = {}
        self._least_real = 0
        self._from_ns = self._to_ns = 0

    def fold(self, message: Message, stream: str, sequence: int) -> None:
        """Fold one message."""
        self._from_ns = self._from_ns or message.ts_pub_ns
        self._to_ns = max(self._to_ns, message.ts_pub_ns)
        match message:
            case LadderDefined():
                self._define(message)
            case LadderSnapshot():
                self._see(message)
            case FairLadder():
                self._value(message)
            case OrderIntent():
                self._ask(message)
                self._own.apply(message, stream, sequence)
            case OrderUpdate():
                self._own.apply(message, stream, sequence)
                self._update(message)
            case Fill():
                self._fill(message)

    def finish(self) -> Observations:
        """End what is still open, and return all."""
        for event in self._events.values():
            for client in list(event.spells):
                self._end(event, client, event.spells[client].at_ns, pulled=False, ended=False)
            self._judge(event, None)
        content = repr((self._from_ns, self._to_ns, self.orders)).encode()
        return Observations(
            hashlib.sha256(content).hexdigest()[:12],
            self.rows,
            self.orders,
            self.markouts,
            self.problems,
            PROVENANCES[self._least_real],
            self._from_ns,
            self._to_ns,
        )

    def _define(self, definition: LadderDefined) -> None:
        try:
            ladder = PricedLadder(definition, definition.ts_event_ns)
        except LadderRefused:
            self.problems["ladders refused"] += 1
            return
        known = self._events.get(definition.event_ticker)
        if known is None:
            self._events[definition.event_ticker] = _Event(definition, ladder)
        else:
            known.definition, known.ladder, known.snapshot = definition, ladder, None

    def _see(self, snapshot: LadderSnapshot) -> None:
        self._least_real = max(self._least_real, PROVENANCES.index(snapshot.provenance))
        event = self._events.get(snapshot.event_ticker)
        if event is None or snapshot.ladder_id != event.definition.ladder_id:
            return
        event.snapshot = snapshot
        now_ns = snapshot.ts_event_ns
        for spell in event.spells.values():
            if now_ns - spell.row_ns >= ROW_S * NS_PER_S:
                self._next_row(event, spell, now_ns)

    def _value(self, fair: FairLadder) -> None:
        event = self._events.get(fair.event_ticker)
        if event is not None and fair.ladder_id == event.definition.ladder_id:
            event.fair = fair
            self._judge(event, fair.ts_event_ns)

    def _ask(self, intent: OrderIntent) -> None:
        """Keep what could be seen when an order was placed or amended."""
        event = self._events.get(intent.event_ticker)
        if intent.action == "cancel":
            return
        seen = self._seen(event, intent, intent.ts_event_ns) if event is not None else None
        if seen is None:
            self.problems["orders without books or fair value"] += 1
            self._asked.pop(intent.client_order_id, None)
        else:
            self._asked[intent.client_order_id] = seen

    def _seen(self, event: _Event, order: OrderIntent | OrderUpdate, now_ns: int) -> _Asked | None:
        """Return what can be seen of an order's market now, None when something is unknown."""
        rung = event.ladder.rung_of.get(order.ticker)
        if rung is None or event.snapshot is None or event.fair is None:
            return None
        own_e2 = self._own.resting_e2(event.definition.event_ticker)
        books = event.ladder.books_of_others(event.snapshot, own_e2)
        probability = event.fair.probabilities[rung]
        state = fill_state(
            books,
            rung,
            order.side,
            order.price_e4,
            order.count_e2,
            probability,
            (event.definition.target_ns - now_ns) / NS_PER_MINUTE,
            float(attention_of(np.array(event.fair.probabilities))[rung]),
        )
        share = participation(books, rung, order.side, order.count_e2)
        return _Asked(state, probability, share)

    def _update(self, update: OrderUpdate) -> None:
        event = self._events.get(update.event_ticker)
        if event is None:
            return
        client, now_ns = update.client_order_id, update.ts_event_ns
        spell = event.spells.get(client)
        if spell is not None and (spell.update.price_e4, spell.update.count_e2) != (
            update.price_e4,
            update.count_e2,
        ):
            self._end(event, client, now_ns, pulled=True)
            spell = None
        rests = update.state in ("resting", "partially_filled", "filled")
        if spell is None and rests and client in self._asked:
            spell = _Spell(update, self._asked[client].state, event.definition.target_ns)
            spell.base_e2 = 0 if update.state == "filled" else update.filled_count_e2
            spell.whole_e2 = max(update.count_e2 - spell.base_e2, 1)
            event.spells[client] = spell
        if spell is None:
            return
        spell.advance(now_ns)
        spell.filled_e2 = min(max(update.filled_count_e2 - spell.base_e2, 0), spell.whole_e2)
        if update.state in ("filled", "cancelled", "expired", "rejected"):
            early = now_ns < event.definition.target_ns - LAST_S * NS_PER_S
            self._end(event, client, now_ns, pulled=update.state == "cancelled" and early)

    def _next_row(self, event: _Event, spell: _Spell, now_ns: int) -> None:
        spell.advance(now_ns)
        self._keep_row(event, spell)
        seen = self._seen(event, spell.update, now_ns)
        if seen is not None:
            spell.state = seen.state

    def _keep_row(self, event: _Event, spell: _Spell) -> None:
        state, minutes, share = spell.take()
        if minutes > 0.0 or share > 0.0:
            series, name = event.definition.series_ticker, event.definition.event_ticker
            self.rows.append(Row(series, name, state, minutes, share))

    def _end(
        self, event: _Event, client: str, now_ns: int, *, pulled: bool, ended: bool = True
    ) -> None:
        spell = event.spells.pop(client)
        spell.advance(now_ns)
        self._keep_row(event, spell)
        self.orders.append(
            OrderRow(
                event.definition.series_ticker,
                event.definition.event_ticker,
                spell.first,
                (spell.at_ns - spell.start_ns) / NS_PER_MINUTE,
                spell.filled_e2 / spell.whole_e2,
                pulled,
                ended,
                client,
                spell.update.price_e4,
            )
        )

    def _fill(self, fill: Fill) -> None:
        event = self._events.get(fill.event_ticker)
        asked = self._asked.get(fill.client_order_id)
        if event is None or asked is None:
            self.problems["fills without a quote"] += 1
            return
        event.waiting.append((fill, asked))

    def _judge(self, event: _Event, now_ns: int | None) -> None:
        """Judge the fills that are old enough; all of them when there is no later fair value."""
        kept = []
        for fill, asked in event.waiting:
            if now_ns is not None and now_ns < fill.ts_event_ns + MARKOUT_S * NS_PER_S:
                kept.append((fill, asked))
                continue
            fair, rung = event.fair, event.ladder.rung_of.get(fill.ticker)
            if fair is None or rung is None or fair.ts_event_ns <= fill.ts_event_ns:
                self.problems["fills without a later fair value"] += 1
                continue
            moved = 100.0 * (fair.probabilities[rung] - asked.probability)
            adverse_cents = -moved if fill.side == "bid" else moved
            series, name = event.definition.series_ticker, event.definition.event_ticker
            self.markouts.append(
                Markout(
                    series,
                    name,
                    fill.count_e2,
                    asked.participation,
                    asked.state.minutes_left,
                    adverse_cents,
                )
            )
        event.waiting = kept
