"""Gate `freeze`: nothing is quoted in a family that waits for a scheduled figure (domain.md §3).

The freeze ends when the family's own window opens, and blocks no other family. A day that the
calendar does not hold counts as frozen.
"""

from libs.common.messages import GateResult
from libs.domain.calendar import CalendarError
from libs.domain.eastern import utc_text
from libs.domain.families import UnknownFamilyError
from libs.domain.windows import WindowError, window_state
from services.risk.gates.contract import DECIDES, Answer, Question, seconds
from services.risk.policy import RiskPolicy

NAME = "freeze"
INPUTS: tuple[str, ...] = ("now_ns", "family")
WEIGHT = DECIDES
REASON = "freeze_window"


def ask(question: Question, policy: RiskPolicy) -> Answer:
    """Measure how long the freeze that is on has lasted."""
    try:
        state = window_state(question.family, question.now_ns, policy.index_ops)
    except (WindowError, CalendarError, UnknownFamilyError) as error:
        return Answer(GateResult(gate=NAME, ok=False, reason=REASON, detail=str(error)))
    freeze = state.freeze
    if freeze is None:
        return Answer(GateResult(gate=NAME, ok=True, limit=0.0, unit="s"), state.freezes_ns)
    assert freeze.freeze_ns is not None, "a window that is frozen has a freeze"
    result = GateResult(
        gate=NAME,
        ok=False,
        reason=REASON,
        measured=seconds(question.now_ns - freeze.freeze_ns),
        limit=0.0,
        unit="s",
        detail=f"until {utc_text(freeze.opens_ns)}",
    )
    return Answer(result)
