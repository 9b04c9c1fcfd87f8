"""Gate `readiness`: reporting's GO for the series, bound to targets and policy (domain.md §3)."""

from libs.common.messages import GateResult
from libs.domain.eastern import utc_text
from services.risk.gates.contract import REAL_MONEY, Answer, Question, seconds
from services.risk.policy import RiskPolicy

NAME = "readiness"
INPUTS: tuple[str, ...] = ("now_ns", "target_ns", "readiness", "config_hash")
WEIGHT = REAL_MONEY
REASON = "readiness_no_go"


def ask(question: Question, policy: RiskPolicy) -> Answer:
    """Measure how long the GO still holds."""
    del policy
    known = question.readiness
    if known is None:
        detail = "reporting has sent none"
        return Answer(GateResult(gate=NAME, ok=False, reason=REASON, detail=detail), unproven=True)
    left_ns = known.expires_ns - question.now_ns
    detail = ""
    if not known.go:
        detail = "; ".join(known.reasons) or "NO-GO, no reason given"
    elif left_ns <= 0:
        detail = f"expired at {utc_text(known.expires_ns)}"
    elif not known.targets_from_ns <= question.target_ns <= known.targets_until_ns:
        detail = "it is about other targets"
    elif known.config_hash != question.config_hash:
        detail = f"it is about policy {known.config_hash}, ours is {question.config_hash}"
    result = GateResult(
        gate=NAME,
        ok=not detail,
        reason=REASON if detail else "",
        measured=seconds(left_ns),
        limit=0.0,
        unit="s",
        detail=detail,
    )
    return Answer(result, known.expires_ns)
