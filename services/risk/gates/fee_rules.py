"""Gate `fee_rules`: what the exchange publishes of fees and rules is what was acknowledged.

A change counts as unacknowledged until the operator signs for it or the configuration names it
(domain.md §3).
"""

from libs.common.messages import GateResult
from services.risk.gates.contract import EVIDENCE, Answer, Question, seconds
from services.risk.policy import RiskPolicy, seconds_ns

NAME = "fee_rules"
INPUTS: tuple[str, ...] = ("now_ns", "series_ticker", "fee_rules", "acknowledged_hashes")
WEIGHT = EVIDENCE
REASON = "fee_rules_unacknowledged"


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
    detail = f"facts {known.facts_hash}: {known.fee_type} × {known.fee_multiplier:g}"
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
