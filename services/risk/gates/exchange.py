"""Gate `exchange`: trading active, said so within 60 s, outside Thursday's maintenance, and each
quoted market active.

A market that stands still is not quoted beside the others: the gate says no while a quote is on
it, or while none of the event's markets trades.
"""

from libs.common.messages import GateResult
from libs.domain.eastern import eastern_datetime
from services.risk.gates.contract import DECIDES, Answer, Question, seconds
from services.risk.policy import RiskPolicy, seconds_ns

NAME = "exchange"
INPUTS: tuple[str, ...] = (
    "now_ns",
    "exchange",
    "quoted_tickers",
    "inactive_tickers",
    "markets_count",
)
WEIGHT = DECIDES
REASON = "exchange_paused"
THURSDAY = 3
MAINTENANCE_HOURS = range(3, 5)
NAMED_MAX = 20


def ask(question: Question, policy: RiskPolicy) -> Answer:
    """Measure how old the exchange's own word is."""
    status, limit_s = question.exchange, policy.gates.exchange_status_age_s_max
    if status is None:
        detail = "the exchange has not been heard of"
        return Answer(GateResult(gate=NAME, ok=False, reason=REASON, limit=limit_s, detail=detail))
    age_ns = question.now_ns - status.ts_event_ns
    ok, detail = False, ""
    if not status.exchange_active:
        detail = "the exchange is not active"
    elif not status.trading_active:
        detail = "trading is not active"
    elif age_ns > seconds_ns(limit_s):
        detail = "its status is old"
    elif in_maintenance(question.now_ns):
        detail = "weekly maintenance"
    else:
        ok, detail = _markets(question)
    result = GateResult(
        gate=NAME,
        ok=ok,
        reason="" if ok else REASON,
        measured=seconds(age_ns),
        limit=limit_s,
        unit="s",
        detail=detail,
    )
    return Answer(result, status.ts_event_ns + seconds_ns(limit_s) + 1)


def _markets(question: Question) -> tuple[bool, str]:
    """Return whether what is quoted trades, and which of the event's markets don't."""
    inactive = question.inactive_tickers
    if inactive is None:
        return False, "which of its markets are active is not known"
    if not inactive:
        return True, ""
    quoted = [ticker for ticker in question.quoted_tickers if ticker in inactive]
    ok = not quoted and len(inactive) < question.markets_count
    named = ", ".join((quoted or list(inactive))[:NAMED_MAX])
    return ok, f"{len(inactive)} of {question.markets_count} markets not active: {named}"


def in_maintenance(now_ns: int) -> bool:
    """Return whether it is Thursday 03:00 to 05:00 in New York."""
    local = eastern_datetime(now_ns)
    return local.weekday() == THURSDAY and local.hour in MAINTENANCE_HOURS
