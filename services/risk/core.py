"""Proposals in, verdicts out; and a NO-GO by itself when a GO that stands loses its ground. Pure.

A proposal always gets a verdict. GO needs every gate; quotes that sizing drops are left out, and
when it drops all of them the verdict is NO-GO with the step's reason. A proposal without quotes
that passes the gates is a GO without quotes: in both cases nothing rests.
"""

from typing import Literal

from msgspec import Struct

from libs.common.config import config_hash
from libs.common.effects import Effect, Event, Publish, Received, SetTimer, TimerFired
from libs.common.messages import (
    Cause,
    ClockSample,
    ExchangeSettlement,
    ExchangeStatus,
    FairLadder,
    Fill,
    GateResult,
    Heartbeat,
    LadderDefined,
    LadderSnapshot,
    Message,
    OrderIntent,
    OrderUpdate,
    Proposal,
    Verdict,
    derived_id,
    envelope,
)
from libs.domain.calendar import CalendarError
from libs.domain.eastern import NS_PER_HOUR
from libs.domain.families import UnknownFamilyError
from libs.domain.windows import WindowError
from services.risk.events import KillSwitchRead
from services.risk.gates import ask_all
from services.risk.gates.contract import Answer, Mode, Question
from services.risk.gates.window import quoting_window
from services.risk.policy import RiskPolicy, seconds_ns
from services.risk.sizing.desk import SizingDesk
from services.risk.sizing.report import Sizing

EVENTS_MAX = 1_024
TIMER = "recheck:"


class Standing(Struct, frozen=True):
    """A GO that is out: its proposal, until when, when its window ends, what sizing reported."""

    proposal: Proposal
    expires_ns: int
    cancel_ns: int
    sizing: Sizing


class Inputs:
    """The newest of everything that gates look at, per event or for all."""

    def __init__(self) -> None:
        self.tickers: dict[str, tuple[str, ...]] = {}
        self.targets_ns: dict[str, int] = {}
        self.levels_ns: dict[str, int] = {}
        self.books: dict[str, LadderSnapshot] = {}
        self.heartbeats: dict[str, Heartbeat] = {}
        self.clock_samples: dict[str, ClockSample] = {}
        self.exchange: ExchangeStatus | None = None
        self.kill_switch: KillSwitchRead | None = None

    def level_known(self, event_ticker: str, level_ns: int) -> None:
        """Remember the newest receive time of a level behind an event's prices; 0 is none."""
        if level_ns > self.levels_ns.get(event_ticker, 0):
            self.levels_ns[event_ticker] = level_ns

    def see_event(self, event_ticker: str, target_ns: int, now_ns: int) -> bool:
        """Make room for an event, forget past ones; return False when there is no room."""
        if event_ticker not in self.targets_ns:
            past = [name for name, at in self.targets_ns.items() if at < now_ns - NS_PER_HOUR]
            for name in past:
                for table in (self.targets_ns, self.tickers, self.levels_ns, self.books):
                    table.pop(name, None)
            if len(self.targets_ns) >= EVENTS_MAX:
                return False
        self.targets_ns[event_ticker] = target_ns
        return True

    def gap_tickers(self, event_ticker: str, quoted: tuple[str, ...]) -> tuple[str, ...]:
        """Return the quoted markets whose book has a gap; all of them if rungs are unknown."""
        snapshot = self.books.get(event_ticker)
        if snapshot is None or not snapshot.stale:
            return ()
        tickers = self.tickers.get(event_ticker)
        if tickers is None or max(snapshot.stale) >= len(tickers):
            return quoted
        broken = {tickers[rung] for rung in snapshot.stale}
        return tuple(ticker for ticker in quoted if ticker in broken)


