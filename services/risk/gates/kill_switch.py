"""Gate `kill_switch`: released, and seen to be so within 5 s; what can't be read is engaged."""

from libs.common.messages import GateResult
from services.risk.gates.contract import DECIDES, Answer, Question, seconds
from services.risk.policy import RiskPolicy, seconds_ns

NAME = "kill_switch"
INPUTS: tuple[str, ...] = ("now_ns", "kill_switch_engaged", "kill_switch_read_ns")
WEIGHT = DECIDES
REASON = "kill_switch"


def ask(question: Question, policy: RiskPolicy) -> Answer:
    """Measure how long ago the switch was last read."""
    limit_s, read_ns = policy.gates.kill_switch_age_s_max, question.kill_switch_read_ns
    age_s = None if read_ns is None else seconds(question.now_ns - read_ns)
    if read_ns is None or question.kill_switch_engaged is None:
        detail = "unreadable counts as engaged"
    elif question.kill_switch_engaged:
        detail = "engaged"
    elif question.now_ns - read_ns > seconds_ns(limit_s):
        detail = "not read lately counts as engaged"
    else:
        detail = ""
    result = GateResult(
        gate=NAME,
        ok=not detail,
        reason=REASON if detail else "",
        measured=age_s,
        limit=limit_s,
        unit="s",
        detail=detail,
    )
    return Answer(result, None if read_ns is None else read_ns + seconds_ns(limit_s) + 1)
