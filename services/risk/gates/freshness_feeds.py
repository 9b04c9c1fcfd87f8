"""Gate `freshness_feeds`: every other feed that the family needs is well and new enough.

The level, the books, the exchange's status and the clock have gates of their own; the rest is the
freshness table's (configs/freshness.yaml, domain.md §1). A family that no feed is named for has
nothing to be priced from.
"""

from libs.common.freshness import FeedRule, business_days
from libs.common.messages import FeedStatus, GateResult
from libs.domain.calendar import CalendarError
from libs.domain.families import UnknownFamilyError, family_named
from services.risk.gates.contract import DECIDES, Answer, Question, seconds
from services.risk.policy import RiskPolicy, seconds_ns

NAME = "freshness_feeds"
INPUTS: tuple[str, ...] = ("now_ns", "family", "feeds")
WEIGHT = DECIDES
REASON = "STALE_FEEDS"
REASONS = ("AAA_OUT_OF_RANGE", "TENY_SERIES_MISMATCH")
"""What a feed says of itself that has a reason code of its own."""
SEEN_ELSEWHERE = frozenset({"index.ws", "kalshi.ladders", "kalshi.status", "clock"})


def ask(question: Question, policy: RiskPolicy) -> Answer:
    """Measure how old the oldest report of a needed feed is; name the first that is amiss."""
    table = policy.freshness
    needed = {
        name: rule
        for name, rule in table.feeds.items()
        if name not in SEEN_ELSEWHERE and question.family in rule.families
    }
    if not needed and not _is_index(question.family):
        return Answer(_no(REASON, None, None, f"no feed is named for {question.family}"))
    reported = [question.feeds[name].ts_pub_ns for name in needed if name in question.feeds]
    age_ns = question.now_ns - min(reported, default=question.now_ns)
    for name, rule in needed.items():
        reason, detail = _amiss(rule, question.feeds.get(name), question.now_ns, table.report_s)
        if reason:
            return Answer(_no(reason, seconds(age_ns), table.report_s, f"{name}: {detail}"))
    result = GateResult(
        gate=NAME, ok=True, measured=seconds(age_ns), limit=table.report_s, unit="s"
    )
    turns_ns = min(reported) + seconds_ns(table.report_s) + 1 if reported else None
    return Answer(result, turns_ns)


def _amiss(
    rule: FeedRule, status: FeedStatus | None, now_ns: int, report_s: float
) -> tuple[str, str]:
    """Return the reason code and what is amiss with one feed, "" for nothing."""
    if status is None:
        return REASON, "it has not been heard of"
    if not status.ok:
        code = next((one for one in REASONS if status.detail.startswith(one)), REASON)
        return code, status.detail or "not well"
    if now_ns - status.ts_pub_ns > seconds_ns(report_s):
        return REASON, "it is silent"
    if rule.business_days is not None:
        try:
            passed = business_days(status.newest_ns, now_ns)
        except CalendarError as error:
            return REASON, str(error)
        return (REASON, f"{passed} business days old") if passed > rule.business_days else ("", "")
    limit_s = rule.window_s if rule.window_s is not None else rule.stale_s
    assert limit_s is not None, "a rule without days has seconds"
    age_ns = now_ns - status.newest_ns
    too_old = age_ns > seconds_ns(limit_s + rule.period_s)
    return (REASON, f"{seconds(age_ns):.0f} s old") if too_old else ("", "")


def _is_index(family_name: str) -> bool:
    try:
        return family_named(family_name).index_symbol is not None
    except UnknownFamilyError:
        return False


def _no(reason: str, measured: float | None, limit: float | None, detail: str) -> GateResult:
    return GateResult(
        gate=NAME, ok=False, reason=reason, measured=measured, limit=limit, unit="s", detail=detail
    )
