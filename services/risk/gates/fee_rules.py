"""Gate `fee_rules`: what the exchange publishes of fees and rules is what was acknowledged.

A change counts as unacknowledged until the operator signs for it or the configuration names it
(domain.md §3).
"""

from libs.common.messages import FeeChangeTold, GateResult
from libs.domain.eastern import utc_text
from services.risk.gates.contract import EVIDENCE, Answer, Question, seconds
from services.risk.policy import RiskPolicy, seconds_ns

NAME = "fee_rules"
INPUTS: tuple[str, ...] = ("now_ns", "series_ticker", "fee_rules", "acknowledged_hashes")
WEIGHT = EVIDENCE
REASON = "fee_rules_unacknowledged"
NAMED_MAX = 10


def ask(question: Question, policy: RiskPolicy) -> Answer:
    """Compare the hash of the published facts with those that were acknowledged."""
    known = question.fee_rules
    if known is None:
        detail = "the exchange's fee and rule facts have not come"
        return Answer(GateResult(gate=NAME, ok=False, reason=REASON, detail=detail), unproven=True)
    configured = policy.gates.fee_rules.get(question.series_ticker, ())
    age_ns, limit_s = question.now_ns - known.ts_event_ns, policy.gates.fee_rules_age_s_max
    stale = age_ns > seconds_ns(limit_s)
    told = known.facts_hash in configured or known.facts_hash in question.acknowledged_hashes
    detail = f"facts {known.facts_hash}: {_fees(known.fee_type, known.fee_multiplier)}"
    detail += "".join(f"; {_change(one)}" for one in known.changes[:NAMED_MAX])
    result = GateResult(
        gate=NAME,
        ok=told and not stale,
        reason="" if told and not stale else REASON,
        measured=seconds(age_ns),
        limit=limit_s,
        unit="s",
        detail=detail,
    )
    turns_ns = known.ts_event_ns + seconds_ns(limit_s) + 1
    return Answer(result, turns_ns, unproven=told and stale)


def _fees(fee_type: str | None, multiplier: float | None) -> str:
    if fee_type is None and multiplier is None:
        return "as its series"
    shown = "the same" if multiplier is None else f"{multiplier:g}"
    return f"{fee_type or 'the same'} × {shown}"


def _change(change: FeeChangeTold) -> str:
    fees = _fees(change.fee_type, change.fee_multiplier)
    return f"{change.event_ticker or 'all'} {fees} from {utc_text(change.from_ns)}"
