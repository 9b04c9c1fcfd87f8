"""Gate `monitors`: a monitor's result came within two hours (domain.md §3)."""

from services.risk.gates.contract import EVIDENCE, Answer, Question, aged
from services.risk.policy import RiskPolicy

NAME = "monitors"
INPUTS: tuple[str, ...] = ("now_ns", "monitors_ns")
WEIGHT = EVIDENCE
REASON = "monitors_stale"


def ask(question: Question, policy: RiskPolicy) -> Answer:
    """Measure how long ago the newest result came."""
    limit_s, said_ns = policy.gates.monitors_age_s_max, question.monitors_ns
    return aged(NAME, REASON, question.now_ns, said_ns, limit_s, "no monitor has reported")
