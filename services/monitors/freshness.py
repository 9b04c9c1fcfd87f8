"""Is everything that prices depend on new enough? (domain.md §1)

Index levels come in US cash hours only; outside them their silence is normal and no alert. Inside
they may be 15 s old, and 2 s within the quoting window of a ladder.
"""

from libs.common.messages import FeedStatus, IndexTick, Message
from libs.domain.calendar import CalendarError, Session, nyse_session
from libs.domain.eastern import eastern_date
from services.monitors.ladders import Ladders
from services.monitors.policy import MonitorsPolicy
from services.monitors.reading import Age, Reading, Since, listed, nanoseconds, seconds, worst

INDEX_FEED = "index.ws"


class Freshness:
    """ALERT for a feed that is unwell or silent, an old index level, an old ladder."""

    name = "freshness"

    def __init__(self, policy: MonitorsPolicy, ladders: Ladders, since: Since) -> None:
        self._policy = policy
        self._ladders = ladders
        self._since = since
        self._feeds: dict[str, FeedStatus] = {}
        self._levels_ns: dict[str, int] = {}

    def fold(self, message: Message) -> None:
        if isinstance(message, FeedStatus) and message.feed in self._policy.feeds:
            known = self._feeds.get(message.feed)
            if known is None or message.ts_pub_ns >= known.ts_pub_ns:
                self._feeds[message.feed] = message
        elif isinstance(message, IndexTick) and message.symbol in self._policy.index_symbols:
            known_ns = self._levels_ns.get(message.symbol, 0)
            self._levels_ns[message.symbol] = max(known_ns, message.bar_end_ns)

    def feed_ages(self, now_ns: int) -> dict[str, float]:
        """Return how old each feed's newest observation is, in seconds."""
        return {
            name: seconds(max(0, now_ns - status.newest_ns))
            for name, status in self._feeds.items()
            if status.newest_ns
        }

    def look(self, now_ns: int) -> Reading:
        session = _session(now_ns)
        silent, unwell, unheard = self._reports(now_ns, session is not None)
        ages = silent + self._levels(now_ns, session) + self._books(now_ns)
        wrong = [age.text() for age in ages if age.too_old] + unwell
        oldest = worst(ages)
        value, limit = seconds(oldest.age_ns), seconds(oldest.limit_ns)
        if wrong:
            return Reading("ALERT", value, limit, listed(wrong))
        if unheard:
            return Reading("NO_DATA", None, limit, f"not heard of yet: {listed(unheard)}")
        shut = "" if session is not None else "; the cash session is closed"
        return Reading("OK", value, limit, f"oldest: {oldest.text()}{shut}")

    def _reports(self, now_ns: int, in_session: bool) -> tuple[list[Age], list[str], list[str]]:
        """Return each feed report's age, what the feeds complain of, and who is yet to report."""
        limit_ns = nanoseconds(self._policy.feed_report_s)
        ages, unwell, unheard = [], [], []
        for name in self._policy.feeds:
            status = self._feeds.get(name)
            heard_ns = self._since.at_ns if status is None else status.ts_pub_ns
            ages.append(Age(f"report of {name}", max(0, now_ns - heard_ns), limit_ns))
            if status is None:
                unheard.append(name)
            elif not status.ok and (in_session or name != INDEX_FEED):
                unwell.append(f"{name}: {status.detail or 'not ok'}")
        return ages, unwell, unheard

    def _levels(self, now_ns: int, session: Session | None) -> list[Age]:
        if session is None:
            return []
        policy = self._policy
        lead_ns = nanoseconds(policy.window_lead_s)
        in_window = any(
            seen.target_ns - lead_ns <= now_ns for seen in self._ladders.trading(now_ns)
        )
        limit_ns = nanoseconds(policy.index_window_s if in_window else policy.index_session_s)
        since_ns = max(session.open_ns, self._since.at_ns)
        return [
            Age(name, max(0, now_ns - max(self._levels_ns.get(name, 0), since_ns)), limit_ns)
            for name in policy.index_symbols
        ]

    def _books(self, now_ns: int) -> list[Age]:
        limit_ns = nanoseconds(self._policy.ladder_s)
        return [
            Age(seen.event_ticker, max(0, now_ns - seen.recv_ns), limit_ns)
            for seen in self._ladders.trading(now_ns)
        ]


def _session(now_ns: int) -> Session | None:
    """Return the cash session that is on, None when there is none or the calendar ends."""
    try:
        session = nyse_session(eastern_date(now_ns))
    except CalendarError:
        return None
    return session if session and session.open_ns <= now_ns < session.close_ns else None
