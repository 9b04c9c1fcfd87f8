"""Proposals in, verdicts out; and a NO-GO by itself when a GO that stands loses its ground. Pure.

A proposal always gets a verdict. GO needs every gate; quotes that sizing drops are left out, and
when it drops all of them the verdict is NO-GO with the step's reason. A proposal without quotes
that passes the gates is a GO without quotes: in both cases nothing rests.
"""

from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from libs.common.config import config_hash
from libs.common.effects import Effect, Event, Publish, Received, SetTimer, TimerFired
from libs.common.messages import (
    Cause,
    ExchangeSettlement,
    FairLadder,
    Fill,
    GateResult,
    LadderDefined,
    LadderSnapshot,
    Message,
    MonitorResult,
    OrderIntent,
    OrderUpdate,
    Override,
    PanicLatch,
    Proposal,
    Verdict,
    derived_id,
    envelope,
)
from libs.common.profit import Held
from libs.domain.calendar import CalendarError
from libs.domain.eastern import NS_PER_HOUR
from libs.domain.families import UnknownFamilyError
from libs.domain.windows import WindowError
from services.risk.events import KillSwitchRead, OverrideAnswered, OverrideOffered
from services.risk.gates import ask_all
from services.risk.gates.contract import Answer, Mode, Question
from services.risk.gates.ev_honesty import shortfalls
from services.risk.gates.window import quoting_window
from services.risk.inputs import Inputs
from services.risk.overrides import Overrides
from services.risk.panic import Panic
from services.risk.policy import RiskPolicy, seconds_ns
from services.risk.sizing.chain import STEPS
from services.risk.sizing.desk import SizingDesk
from services.risk.sizing.report import Sizing

TIMER = "recheck:"


class Standing(Struct, frozen=True):
    """A GO that is out: its proposal, until when, when its window ends, what sizing reported."""

    proposal: Proposal
    expires_ns: int
    cancel_ns: int
    sizing: Sizing


