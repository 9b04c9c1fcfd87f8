"""Gate `freshness_ladder`: timely books without a gap in a quoted one, and a timely proposal."""

from libs.common.messages import GateResult
from services.risk.gates.contract import DECIDES, Answer, Question, seconds
from services.risk.policy import RiskPolicy, seconds_ns

NAME = "freshness_ladder"
INPUTS: tuple[str, ...] = (
    "now_ns",
    "books_ns",
    "gap_tickers",
    "proposal_ns",
    "proposal_expires_ns",
    "standing",
)
WEIGHT = DECIDES
REASON = "STALE_FEEDS"


def ask(question: Question, policy: RiskPolicy) -> Answer:
    """Measure how long ago the event's books were last vouched for."""
    now_ns, limit_s = question.now_ns, policy.gates.books_age_s_max
    age_s = None if question.books_ns is None else seconds(now_ns - question.books_ns)
    detail = ""
    if question.books_ns is None:
        detail = "no books have come"
    elif now_ns - question.books_ns > seconds_ns(limit_s):
        detail = "the books are old"
    elif question.books_ns - now_ns > seconds_ns(limit_s):
        detail = "the books are ahead of our clock"
    elif question.gap_tickers:
        detail = f"gap in {len(question.gap_tickers)}, first {question.gap_tickers[0]}"
    elif not question.standing and now_ns > question.proposal_expires_ns:
        detail = "the proposal has expired"
    elif not question.standing and question.proposal_ns - now_ns > seconds_ns(limit_s):
        detail = "the proposal is from the future"
    result = GateResult(
        gate=NAME,
        ok=not detail,
        reason=REASON if detail else "",
        measured=age_s,
        limit=limit_s,
        unit="s",
        detail=detail,
    )
    if question.books_ns is None:
        return Answer(result)
    return Answer(result, question.books_ns + seconds_ns(limit_s) + 1)
