"""Gate `freshness_index`: age of the index level by our receive clock (domain.md §1, §3).

A proposal is made on a tick, so the age at its verdict is the way from the feed to here: more than
2 s is stale, in the last minute more than 0.7 s. A GO that stands is looked at between two bars,
which come once a second: there the period is added, within the limit of the window.
"""

from libs.common.messages import GateResult
from libs.domain.eastern import NS_PER_MINUTE
from services.risk.gates.contract import DECIDES, Answer, Question, seconds
from services.risk.policy import RiskPolicy, seconds_ns

NAME = "freshness_index"
INPUTS: tuple[str, ...] = ("now_ns", "target_ns", "standing", "level_ns")
WEIGHT = DECIDES
REASON = "polygon_ws_stale"


def ask(question: Question, policy: RiskPolicy) -> Answer:
    """Measure how long ago the newest known level was received."""
    limit_s = _limit_s(question, policy, question.now_ns)
    if question.level_ns is None:
        detail = "no level has come"
        return Answer(GateResult(gate=NAME, ok=False, reason=REASON, limit=limit_s, detail=detail))
    age_ns = question.now_ns - question.level_ns
    fresh = abs(age_ns) <= seconds_ns(limit_s)  # ahead of us: whose clock is right?
    result = GateResult(
        gate=NAME,
        ok=fresh,
        reason="" if fresh else REASON,
        measured=seconds(age_ns),
        limit=limit_s,
        unit="s",
    )
    return Answer(result, question.level_ns + seconds_ns(limit_s) + 1)


def _limit_s(question: Question, policy: RiskPolicy, now_ns: int) -> float:
    if question.target_ns - now_ns > NS_PER_MINUTE:
        return policy.gates.level_age_s_max
    tight_s = policy.gates.level_age_last_minute_s_max
    if question.standing:
        tight_s += policy.gates.level_period_s
    return min(tight_s, policy.gates.level_age_s_max)