class RiskCore:
    """Judge every proposal, and watch over each GO until it expires."""

    def __init__(self, policy: RiskPolicy, mode: Mode = "live", operator_key: str = "") -> None:
        self.policy = policy
        self.mode = mode
        self.policy_hash = config_hash(policy)
        self.desk = SizingDesk(policy.sizing)
        self.held = Held(self.desk.own)
        self._held_e6: int | None = None
        self.inputs = Inputs()
        self.panic = Panic(policy.gates)
        self.overrides = Overrides(
            operator_key,
            seconds_ns(policy.gates.override_s_max),
            policy.sizing.size_ladder.stages,
        )
        self.newest: dict[str, Verdict] = {}
        """The newest verdict of each event that is not past."""
        self._standing: dict[str, Standing] = {}
        self._timers_ns: dict[str, int] = {}
        self._verdicts = {"GO": 0, "NO-GO": 0}

    def handle(self, event: Event) -> list[Effect]:
        """Fold one event; return verdicts and when to look again."""
        match event:
            case KillSwitchRead():
                return self._on_kill_switch(event)
            case OverrideOffered():
                return self._on_override(event)
            case TimerFired() if event.key.startswith(TIMER):
                event_ticker = event.key.removeprefix(TIMER)
                self._timers_ns.pop(event_ticker, None)
                cause = Cause.first("timer", f"{event.key}@{event.at_ns}", event.now_ns)
                return self._recheck(event_ticker, cause, 0)
            case Received():
                cause = Cause.of(event.message, event.now_ns)
                if isinstance(event.message, Proposal):
                    return self._judge(event.message, cause)
                if self.fold_own(event.message, event.stream, event.sequence):
                    return []
                return self._observe(event.message, cause)
            case _:
                return []

    def fold_own(self, message: Message, stream: str, sequence: int) -> bool:
        """Fold what is about our own orders; return False for anything else."""
        if not isinstance(message, OrderIntent | OrderUpdate | Fill | ExchangeSettlement):
            return False
        self.desk.apply(message, stream, sequence)
        self.held.fold(message)
        self._held_e6 = None
        return True

    def summary(self) -> str:
        """Return one line for the heartbeat."""
        refused = sum(self.overrides.refused.values())
        return (
            f"GO {self._verdicts['GO']}, NO-GO {self._verdicts['NO-GO']}, "
            f"standing {len(self._standing)}, unknown orders {len(self.desk.own.unknown_orders())}"
            + (f", overrides refused {refused}" if refused else "")
        )

    def _observe(self, message: Message, cause: Cause) -> list[Effect]:
        """Fold an input of the gates; look again at what it could end."""
        match message:
            case MonitorResult():
                latch = self.panic.hear(message, cause)
                return [] if latch is None else [Publish(message=latch), *self._recheck_all(cause)]
            case PanicLatch():
                self.panic.fold(message)
                return self._recheck_all(cause)
            case Override():
                self.overrides.read_back(message, cause.now_ns)
                return []
            case LadderSnapshot():
                self._held_e6 = None
            case LadderDefined():
                self.desk.define(message, cause.now_ns)
                self._held_e6 = None
            case FairLadder():
                self.desk.fair(message, cause.now_ns)
            case _:
                pass
        concerned = self.inputs.fold(message, cause)
        if concerned is None:
            return []
        return self._recheck(concerned, cause, 0) if concerned else self._recheck_all(cause)

    def _on_override(self, offered: OverrideOffered) -> list[Effect]:
        """Publish an override that is in force from now on, and what it changes at once."""
        override, now_ns = offered.override, offered.now_ns
        cause = Cause.first("override", f"{override.nonce}|{now_ns}", now_ns)
        known = self.inputs.fee_rules.get(override.scope)
        refusal, explanation = self.overrides.offer(override, now_ns, known)
        effects: list[Effect] = [
            OverrideAnswered(override=override, refusal=refusal, explanation=explanation)
        ]
        if refusal:
            return effects
        words = envelope(cause, "risk", derived_id("override", override.nonce))
        effects.append(Publish(message=replace(override, **words)))
        if override.kind == "lift_panic":
            effects.append(Publish(message=self.panic.lift(cause)))
        return effects

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
        stage = self.overrides.stage(proposal.series_ticker, now_ns)
        sizing = self.desk.size(self._uncapped(proposal), now_ns, stage)
        results = tuple([answer.result for answer in answers])
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

    def _uncapped(self, proposal: Proposal) -> Proposal:
        """Return it without quotes in bins that fell short; with real money alone these count."""
        evidence = self.inputs.evidence.get(proposal.series_ticker)
        if self.mode != "live" or evidence is None:
            return proposal
        most_e6 = self.policy.quality_gates.ev_gap_e6_max
        _, capped = shortfalls(_probabilities(proposal), evidence.bins, most_e6)
        if not any(capped):
            return proposal
        left = [quote for quote, out in zip(proposal.quotes, capped, strict=True) if not out]
        return replace(proposal, quotes=tuple(left))

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
        results = tuple([answer.result for answer in answers])
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
        series_ticker = proposal.series_ticker
        quoted = tuple([quote.ticker for quote in proposal.quotes])
        if self._held_e6 is None:
            self._held_e6 = self.held.pnl_e6(inputs.exits_e4)
        held_e6 = self._held_e6
        question = Question(
            now_ns=now_ns,
            family=proposal.family,
            series_ticker=series_ticker,
            event_ticker=event_ticker,
            target_ns=proposal.target_ns,
            proposal_ns=proposal.ts_pub_ns,
            proposal_expires_ns=proposal.expires_at_ns,
            standing=standing,
            level_ns=level_ns,
            books_ns=books_ns,
            quoted_tickers=quoted,
            gap_tickers=inputs.gap_tickers(event_ticker, quoted),
            inactive_tickers=inputs.inactive_tickers(event_ticker),
            markets_count=len(inputs.rungs.get(event_ticker, ())),
            kill_switch_engaged=switch.engaged if switch else None,
            kill_switch_read_ns=switch.now_ns if switch else None,
            heartbeats=inputs.heartbeats,
            clock_samples=inputs.clock_samples,
            exchange=inputs.exchange,
            calibration_data_end_ns=proposal.calibration_data_end_ns,
            ev_min_e6=min([one.ev_per_contract_e6 for one in proposal.quotes], default=None),
            probabilities=_probabilities(proposal),
            config_hash=self.policy_hash,
            readiness=inputs.readiness.get(series_ticker),
            evidence=inputs.evidence.get(series_ticker),
            ledger_ns=inputs.ledger_ns,
            monitors_ns=self.panic.heard_ns,
            panic_latched_by=self.panic.latched_by(now_ns),
            panic_alerting=self.panic.alerting(now_ns),
            day_pnl_e6=self.desk.profit.day_e6(now_ns) + held_e6,
            week_pnl_e6=self.desk.profit.week_e6(now_ns) + held_e6,
            fee_rules=inputs.fee_rules.get(series_ticker),
            feeds=inputs.feeds,
            acknowledged_hashes=self.overrides.acknowledged_hashes(series_ticker, now_ns),
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
        go = not [gate for gate in gates if not gate.ok and not gate.advisory]
        quotes = sizing.quotes if go else ()
        decision: Literal["GO", "NO-GO"] = "GO" if go else "NO-GO"
        self._verdicts[decision] += 1
        cancel_ns = self._cancel_ns(proposal, cause.now_ns)
        latest_ns = cause.now_ns + seconds_ns(self.policy.gates.verdict_ttl_s_max)
        # A proposal that is judged anew after a restart may be judged differently: the bus must
        # not drop that as the first verdict sent twice.
        content = (decision, sizing.content) if quotes else (decision,)
        verdict = Verdict(
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
            steps=STEPS,
        )
        if proposal.event_ticker not in self.newest:
            past_ns = cause.now_ns - NS_PER_HOUR
            kept = {name: one for name, one in self.newest.items() if one.target_ns > past_ns}
            self.newest = kept
        self.newest[proposal.event_ticker] = verdict
        return verdict

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


def _probabilities(proposal: Proposal) -> tuple[float, ...]:
    return tuple([quote.probability for quote in proposal.quotes])
