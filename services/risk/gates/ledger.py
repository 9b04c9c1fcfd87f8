"""Gate `ledger`: reporting said within two hours that the ledger goes on (domain.md §3)."""

from services.risk.gates.contract import EVIDENCE, Answer, Question, aged
from services.risk.policy import RiskPolicy

NAME = "ledger"
INPUTS: tuple[str, ...] = ("now_ns", "ledger_ns")
WEIGHT = EVIDENCE
REASON = "ledger_stale"


def ask(question: Question, policy: RiskPolicy) -> Answer:
    """Measure how long ago the ledger last said so."""
    limit_s, said_ns = policy.gates.ledger_age_s_max, question.ledger_ns
    return aged(NAME, REASON, question.now_ns, said_ns, limit_s, "the ledger has not reported")
