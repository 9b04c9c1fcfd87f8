"""How long the calendar's tables still reach: one that ends unnoticed stops trading on the day."""

from libs.domain.calendar_ends import ending, soonest
from libs.domain.eastern import eastern_date
from services.monitors.policy import MonitorsPolicy
from services.monitors.reading import Reading, Whole, judged, listed


class CalendarEnds(Whole):
    """ALERT when a table ends within two months; the value is the days that are left of it."""

    name = "calendar_ends"

    def __init__(self, policy: MonitorsPolicy) -> None:
        self._days_min = policy.calendar_days_min

    def judge(self, now_ns: int) -> Reading:
        day = eastern_date(now_ns)
        first = soonest(day)
        texts = ending(day, self._days_min)
        left = first.days_left(day)
        return judged(
            left < self._days_min,
            float(left),
            float(self._days_min),
            listed(texts) or first.text(day),
        )
