"""Gate `panic`: not latched for this trading day by monitors that alerted together (domain.md §3).

Three distinct monitors in ALERT within half an hour latch it, and only a signed override lifts
it. When no monitor has ever spoken, nobody knows.
"""

from libs.common.messages import GateResult
from services.risk.gates.contract import EVIDENCE, Answer, Question
from services.risk.policy import RiskPolicy

NAME = "panic"
INPUTS: tuple[str, ...] = ("panic_latched_by", "panic_alerting", "monitors_ns")
WEIGHT = EVIDENCE
REASON = "panic_backoff"


def ask(question: Question, policy: RiskPolicy) -> Answer:
    """Count the distinct monitors that alerted of late, or that latched the day."""
    latched_by = question.panic_latched_by
    counted = latched_by or question.panic_alerting
    detail = ""
    if latched_by:
        detail = f"latched for the day by {', '.join(latched_by)}; lift it with `alpha override`"
    elif question.monitors_ns is None:
        detail = "no monitor has reported"
    result = GateResult(
        gate=NAME,
        ok=not detail,
        reason=REASON if detail else "",
        measured=float(len(counted)),
        limit=float(policy.gates.panic_monitors_min - 1),
        unit="monitors",
        detail=detail,
    )
    return Answer(result, unproven=not latched_by and question.monitors_ns is None)
