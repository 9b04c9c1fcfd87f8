"""Is everything that prices depend on new enough? One row a feed (domain.md §1).

Index levels come in US cash hours only; outside them their silence is normal and no alert. A
feed that no watched family needs has no row.
"""

from libs.common.freshness import FeedRule, business_days
from libs.common.messages import FeedStatus, IndexTick, Message
from libs.domain.calendar import CalendarError, Session, nyse_session
from libs.domain.eastern import eastern_date
from libs.domain.families import family_named
from services.monitors.ladders import Ladder, Ladders
from services.monitors.policy import MonitorsPolicy
from services.monitors.reading import (
    NS_PER_S,
    Age,
    Reading,
    Since,
    caused,
    listed,
    nanoseconds,
    no_data,
    seconds,
    worst,
)

INDEX_FEED = "index.ws"
LADDER_FEED = "kalshi.ladders"
DAY_NS = 86_400 * NS_PER_S
LAST_MINUTE_NS = 60 * NS_PER_S


class Freshness:
    """ALERT for a feed that is unwell, silent or old; one reading for each feed that is needed."""

    name = "freshness"

    def __init__(self, policy: MonitorsPolicy, ladders: Ladders, since: Since) -> None:
        self._table = policy.freshness
        self._rules = {
            feed: rule
            for feed, rule in self._table.feeds.items()
            if rule.is_needed(policy.families)
        }
        self._symbols = tuple(
            dict.fromkeys(
                symbol
                for name in policy.families
                if (symbol := family_named(name).index_symbol) is not None
            )
        )
        self._ladders = ladders
        self._since = since
        self._feeds: dict[str, FeedStatus] = {}
        self._levels_ns: dict[str, int] = {}

    def fold(self, message: Message) -> None:
        if isinstance(message, FeedStatus) and message.feed in self._rules:
            known = self._feeds.get(message.feed)
            if known is None or message.ts_pub_ns >= known.ts_pub_ns:
                self._feeds[message.feed] = message
        elif isinstance(message, IndexTick) and message.symbol in self._symbols:
            known_ns = self._levels_ns.get(message.symbol, 0)
            self._levels_ns[message.symbol] = max(known_ns, message.bar_end_ns)

    def look(self, now_ns: int) -> dict[str, Reading]:
        session = _session(now_ns)
        ladders = list(self._ladders.trading(now_ns))
        return {
            feed: self._judge(feed, rule, now_ns, session, ladders)
            for feed, rule in self._rules.items()
        }

    def _judge(
        self, feed: str, rule: FeedRule, now_ns: int, session: Session | None, ladders: list[Ladder]
    ) -> Reading:
        status = self._feeds.get(feed)
        heard_ns = self._since.at_ns if status is None else status.ts_pub_ns
        report_ns = nanoseconds(self._table.report_s)
        ages = [Age(f"report of {feed}", max(0, now_ns - heard_ns), report_ns)]
        quiet = rule.cash_hours_only and session is None
        wrong = []
        if feed == INDEX_FEED and session is not None:
            ages += self._levels(now_ns, session, self._limit_ns(rule, now_ns, ladders))
        elif feed == LADDER_FEED:
            limit_ns = self._limit_ns(rule, now_ns, ladders)
            ages += [
                Age(each.event_ticker, max(0, now_ns - each.snapshot.recv_ns), limit_ns)
                for each in ladders
            ]
        elif status is not None and status.newest_ns and not quiet:
            ages.append(self._observed(rule, status.newest_ns, now_ns, ladders))
        if status is not None and not status.ok and not quiet:
            wrong.append(status.detail or "not ok")
        wrong = [age.text() for age in ages if age.too_old] + wrong
        oldest = worst(ages[1:] or ages)
        silent = ages[0].too_old and (len(ages) == 1 or not oldest.too_old)
        shown = ages[0] if silent else oldest
        value, limit = seconds(shown.age_ns), seconds(shown.limit_ns)
        if wrong:
            return caused(value, limit, listed(wrong))
        if status is None:
            return no_data(limit, "not heard of yet")
        return Reading("OK", value, limit, "the cash session is closed" if quiet else shown.text())

    def _limit_ns(self, rule: FeedRule, now_ns: int, ladders: list[Ladder]) -> int:
        """Return how old the newest observation may be now: least in a ladder's last minute."""
        lead_ns = nanoseconds(self._table.window_lead_s)
        left_ns = min(
            (
                ladder.snapshot.target_ns - now_ns
                for ladder in ladders
                if not rule.families or ladder.family in rule.families
            ),
            default=lead_ns + 1,
        )
        if rule.last_minute_s is not None and left_ns <= LAST_MINUTE_NS:
            # A level is as old as its bar when the next one is due.
            return nanoseconds(rule.last_minute_s + self._table.level_period_s)
        if rule.window_s is not None and left_ns <= lead_ns:
            return nanoseconds(rule.window_s + rule.period_s)
        assert rule.stale_s is not None, "a rule without days has seconds"
        return nanoseconds(rule.stale_s + rule.period_s)

    def _levels(self, now_ns: int, session: Session, limit_ns: int) -> list[Age]:
        since_ns = max(session.open_ns, self._since.at_ns)
        return [
            Age(name, max(0, now_ns - max(self._levels_ns.get(name, 0), since_ns)), limit_ns)
            for name in self._symbols
        ]

    def _observed(self, rule: FeedRule, newest_ns: int, now_ns: int, ladders: list[Ladder]) -> Age:
        if rule.business_days is None:
            limit_ns = self._limit_ns(rule, now_ns, ladders)
            return Age("newest observation", max(0, now_ns - newest_ns), limit_ns)
        passed = business_days(newest_ns, now_ns)
        return Age("newest business day", passed * DAY_NS, rule.business_days * DAY_NS)


def _session(now_ns: int) -> Session | None:
    """Return the cash session that is on, None when there is none or the calendar ends."""
    try:
        session = nyse_session(eastern_date(now_ns))
    except CalendarError:
        return None
    return session if session and session.open_ns <= now_ns < session.close_ns else None
