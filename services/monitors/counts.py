"""What must happen rarely: dead letters, lost connections."""

from libs.common.messages import DeadLetter, FeedStatus, Message
from services.monitors.policy import MonitorsPolicy
from services.monitors.reading import (
    NS_PER_S,
    Reading,
    RecentTimes,
    Whole,
    judged,
    listed,
    nanoseconds,
    no_data,
)

HOUR_NS = 3_600 * NS_PER_S
SOCKETS = ("index.ws", "kalshi.ladders")


class DeadLetters(Whole):
    """ALERT when messages were refused lately; silence is what is expected."""

    name = "dead_letters"

    def __init__(self, policy: MonitorsPolicy) -> None:
        self._max = policy.dead_letters_max
        self._recent = RecentTimes(nanoseconds(policy.dead_letters_window_s))
        self._last = "none"

    def fold(self, message: Message) -> None:
        if isinstance(message, DeadLetter):
            self._recent.add(message.ts_pub_ns)
            where = f"{message.stream} {message.sequence}"
            self._last = f"{message.source} refused {where}: {message.reason[:200]}"

    def judge(self, now_ns: int) -> Reading:
        count = self._recent.count(now_ns)
        if count > self._max:
            return Reading("ALERT", float(count), float(self._max), f"last: {self._last}")
        return Reading("OK", float(count), float(self._max), f"{count} lately")


class Disconnects(Whole):
    """ALERT when a feed lost its source more often than once an hour (domain.md §5).

    Feeds count their own losses, so none is missed between two reports; a count that falls
    means that feeds started anew.
    """

    name = "ws_disconnect_rate"

    def __init__(self, policy: MonitorsPolicy) -> None:
        self._per_hour = policy.disconnects_per_hour
        self._window_ns = nanoseconds(policy.disconnects_window_s)
        self._totals: dict[str, int] = {}
        self._newest_ns: dict[str, int] = {}
        self._recent = {feed: RecentTimes(self._window_ns) for feed in SOCKETS}

    def fold(self, message: Message) -> None:
        if not isinstance(message, FeedStatus) or message.feed not in SOCKETS:
            return
        if message.ts_pub_ns < self._newest_ns.get(message.feed, 0):
            return  # an older report, delivered again
        self._newest_ns[message.feed] = message.ts_pub_ns
        total, known = message.failures, self._totals.get(message.feed)
        self._totals[message.feed] = total
        if known is not None:
            fresh = total - known if total >= known else total
            self._recent[message.feed].add(message.ts_pub_ns, fresh)

    def judge(self, now_ns: int) -> Reading:
        if not self._totals:
            return no_data(self._per_hour, "no feed has reported yet")
        hours = self._window_ns / HOUR_NS
        rates = {feed: times.count(now_ns) / hours for feed, times in self._recent.items()}
        worst = max(rates.values())
        texts = [f"{feed} {rate:.2f} an hour" for feed, rate in rates.items()]
        return judged(worst > self._per_hour, worst, self._per_hour, listed(texts))
