"""Gate `exchange`: trading active, said so within 60 s, outside Thursday's maintenance."""

from libs.common.messages import GateResult
from libs.domain.eastern import eastern_datetime
from services.risk.gates.contract import DECIDES, Answer, Question, seconds
from services.risk.policy import RiskPolicy, seconds_ns

NAME = "exchange"
INPUTS: tuple[str, ...] = ("now_ns", "exchange")
WEIGHT = DECIDES
REASON = "exchange_paused"
THURSDAY = 3
MAINTENANCE_HOURS = range(3, 5)


def ask(question: Question, policy: RiskPolicy) -> Answer:
    """Measure how old the exchange's own word is."""
    status, limit_s = question.exchange, policy.gates.exchange_status_age_s_max
    if status is None:
        detail = "the exchange has not been heard of"
        return Answer(GateResult(gate=NAME, ok=False, reason=REASON, limit=limit_s, detail=detail))
    age_ns = question.now_ns - status.ts_event_ns
    if not status.exchange_active:
        detail = "the exchange is not active"
    elif not status.trading_active:
        detail = "trading is not active"
    elif age_ns > seconds_ns(limit_s):
        detail = "its status is old"
    elif in_maintenance(question.now_ns):
        detail = "weekly maintenance"
    else:
        detail = ""
    result = GateResult(
        gate=NAME,
        ok=not detail,
        reason=REASON if detail else "",
        measured=seconds(age_ns),
        limit=limit_s,
        unit="s",
        detail=detail,
    )
    return Answer(result, status.ts_event_ns + seconds_ns(limit_s) + 1)


def in_maintenance(now_ns: int) -> bool:
    """Return whether it is Thursday 03:00 to 05:00 in New York."""
    local = eastern_datetime(now_ns)
    return local.weekday() == THURSDAY and local.hour in MAINTENANCE_HOURS
