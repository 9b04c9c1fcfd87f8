"""Gate `window`: the family's quoting window, less the cancel buffer (domain.md §3).

Index families quote before each of the day's targets; the others in the window of the day's
release, par yield or weather cycle.
"""

from libs.common.messages import GateResult
from libs.domain.calendar import CalendarError
from libs.domain.eastern import utc_text
from libs.domain.families import UnknownFamilyError, family_named, family_of_series
from libs.domain.tickers import TickerError, parse_event_ticker
from libs.domain.windows import Window, WindowError, index_window, window_state
from services.risk.gates.contract import DECIDES, Answer, Question, seconds
from services.risk.policy import RiskPolicy

NAME = "window"
INPUTS: tuple[str, ...] = ("now_ns", "family", "series_ticker", "event_ticker", "target_ns")
WEIGHT = DECIDES
OUTSIDE = "outside_window"
PAST = "past_target"


def ask(question: Question, policy: RiskPolicy) -> Answer:
    """Measure the seconds left to the window's end against the side of it that is nearer."""
    now_ns, target_ns, rules = question.now_ns, question.target_ns, policy.index_ops
    if now_ns >= target_ns:
        return _no(PAST, seconds(target_ns - now_ns), 0.0, "the target has passed")
    try:
        series_ticker = question.event_ticker.partition("-")[0]
        family = family_of_series(series_ticker).name
        if (series_ticker, family) != (question.series_ticker, question.family):
            claimed = f"{question.series_ticker} of {question.family}"
            said = f"expected {series_ticker} of {family}, as the event, got {claimed}"
            return _no(OUTSIDE, seconds(target_ns - now_ns), None, said)
        if is_index(family):
            named_ns = parse_event_ticker(question.event_ticker).target_ns
            if named_ns != target_ns:
                said = f"expected {utc_text(named_ns)}, as the event, got {utc_text(target_ns)}"
                return _no(OUTSIDE, seconds(target_ns - now_ns), None, said)
        window = quoting_window(question.family, target_ns, now_ns, policy)
    except (WindowError, CalendarError, UnknownFamilyError, TickerError) as error:
        return _no(OUTSIDE, seconds(target_ns - now_ns), None, str(error))
    if window is None:
        return _no(OUTSIDE, seconds(target_ns - now_ns), None, "no window is open")
    left_s = seconds(window.closes_ns - now_ns)
    lead_s = seconds(window.closes_ns - window.opens_ns)
    cancel_ns = window.cancel_ns(rules)
    if now_ns >= cancel_ns:
        return _no(OUTSIDE, left_s, rules.cancel_buffer_s, "within the cancel buffer")
    if now_ns < window.opens_ns:
        return _no(OUTSIDE, left_s, lead_s, "the window has not opened")
    result = GateResult(gate=NAME, ok=True, measured=left_s, limit=lead_s, unit="s")
    return Answer(result, cancel_ns)


def is_index(family_name: str) -> bool:
    """Tell whether each ticker of a family names the hour of its target."""
    return family_named(family_name).index_symbol is not None


def quoting_window(
    family_name: str, target_ns: int, now_ns: int, policy: RiskPolicy
) -> Window | None:
    """Return the window in which an event may be quoted: its own, or the family's open one."""
    if is_index(family_name):
        return index_window(family_name, target_ns, policy.index_ops)
    return window_state(family_name, now_ns, policy.index_ops).open


def _no(reason: str, left_s: float, limit_s: float | None, detail: str) -> Answer:
    return Answer(
        GateResult(
            gate=NAME,
            ok=False,
            reason=reason,
            measured=left_s,
            limit=limit_s,
            unit="s",
            detail=detail,
        )
    )
