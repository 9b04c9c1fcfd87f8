"""Everything that sizing knows, folded from messages; and the sizes of a proposal. Pure.

Give it definitions, fair ladders, orders, fills, settlements and our own verdicts; ask `size`.
"""

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from libs.common.messages import (
    FairLadder,
    LadderDefined,
    Message,
    OrderIntent,
    OrderUpdate,
    Proposal,
    Quote,
    Verdict,
)
from libs.common.own_orders import OwnOrders
from libs.common.profit import SettledProfit
from libs.domain.calendar import CalendarError
from libs.domain.eastern import NS_PER_HOUR, NS_PER_S, eastern_date
from libs.domain.families import UnknownFamilyError, family_of_series
from libs.domain.fees import FeeSchedule, UnknownFeeError, schedule_at
from libs.domain.macro_days import possible_events
from libs.domain.money import COUNT_ONE_E2
from services.risk.sizing.book import EventBook, Summary
from services.risk.sizing.field import Field, candidate_of
from services.risk.sizing.outcomes import Atoms, Floats, NoOutcomes, atoms_of, masses_of
from services.risk.sizing.policy import SizingPolicy
from services.risk.sizing.portfolio import Portfolio
from services.risk.sizing.report import Sizing, all_passed, barred, reported
from services.risk.sizing.reservations import Reservations
from services.risk.sizing.select import plan_of

EVENTS_MAX = 1_024
FORGET_AFTER_NS = 2 * NS_PER_HOUR
FEE_UNKNOWN_E4 = 175
"""The dearest fee there is, a taker's at even odds: what an event of an unknown series may pay."""


class _Known(Struct):
    """What is known of one event's ladder, and its part of the portfolio as last worked out."""

    series_ticker: str
    target_ns: int
    atoms: Atoms | None = None
    why: str = "no ladder definition has come"
    fair: FairLadder | None = None
    fees: FeeSchedule | None = None
    fees_by_price: dict[int, int] | None = None


class _Answer(Struct, frozen=True):
    """A sizing with the inputs it was made from."""

    inputs: tuple[object, ...]
    sizing: Sizing


