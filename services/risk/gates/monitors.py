"""Gate `monitors`: a monitor's result came within two hours (domain.md §3)."""

from libs.common.messages import GateResult
from services.risk.gates.contract import EVIDENCE, Answer, Question, aged
from services.risk.policy import RiskPolicy, seconds_ns

NAME = "monitors"
INPUTS: tuple[str, ...] = ("now_ns", "monitors_ns")
WEIGHT = EVIDENCE
REASON = "monitors_stale"


def ask(question: Question, policy: RiskPolicy) -> Answer:
    """Measure how long ago the newest result came."""
    limit_s = policy.gates.monitors_age_s_max
    if question.monitors_ns is None:
        detail = "no monitor has reported"
        result = GateResult(gate=NAME, ok=False, reason=REASON, limit=limit_s, detail=detail)
        return Answer(result, unproven=True)
    return aged(NAME, REASON, question.now_ns, question.monitors_ns, seconds_ns(limit_s))
