"""Everything that sizing knows, folded from messages; and the sizes of a proposal. Pure.

Give it definitions, fair ladders, orders, fills, settlements and our own verdicts; ask `size`.
"""

from collections.abc import Sequence

from msgspec import Struct, field
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
from libs.domain.money import COUNT_ONE_E2, PRICE_ONE_E4
from services.risk.sizing.book import NOTHING, EventBook
from services.risk.sizing.field import Field
from services.risk.sizing.outcomes import (
    Atoms,
    NoOutcomes,
    atoms_of,
    masses_of,
    scaled_to,
)
from services.risk.sizing.policy import SizingPolicy
from services.risk.sizing.portfolio import Portfolio
from services.risk.sizing.report import Sizing, all_passed, barred, reported
from services.risk.sizing.reservations import Reservations
from services.risk.sizing.select import plan_of

EVENTS_MAX = 1_024
FORGET_AFTER_NS = 2 * NS_PER_HOUR
FEE_UNKNOWN_E4 = 175
"""The dearest fee there is, a taker's at even odds: what an event of an unknown series may pay."""


class _Fees(Struct, eq=False):
    """A series' fees for a while; the fee of 0.01 contract by price as far as asked for."""

    schedule: FeeSchedule
    by_price: dict[int, int] = field(default_factory=dict)

    def of(self, price_e4: int) -> int:
        """Return the maker's fee of 0.01 contract, rounded up."""
        fee_e4 = self.by_price.get(price_e4)
        if fee_e4 is None:
            inside = 0 < price_e4 < PRICE_ONE_E4
            whole_e6 = self.schedule.trade_fee_e6("maker", price_e4, COUNT_ONE_E2) if inside else 0
            fee_e4 = self.by_price[price_e4] = -(-whole_e6 // COUNT_ONE_E2)
        return fee_e4


class _Known(Struct):
    """What is known of one event's ladder; `masses` are the fair ladder's once worked out."""

    series_ticker: str
    target_ns: int
    atoms: Atoms | None = None
    why: str = "no ladder definition has come"
    fair: FairLadder | None = None
    masses: list[float] | None = None
    fees: _Fees | None = None


class _Kept(Struct):
    """An event's book with what it was made of: counters of changes, and the fees."""

    orders: int
    reserved: int
    fees: _Fees | None
    book: EventBook


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
        self._orders: dict[str, int] = {}
        """How often orders and positions of an event changed."""
        self._dirty: set[str] = set()
        self._books: dict[str, _Kept] = {}
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
        self._orders[event_ticker] = self._orders.get(event_ticker, 0) + 1
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
        known.masses = None
        self._touch(definition.event_ticker)

    def fair(self, fair: FairLadder, now_ns: int) -> None:
        """Take in an event's fair ladder; an older one than we have changes nothing."""
        known = self._see(fair, now_ns)
        if known is None or (known.fair is not None and fair.level_ns < known.fair.level_ns):
            return
        known.fair, known.masses = fair, None
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
                self.portfolio.put(name, "", NOTHING)
                self._dirty.discard(name)
                for table in (
                    self._series,
                    self._versions,
                    self._orders,
                    self._books,
                    self._ends_ns,
                ):
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
            book, summary = self._book(name, now_ns), NOTHING
            if book.empty:
                del self._books[name]
            else:
                known = self._known.get(name)
                atoms = known.atoms if known else None
                summary = book.summary(atoms, self._fair_masses(known))
            self.portfolio.put(name, self._family(name), summary)
            self._ends_ns.pop(name, None)
            if ends_ns := self.reservations.next_end_ns(name):
                self._ends_ns[name] = ends_ns
        self._dirty.intersection_update({besides})

    def _book(self, event_ticker: str, now_ns: int) -> EventBook:
        """Return what is held and may fill, the same as before while nothing of it changed."""
        fees = self._fees(self._known.get(event_ticker), now_ns)
        allowances = self.reservations.of(event_ticker, now_ns)
        orders = self._orders.get(event_ticker, 0)
        reserved = self.reservations.version(event_ticker)
        kept = self._books.get(event_ticker)
        if (
            kept is None
            or kept.fees is not fees
            or (kept.orders, kept.reserved) != (orders, reserved)
        ):
            fee = fees.of if fees else _dearest_fee
            book = EventBook(event_ticker, self.own, allowances, fee)
            kept = self._books[event_ticker] = _Kept(orders, reserved, fees, book)
        return kept.book

    def _family(self, event_ticker: str) -> str:
        try:
            return family_of_series(self._series.get(event_ticker, event_ticker)).name
        except UnknownFamilyError:
            return ""

    def _fair_masses(self, known: _Known | None) -> list[float] | None:
        """Return the fair ladder's pmf, None if there is none."""
        if known is None or known.atoms is None or known.fair is None:
            return None
        try:
            return _masses_of(known)
        except NoOutcomes:
            return None

    def _fees(self, known: _Known | None, now_ns: int) -> _Fees | None:
        """Return the fees of an event's series now, None if they are not known."""
        if known is None:
            return None
        fees = known.fees
        if fees is None or (fees.schedule.to_ns is not None and now_ns >= fees.schedule.to_ns):
            try:
                fees = _Fees(schedule_at(known.series_ticker, now_ns))
            except UnknownFeeError:
                fees = None
            known.fees = fees
        return fees

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
        try:
            quoted = _quoted(proposal.quotes, known.atoms)
            masses = scaled_to(known.atoms, _masses_of(known), quoted)
        except NoOutcomes as error:
            return barred(proposal.quotes, "pmf", "pmf_incoherent", str(error))
        event_ticker, family = proposal.event_ticker, proposal.family
        book = self._book(event_ticker, now_ns)
        ranked = sorted(proposal.quotes, key=_rank)
        sound = [quote for quote in ranked if 0 < quote.price_e4 < PRICE_ONE_E4]
        outcomes = Field(known.atoms, masses, book, sound)
        settled_e6 = self.profit.day_e6(now_ns), self.profit.week_e6(now_ns)
        room = plain = self.portfolio.room(event_ticker, family, settled_e6, policy, 1.0)
        if multiplier != 1.0:
            room = self.portfolio.room(event_ticker, family, settled_e6, policy, multiplier)
        plan = plan_of(outcomes, family, (plain, room), policy, multiplier)
        unsound = [quote for quote in ranked if not 0 < quote.price_e4 < PRICE_ONE_E4]
        return reported(outcomes, plan, unsound, family, room, policy)


def _rank(quote: Quote) -> tuple[int, str, str]:
    return (-quote.ev_per_contract_e6, quote.ticker, quote.side)


def _quoted(quotes: Sequence[Quote], atoms: Atoms) -> dict[int, float]:
    """Return the probability of each quoted rung; raise NoOutcomes if there are two."""
    found: dict[int, float] = {}
    for quote in quotes:
        rung = atoms.rung_of.get(quote.ticker)
        if rung is None:
            raise NoOutcomes(f"{quote.ticker} is no rung of the ladder")
        if found.setdefault(rung, quote.probability) != quote.probability:
            raise NoOutcomes(f"two probabilities for {quote.ticker}")
    return found


def _masses_of(known: _Known) -> list[float]:
    """Return the pmf of an event's fair ladder; raise NoOutcomes if it contradicts itself."""
    assert known.atoms is not None, "a missing ladder is a fault"
    assert known.fair is not None, "a missing fair ladder is a fault"
    if known.masses is None:
        known.masses = masses_of(known.atoms, known.fair.probabilities)
    return known.masses


def _dearest_fee(price_e4: int) -> int:
    """Return the fee of 0.01 contract where no schedule is known."""
    del price_e4
    return FEE_UNKNOWN_E4
