"""Gate `window`: T−15 min to T−2 s of a target of that day (domain.md §3, cancel buffer 2 s)."""

from libs.common.messages import GateResult
from libs.domain.windows import index_window
from services.risk.gates.contract import Answer, Question, seconds
from services.risk.policy import GatePolicy, seconds_ns

NAME = "window"
INPUTS: tuple[str, ...] = ("now_ns", "family", "target_ns")
OUTSIDE = "outside_window"
PAST = "past_target"


def ask(question: Question, policy: GatePolicy) -> Answer:
    """Measure the seconds left to the target against the side of the window that is nearer."""
    now_ns, target_ns = question.now_ns, question.target_ns
    left_s = seconds(target_ns - now_ns)
    try:
        window = index_window(question.family, target_ns)
    except ValueError as error:
        return Answer(_no(OUTSIDE, left_s, None, str(error)))
    closes_ns = target_ns - seconds_ns(policy.cancel_buffer_s)
    lead_s = seconds(target_ns - window.opens_ns)
    if now_ns >= target_ns:
        return Answer(_no(PAST, left_s, 0.0, "the target has passed"))
    if now_ns >= closes_ns:
        return Answer(_no(OUTSIDE, left_s, policy.cancel_buffer_s, "within the cancel buffer"))
    if now_ns < window.opens_ns:
        return Answer(_no(OUTSIDE, left_s, lead_s, "the window has not opened"))
    return Answer(
        GateResult(gate=NAME, ok=True, measured=left_s, limit=lead_s, unit="s"), closes_ns
    )


def _no(reason: str, left_s: float, limit_s: float | None, detail: str) -> GateResult:
    return GateResult(
        gate=NAME,
        ok=False,
        reason=reason,
        measured=left_s,
        limit=limit_s,
        unit="s",
        detail=detail,
    )
