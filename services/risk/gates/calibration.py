"""Gate `calibration`: what the model was fitted on is at most 14 days old (domain.md §2, §3)."""

from libs.common.messages import GateResult
from services.risk.gates.contract import SIMULATED, Answer, Question
from services.risk.policy import DAY_NS, RiskPolicy

NAME = "calibration"
INPUTS: tuple[str, ...] = ("now_ns", "calibration_data_end_ns")
WEIGHT = SIMULATED
REASON = "calibration_stale"


def ask(question: Question, policy: RiskPolicy) -> Answer:
    """Measure the days since the newest observation behind the proposal's model."""
    limit_days, data_end_ns = (
        policy.gates.calibration_age_days_max,
        question.calibration_data_end_ns,
    )
    age_ns = question.now_ns - data_end_ns
    detail = ""
    if data_end_ns == 0:
        detail = "the proposal names no calibration"
    elif age_ns < 0:
        detail = "it has seen what was not known yet"
    ok = not detail and age_ns <= limit_days * DAY_NS
    result = GateResult(
        gate=NAME,
        ok=ok,
        reason="" if ok else REASON,
        measured=None if data_end_ns == 0 else age_ns / DAY_NS,
        limit=limit_days,
        unit="d",
        detail=detail,
    )
    return Answer(result, data_end_ns + round(limit_days * DAY_NS) + 1)