class SizingDesk:
    """Fold what sizes depend on; size proposals; reserve what verdicts allow."""

    def __init__(self, policy: SizingPolicy) -> None:
        self.policy = policy
        self.own = OwnOrders()
        self.profit = SettledProfit()
        self.reservations = Reservations(round(policy.reservation_grace_s * NS_PER_S))
        self.portfolio = Portfolio()
        self._known: dict[str, _Known] = {}
        self._series: dict[str, str] = {}
        self._versions: dict[str, int] = {}
        self._dirty: set[str] = set()
        self._books: dict[str, EventBook] = {}
        """As they were when their events were last looked at; right while those are not dirty."""
        self._ends_ns: dict[str, int] = {}
        self._answers: dict[str, _Answer] = {}
        self._at_stage: dict[tuple[str, str], SizingPolicy] = {}

    # Folding

    def apply(self, message: Message, stream: str, sequence: int) -> None:
        """Fold one message of ORDERS or FILLS; one that was folded before changes nothing."""
        if not self.own.apply(message, stream, sequence):
            return
        if isinstance(message, OrderIntent):
            self.reservations.acted(message)
        elif not isinstance(message, OrderUpdate):
            self.profit.fold(message)
        event_ticker: str = message.event_ticker  # type: ignore[attr-defined]
        self._series[event_ticker] = message.series_ticker  # type: ignore[attr-defined]
        self._touch(event_ticker)

    def given(self, verdict: Verdict) -> None:
        """Reserve what a verdict of ours allows."""
        event_ticker = verdict.event_ticker
        before = self.reservations.version(event_ticker)
        self.reservations.give(verdict)
        if verdict.quotes:
            self._ends_ns.setdefault(event_ticker, self.reservations.next_end_ns(event_ticker))
        if self.reservations.version(event_ticker) != before:
            self._series[event_ticker] = verdict.series_ticker
            self._dirty.add(event_ticker)

    def define(self, definition: LadderDefined, now_ns: int) -> None:
        """Take in an event's ladder."""
        known = self._see(definition, now_ns)
        if known is None or (known.atoms and known.atoms.ladder_id == definition.ladder_id):
            return
        try:
            known.atoms, known.why = atoms_of(definition), ""
        except NoOutcomes as error:
            known.atoms, known.why = None, str(error)
        self._touch(definition.event_ticker)

    def fair(self, fair: FairLadder, now_ns: int) -> None:
        """Take in an event's fair ladder; an older one than we have changes nothing."""
        known = self._see(fair, now_ns)
        if known is None or (known.fair is not None and fair.level_ns < known.fair.level_ns):
            return
        known.fair = fair
        self._touch(fair.event_ticker)

    def _see(self, message: LadderDefined | FairLadder, now_ns: int) -> _Known | None:
        """Return an event's place, made if there is room for it once past ones are forgotten."""
        known = self._known.get(message.event_ticker)
        if known is not None:
            return known
        past = [name for name, one in self._known.items() if one.target_ns < now_ns - NS_PER_HOUR]
        for name in past:
            del self._known[name]
            self._answers.pop(name, None)
            self._touch(name)
        if past:
            self.forget_past(now_ns)
        if len(self._known) >= EVENTS_MAX:
            return None
        known = _Known(message.series_ticker, message.target_ns)
        self._known[message.event_ticker] = known
        return known

    def forget_past(self, now_ns: int) -> None:
        """Let go of events in which nothing is held or open and of which nothing came for long.

        What of them was settled stays in the profit of its day.
        """
        for name in list(self._series):
            quiet = self.own.changed_ns(name) < now_ns - FORGET_AFTER_NS
            if quiet and name not in self._known and self._book(name, now_ns).empty:
                self.own.forget(name)
                self.portfolio.put(name, "", Summary())
                self._dirty.discard(name)
                for table in (self._series, self._versions, self._books, self._ends_ns):
                    table.pop(name, None)

    def _touch(self, event_ticker: str) -> None:
        self._versions[event_ticker] = self._versions.get(event_ticker, 0) + 1
        self._dirty.add(event_ticker)

    # The portfolio

    def refresh(self, now_ns: int, besides: str = "") -> None:
        """Bring the portfolio up to date: events that changed, and allowances that ended.

        `besides` names an event whose own part is not asked for now.
        """
        self._dirty.update(name for name, ends_ns in self._ends_ns.items() if ends_ns <= now_ns)
        for name in sorted(self._dirty - {besides}):
            book = self._books[name] = self._book(name, now_ns)
            known = self._known.get(name)
            atoms = known.atoms if known else None
            self.portfolio.put(
                name, self._family(name), book.summary(atoms, self._fair_masses(known))
            )
            if book.empty:
                del self._books[name]
            self._ends_ns.pop(name, None)
            if ends_ns := self.reservations.next_end_ns(name):
                self._ends_ns[name] = ends_ns
        self._dirty.intersection_update({besides})

    def _book(self, event_ticker: str, now_ns: int) -> EventBook:
        known = self._known.get(event_ticker)
        allowances = self.reservations.of(event_ticker, now_ns)
        return EventBook(event_ticker, self.own, allowances, lambda p: self._fee(known, p, now_ns))

    def _family(self, event_ticker: str) -> str:
        try:
            return family_of_series(self._series.get(event_ticker, event_ticker)).name
        except UnknownFamilyError:
            return ""

    def _fair_masses(self, known: _Known | None) -> Floats | None:
        if known is None or known.atoms is None or known.fair is None:
            return None
        try:
            return masses_of(known.atoms, np.array(known.fair.probabilities), {})
        except NoOutcomes:
            return None

    def _fee(self, known: _Known | None, price_e4: int, now_ns: int) -> int:
        """Return the maker's fee of 0.01 contract, rounded up; the dearest there is if unknown."""
        if known is None:
            return FEE_UNKNOWN_E4
        fees = known.fees
        if fees is None or (fees.to_ns is not None and now_ns >= fees.to_ns):
            try:
                known.fees = fees = schedule_at(known.series_ticker, now_ns)
            except UnknownFeeError:
                return FEE_UNKNOWN_E4
            known.fees_by_price = {}
        assert known.fees_by_price is not None, "made with the schedule"
        fee_e4 = known.fees_by_price.get(price_e4)
        if fee_e4 is None:
            inside = 0 < price_e4 < 10_000
            whole_e6 = fees.trade_fee_e6("maker", price_e4, COUNT_ONE_E2) if inside else 0
            fee_e4 = known.fees_by_price[price_e4] = -(-whole_e6 // COUNT_ONE_E2)
        return fee_e4

    # Sizes

    def size(self, proposal: Proposal, now_ns: int, stage: str | None = None) -> Sizing:
        """Return what of a proposal may rest and why; for unchanged inputs the same again.

        `stage` is the size-ladder stage that an override sets, None for the policy's own.
        """
        if not proposal.quotes:
            return all_passed()
        self.refresh(now_ns, besides=proposal.event_ticker)
        self.reservations.of(proposal.event_ticker, now_ns)  # lets go of what has ended
        inputs = (*self._inputs(proposal, now_ns), stage)
        known = self._answers.get(proposal.event_ticker)
        if known is not None and known.inputs == inputs:
            return known.sizing
        sizing = self._size(proposal, now_ns, self._policy_at(proposal.family, stage))
        if proposal.event_ticker in self._known:
            self._answers[proposal.event_ticker] = _Answer(inputs, sizing)
        return sizing

    def _inputs(self, proposal: Proposal, now_ns: int) -> tuple[object, ...]:
        event_ticker = proposal.event_ticker
        return (
            proposal.quotes,
            proposal.family,
            self._versions.get(event_ticker, 0),
            self.reservations.version(event_ticker),
            self.portfolio.version,
            self._pmf_fault(proposal),
            self.profit.day_e6(now_ns),
            self.profit.week_e6(now_ns),
            eastern_date(proposal.target_ns),
        )

    def _pmf_fault(self, proposal: Proposal) -> str:
        """Return why there is no pmf to size a proposal on, "" if there is one."""
        known = self._known.get(proposal.event_ticker)
        if known is None or known.atoms is None:
            return known.why if known else "no ladder definition has come"
        if known.fair is None:
            return "no fair ladder has come"
        if known.fair.ladder_id != known.atoms.ladder_id:
            return "the fair ladder is of another definition"
        behind_s = (proposal.level_ns - known.fair.level_ns) / NS_PER_S
        if behind_s > self.policy.pmf_age_s_max:
            return f"stale: {self.policy.pmf_age_s_max:g} s or more behind the proposal"
        return ""

    def _masses(self, proposal: Proposal, atoms: Atoms, fair: FairLadder) -> Floats:
        quoted: dict[int, float] = {}
        for quote in proposal.quotes:
            rung = atoms.rung_of.get(quote.ticker)
            if rung is None:
                raise NoOutcomes(f"{quote.ticker} is no rung of the ladder")
            if quoted.setdefault(rung, quote.probability) != quote.probability:
                raise NoOutcomes(f"two probabilities for {quote.ticker}")
        return masses_of(atoms, np.array(fair.probabilities), quoted)

    def _policy_at(self, family: str, stage: str | None) -> SizingPolicy:
        if stage is None:
            return self.policy
        found = self._at_stage.get((family, stage))
        if found is None:
            ladder = self.policy.size_ladder
            stages = {**ladder.family_stage, family: stage}
            found = replace(self.policy, size_ladder=replace(ladder, family_stage=stages))
            self._at_stage[family, stage] = found
        return found

    def _size(self, proposal: Proposal, now_ns: int, policy: SizingPolicy) -> Sizing:
        fault = self._pmf_fault(proposal)
        if fault:
            reason = "pmf_stale" if fault.startswith("stale") else "pmf_missing"
            return barred(proposal.quotes, "pmf", reason, fault)
        try:
            events = possible_events(eastern_date(proposal.target_ns))
        except CalendarError as error:
            return barred(proposal.quotes, "regime", "regime_unknown", str(error))
        multiplier = 1.0
        for event in sorted(events):
            multiplier *= policy.regimes.multipliers.get(event, 1.0)
        known = self._known[proposal.event_ticker]
        assert known.atoms is not None, "a missing ladder is a fault"
        assert known.fair is not None, "a missing fair ladder is a fault"
        try:
            masses = self._masses(proposal, known.atoms, known.fair)
        except NoOutcomes as error:
            return barred(proposal.quotes, "pmf", "pmf_incoherent", str(error))
        book = self._books.get(proposal.event_ticker)
        if book is None or proposal.event_ticker in self._dirty:
            book = self._books[proposal.event_ticker] = self._book(proposal.event_ticker, now_ns)

        def fee(price_e4: int) -> int:
            return self._fee(known, price_e4, now_ns)

        ranked = sorted(proposal.quotes, key=_rank)
        sound = [quote for quote in ranked if 0 < quote.price_e4 < 10_000]
        candidates = [candidate_of(quote, known.atoms, book, fee) for quote in sound]
        field = Field(known.atoms, masses, book, candidates)
        settled_e6 = self.profit.day_e6(now_ns), self.profit.week_e6(now_ns)
        event_ticker, family = proposal.event_ticker, proposal.family
        rooms = (
            self.portfolio.room(event_ticker, family, settled_e6, policy, 1.0),
            self.portfolio.room(event_ticker, family, settled_e6, policy, multiplier),
        )
        plan = plan_of(field, family, rooms, policy, multiplier)
        unsound = [quote for quote in ranked if quote not in sound]
        return reported(field, plan, unsound, family, rooms[1], policy)


def _rank(quote: Quote) -> tuple[int, str, str]:
    return (-quote.ev_per_contract_e6, quote.ticker, quote.side)
