"""Gate `heartbeat`: every service's heartbeat within five minutes; missing or stopped is stale."""

from libs.common.messages import GateResult
from libs.common.topology import SERVICES
from services.risk.gates.contract import DECIDES, Answer, Question, seconds
from services.risk.policy import RiskPolicy, seconds_ns

NAME = "heartbeat"
INPUTS: tuple[str, ...] = ("now_ns", "heartbeats")
WEIGHT = DECIDES
REASON = "heartbeat_stale"
NAMES = tuple(service.value for service in SERVICES)


def ask(question: Question, policy: RiskPolicy) -> Answer:
    """Measure the age of the oldest heartbeat among all services."""
    limit_ns = seconds_ns(policy.gates.heartbeat_age_s_max)
    stale: list[str] = []
    oldest_ns: int | None = None
    for service in NAMES:
        beat = question.heartbeats.get(service)
        if beat is None:
            stale.append(f"{service} missing")
            continue
        oldest_ns = beat.ts_event_ns if oldest_ns is None else min(oldest_ns, beat.ts_event_ns)
        if beat.state == "STOPPED":
            stale.append(f"{service} stopped")
        elif question.now_ns - beat.ts_event_ns > limit_ns:
            stale.append(f"{service} silent")
    result = GateResult(
        gate=NAME,
        ok=not stale,
        reason=REASON if stale else "",
        measured=None if oldest_ns is None else seconds(question.now_ns - oldest_ns),
        limit=policy.gates.heartbeat_age_s_max,
        unit="s",
        detail=", ".join(stale),
    )
    return Answer(result, None if oldest_ns is None else oldest_ns + limit_ns + 1)
