"""Gate `ledger`: reporting said within two hours that the ledger goes on (domain.md §3)."""

from libs.common.messages import GateResult
from services.risk.gates.contract import EVIDENCE, Answer, Question, aged
from services.risk.policy import RiskPolicy, seconds_ns

NAME = "ledger"
INPUTS: tuple[str, ...] = ("now_ns", "ledger_ns")
WEIGHT = EVIDENCE
REASON = "ledger_stale"


def ask(question: Question, policy: RiskPolicy) -> Answer:
    """Measure how long ago the ledger last said so."""
    limit_s = policy.gates.ledger_age_s_max
    if question.ledger_ns is None:
        detail = "the ledger has not reported"
        result = GateResult(gate=NAME, ok=False, reason=REASON, limit=limit_s, detail=detail)
        return Answer(result, unproven=True)
    return aged(NAME, REASON, question.now_ns, question.ledger_ns, seconds_ns(limit_s))
