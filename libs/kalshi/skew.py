"""How far our clock is from the exchange's, from the `Date` headers of its answers.

`Date` has whole seconds, so one answer bounds the difference to about a second. Answers of the
same minute are intersected, which narrows it; when they contradict each other the clock has
stepped and the newest answer alone counts.
"""

from email.utils import parsedate_to_datetime
from functools import lru_cache

from libs.domain.eastern import NS_PER_S as NS_PER_S

WINDOW_NS = 60 * NS_PER_S


@lru_cache(maxsize=8)  # all answers of one second carry the same text
def parse_http_date_ns(text: str) -> int | None:
    """Return an HTTP date as time_ns, or None when it is not one."""
    try:
        moment = parsedate_to_datetime(text)
        return None if moment.tzinfo is None else round(moment.timestamp()) * NS_PER_S
    except (ValueError, TypeError, IndexError, OverflowError, OSError):
        return None


class SkewEstimate:
    """Our clock minus the exchange's, as the interval that all recent answers allow."""

    def __init__(self) -> None:
        self._low_ns: int | None = None
        self._high_ns = 0
        self._began_ns = 0

    def observe(self, sent_ns: int, received_ns: int, date_ns: int) -> None:
        """Use one answer: it was written between sending and receiving, at `date_ns` + [0, 1 s)."""
        low_ns = sent_ns - date_ns - NS_PER_S
        high_ns = received_ns - date_ns
        if high_ns < low_ns:  # our own clock stepped back during the call: no knowledge
            return
        fresh = self._low_ns is not None and 0 <= received_ns - self._began_ns <= WINDOW_NS
        if fresh and self._low_ns is not None:
            both = max(low_ns, self._low_ns), min(high_ns, self._high_ns)
            if both[0] <= both[1]:
                self._low_ns, self._high_ns = both
                return
        self._low_ns, self._high_ns, self._began_ns = low_ns, high_ns, received_ns

    @property
    def skew_ns(self) -> int | None:
        """Return the middle of the interval (positive: ours is ahead), None before any answer."""
        return None if self._low_ns is None else (self._low_ns + self._high_ns) // 2

    @property
    def uncertainty_ns(self) -> int | None:
        """Return half the interval's width: the true skew is within ± this."""
        return None if self._low_ns is None else (self._high_ns - self._low_ns + 1) // 2