class RiskCore:
    """Judge every proposal, and watch over each GO until it expires."""

    def __init__(self, policy: RiskPolicy, mode: Mode = "live") -> None:
        self.policy = policy
        self.mode = mode
        self.policy_hash = config_hash(policy)
        self.desk = SizingDesk(policy.sizing)
        self.inputs = Inputs()
        self._standing: dict[str, Standing] = {}
        self._timers_ns: dict[str, int] = {}
        self._verdicts = {"GO": 0, "NO-GO": 0}

    def handle(self, event: Event) -> list[Effect]:
        """Fold one event; return verdicts and when to look again."""
        if isinstance(event, KillSwitchRead):
            return self._on_kill_switch(event)
        if isinstance(event, TimerFired) and event.key.startswith(TIMER):
            event_ticker = event.key.removeprefix(TIMER)
            self._timers_ns.pop(event_ticker, None)
            cause = Cause.first("timer", f"{event.key}@{event.at_ns}", event.now_ns)
            return self._recheck(event_ticker, cause, 0)
        if not isinstance(event, Received):
            return []
        cause = Cause.of(event.message, event.now_ns)
        if isinstance(event.message, Proposal):
            return self._judge(event.message, cause)
        if isinstance(event.message, OrderIntent | OrderUpdate | Fill | ExchangeSettlement):
            self.desk.apply(event.message, event.stream, event.sequence)
            return []
        return self._observe(event.message, cause)

    def summary(self) -> str:
        """Return one line for the heartbeat."""
        return (
            f"GO {self._verdicts['GO']}, NO-GO {self._verdicts['NO-GO']}, "
            f"standing {len(self._standing)}, unknown orders {len(self.desk.own.unknown_orders())}"
        )

    def _observe(self, message: Message, cause: Cause) -> list[Effect]:
        """Fold an input of the gates; look again at what it could end."""
        inputs, now_ns = self.inputs, cause.now_ns
        match message:
            case LadderDefined():
                if inputs.see_event(message.event_ticker, message.target_ns, now_ns):
                    inputs.tickers[message.event_ticker] = message.tickers
                    self.desk.define(message, now_ns)
            case LadderSnapshot():
                known = inputs.books.get(message.event_ticker)
                if known is not None and message.recv_ns < known.recv_ns:
                    return []
                if inputs.see_event(message.event_ticker, message.target_ns, now_ns):
                    inputs.books[message.event_ticker] = message
                if message.stale:
                    return self._recheck(message.event_ticker, cause, 0)
            case FairLadder():
                if inputs.see_event(message.event_ticker, message.target_ns, now_ns):
                    inputs.level_known(message.event_ticker, message.level_ns)
                    self.desk.fair(message, now_ns)
            case Heartbeat():
                inputs.heartbeats[message.service] = message
            case ClockSample():
                inputs.clock_samples[message.reference] = message
                return self._recheck_all(cause)
            case ExchangeStatus():
                inputs.exchange = message
                return self._recheck_all(cause)
            case _:
                pass
        return []

    def _on_kill_switch(self, event: KillSwitchRead) -> list[Effect]:
        self.inputs.kill_switch = event
        if event.engaged is False:
            return []
        return self._recheck_all(Cause.first("kill_switch", str(event.now_ns), event.now_ns))

    def _judge(self, proposal: Proposal, cause: Cause) -> list[Effect]:
        event_ticker, now_ns = proposal.event_ticker, cause.now_ns
        self.inputs.see_event(event_ticker, proposal.target_ns, now_ns)
        self.inputs.level_known(event_ticker, proposal.level_ns)
        answers = self._ask(proposal, now_ns, standing=False)
        sizing = self.desk.size(proposal, now_ns)
        results = tuple(answer.result for answer in answers)
        verdict = self._verdict(proposal, results, sizing, cause, 0)
        self.desk.given(verdict)
        effects: list[Effect] = [Publish(message=verdict)]
        if verdict.decision == "GO" and verdict.quotes:
            cancel_ns = self._cancel_ns(proposal, now_ns)
            self._standing[event_ticker] = Standing(
                proposal, verdict.expires_at_ns, cancel_ns, sizing
            )
            effects += self._wake(event_ticker, answers, now_ns)
        else:
            self._standing.pop(event_ticker, None)
        return effects

    def _recheck_all(self, cause: Cause) -> list[Effect]:
        effects: list[Effect] = []
        for event_ticker in list(self._standing):
            effects += self._recheck(event_ticker, cause, len(effects))
        return effects

    def _recheck(self, event_ticker: str, cause: Cause, index: int) -> list[Effect]:
        """Ask all gates again about a GO that stands; say NO-GO if one of them now says no."""
        standing = self._standing.get(event_ticker)
        if standing is None:
            return []
        now_ns = cause.now_ns
        if now_ns >= standing.expires_ns and now_ns < standing.cancel_ns:
            del self._standing[event_ticker]
            return []
        answers = self._ask(standing.proposal, now_ns, standing=True)
        results = tuple(answer.result for answer in answers)
        if not any(result.refuses for result in results):
            return self._wake(event_ticker, answers, now_ns)
        del self._standing[event_ticker]
        verdict = self._verdict(standing.proposal, results, standing.sizing, cause, index)
        return [Publish(message=verdict)]

    def _ask(self, proposal: Proposal, now_ns: int, *, standing: bool) -> list[Answer]:
        inputs, event_ticker = self.inputs, proposal.event_ticker
        books, switch = inputs.books.get(event_ticker), inputs.kill_switch
        # At its verdict a proposal answers for its own level and books, not for newer ones.
        level_ns: int | None = proposal.level_ns or None
        books_ns = books.recv_ns if books else None
        if standing:
            level_ns = inputs.levels_ns.get(event_ticker)
        elif books_ns is not None:
            books_ns = min(books_ns, proposal.books_ns)
        question = Question(
            now_ns=now_ns,
            family=proposal.family,
            target_ns=proposal.target_ns,
            proposal_expires_ns=proposal.expires_at_ns,
            standing=standing,
            level_ns=level_ns,
            books_ns=books_ns,
            gap_tickers=inputs.gap_tickers(event_ticker, _tickers_of(proposal)),
            kill_switch_engaged=switch.engaged if switch else None,
            kill_switch_read_ns=switch.now_ns if switch else None,
            heartbeats=inputs.heartbeats,
            clock_samples=inputs.clock_samples,
            exchange=inputs.exchange,
        )
        return ask_all(question, self.policy, self.mode)

    def _verdict(
        self,
        proposal: Proposal,
        results: tuple[GateResult, ...],
        sizing: Sizing,
        cause: Cause,
        index: int,
    ) -> Verdict:
        gates = (*results, *sizing.gates)
        go = not any(gate.refuses for gate in gates)
        quotes = sizing.quotes if go else ()
        decision: Literal["GO", "NO-GO"] = "GO" if go else "NO-GO"
        self._verdicts[decision] += 1
        cancel_ns = self._cancel_ns(proposal, cause.now_ns)
        latest_ns = cause.now_ns + seconds_ns(self.policy.gates.verdict_ttl_s_max)
        # A proposal that is judged anew after a restart may be judged differently: the bus must
        # not drop that as the first verdict sent twice.
        content = decision, *(f"{quote.ticker}|{quote.side}|{quote.count_e2}" for quote in quotes)
        return Verdict(
            **envelope(cause, "risk", derived_id(cause.id, index, *content)),
            decision=decision,
            proposal_id=proposal.id,
            event_ticker=proposal.event_ticker,
            series_ticker=proposal.series_ticker,
            family=proposal.family,
            target_ns=proposal.target_ns,
            expires_at_ns=min(proposal.expires_at_ns, cancel_ns, latest_ns),
            quotes=quotes,
            gates=gates,
            provenance=proposal.provenance,
            config_hash=self.policy_hash,
            withheld=sizing.withheld,
        )

    def _cancel_ns(self, proposal: Proposal, now_ns: int) -> int:
        """Return when nothing of an event may rest any more: its window's end, less the buffer."""
        try:
            window = quoting_window(proposal.family, proposal.target_ns, now_ns, self.policy)
        except (WindowError, CalendarError, UnknownFamilyError):
            window = None
        closes_ns = proposal.target_ns if window is None else window.closes_ns
        closes_ns = min(closes_ns, proposal.target_ns)
        return max(0, closes_ns - seconds_ns(self.policy.index_ops.cancel_buffer_s))

    def _wake(self, event_ticker: str, answers: list[Answer], now_ns: int) -> list[Effect]:
        """Ask to be woken at the first time at which a gate could turn, or the GO expires.

        A timer that is set stays, even if its input was renewed since: it then looks again.
        """
        dues = [answer.turns_ns for answer in answers if answer.turns_ns is not None]
        dues.append(self._standing[event_ticker].expires_ns)
        due_ns = min((due for due in dues if due > now_ns), default=0)
        known_ns = self._timers_ns.get(event_ticker, 0)
        if due_ns == 0 or now_ns < known_ns <= due_ns:
            return []
        self._timers_ns[event_ticker] = due_ns
        return [SetTimer(key=f"{TIMER}{event_ticker}", at_ns=due_ns)]


def _tickers_of(proposal: Proposal) -> tuple[str, ...]:
    return tuple(quote.ticker for quote in proposal.quotes)
