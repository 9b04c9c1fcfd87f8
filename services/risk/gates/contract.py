"""The one contract of all gates: a question with every input by name, an answer, and until when.

A gate looks at the inputs that it names, measures one thing and compares it with one limit. An
input that is missing is a no. Gates never see each other, so all of them always run. With real
money every no decides; elsewhere a gate's weight may make it advice, which is shown as such.
"""

from collections.abc import Mapping
from typing import Literal, Protocol

from msgspec import Struct

from libs.common.messages import (
    ClockSample,
    ExchangeStatus,
    FeedStatus,
    FeeRules,
    GateResult,
    Heartbeat,
    SeriesReadiness,
    SettledEvidence,
)
from libs.domain.eastern import NS_PER_S as NS_PER_S
from libs.domain.eastern import utc_text
from services.risk.policy import RiskPolicy, seconds_ns

Mode = Literal["sim", "paper", "dry", "live"]
NOT_LIVE: frozenset[Mode] = frozenset({"sim", "paper", "dry"})


class Weight(Struct, frozen=True):
    """In which modes a gate's no is advice: any no, or one for want of evidence."""

    advises_in: frozenset[Mode] = frozenset()
    unproven_in: frozenset[Mode] = frozenset()

    def is_advice(self, mode: Mode, *, unproven: bool) -> bool:
        """Return whether a no is shown and does not decide."""
        return mode in self.advises_in or (unproven and mode in self.unproven_in)


DECIDES = Weight()
SIMULATED = Weight(advises_in=frozenset({"sim"}))
"""About data that a simulated market does not have."""
EVIDENCE = Weight(unproven_in=NOT_LIVE)
"""Decides everywhere once evidence has come; until then only with real money."""
REAL_MONEY = Weight(advises_in=NOT_LIVE)
"""About being ready for real money: paper trading is how one gets there."""


class Question(Struct, frozen=True, kw_only=True):
    """What is asked about one event now; None stands for an input that has not come.

    `standing` says that a GO is out and is being looked at again, not that one is asked for.
    `gap_tickers` are quoted markets whose book has a gap, `inactive_tickers` all of the event's
    `markets_count` that don't trade; `ev_min_e6` and `probabilities` are of the proposed quotes.
    `panic_latched_by` are the monitors that latched this day, and `panic_alerting` those that
    alerted of late.
    """

    now_ns: int
    family: str
    series_ticker: str
    event_ticker: str
    target_ns: int
    proposal_ns: int
    proposal_expires_ns: int
    standing: bool
    level_ns: int | None
    books_ns: int | None
    quoted_tickers: tuple[str, ...]
    gap_tickers: tuple[str, ...]
    inactive_tickers: tuple[str, ...] | None
    markets_count: int
    kill_switch_engaged: bool | None
    kill_switch_read_ns: int | None
    heartbeats: Mapping[str, Heartbeat]
    clock_samples: Mapping[str, ClockSample]
    exchange: ExchangeStatus | None
    calibration_data_end_ns: int
    ev_min_e6: int | None
    probabilities: tuple[float, ...]
    config_hash: str
    readiness: SeriesReadiness | None
    evidence: SettledEvidence | None
    ledger_ns: int | None
    monitors_ns: int | None
    panic_latched_by: tuple[str, ...]
    panic_alerting: tuple[str, ...]
    day_pnl_e6: int
    week_pnl_e6: int
    fee_rules: FeeRules | None
    feeds: Mapping[str, FeedStatus]
    acknowledged_hashes: frozenset[str]


class Answer(Struct, frozen=True):
    """A gate's result and the first time at which it could turn to no without a new input.

    `unproven`: it says no because evidence that others send has not come, or has expired.
    """

    result: GateResult
    turns_ns: int | None = None
    unproven: bool = False


class Gate(Protocol):
    """One rule of domain.md §3."""

    NAME: str
    INPUTS: tuple[str, ...]
    WEIGHT: Weight

    def ask(self, question: Question, policy: RiskPolicy) -> Answer:
        """Return the answer; never raises, whatever is missing."""
        ...


def seconds(span_ns: int) -> float:
    """Return a span in seconds, for people and gauges."""
    return span_ns / NS_PER_S


def aged(
    gate: str, reason: str, now_ns: int, said_ns: int | None, limit_s: float, missing: str
) -> Answer:
    """Return the answer of a gate that holds the age of one word to one limit."""
    if said_ns is None:
        result = GateResult(gate=gate, ok=False, reason=reason, limit=limit_s, detail=missing)
        return Answer(result, unproven=True)
    limit_ns = seconds_ns(limit_s)
    ok = now_ns - said_ns <= limit_ns
    result = GateResult(
        gate=gate,
        ok=ok,
        reason="" if ok else reason,
        measured=seconds(now_ns - said_ns),
        limit=limit_s,
        unit="s",
    )
    return Answer(result, said_ns + limit_ns + 1)


def expired(evidence: SettledEvidence | None, now_ns: int) -> str | None:
    """Return why settled evidence proves nothing now, None when it does."""
    if evidence is None:
        return "reporting has sent no settled evidence"
    if now_ns >= evidence.expires_ns:
        return f"the evidence expired at {utc_text(evidence.expires_ns)}"
    return None
