"""How near to panic we are, and whether risk's latch has fallen (domain.md §3).

Risk counts and latches, because its gate rests on it; here it is shown.
"""

from libs.common.messages import Message, PanicLatch
from libs.domain.eastern import eastern_date, eastern_datetime
from services.monitors.policy import MonitorsPolicy
from services.monitors.reading import Newest, Reading, Whole, nanoseconds

OWN = "panic"


class PanicShown(Whole):
    """ALERT while the latch of the day holds; the value is how many monitors alerted of late.

    While it holds, the value is how many let it fall.
    """

    name = OWN

    def __init__(self, policy: MonitorsPolicy) -> None:
        self._window_ns = nanoseconds(policy.gates.panic_within_s)
        self._least = policy.gates.panic_monitors_min
        self._ignored = {OWN, *policy.gates.panic_ignores}
        self._alerted_ns: dict[str, int] = {}
        self._latch = Newest(PanicLatch)

    def note(self, monitor: str, alerted_ns: int) -> None:
        """Remember when a monitor last alerted, in any of its scopes."""
        if monitor not in self._ignored:
            self._alerted_ns[monitor] = max(alerted_ns, self._alerted_ns.get(monitor, 0))

    def fold(self, message: Message) -> None:
        self._latch.hear(message)

    def judge(self, now_ns: int) -> Reading:
        since_ns = now_ns - self._window_ns
        lately = sorted(name for name, at in self._alerted_ns.items() if at and at >= since_ns)
        value, limit = float(len(lately)), float(self._least)
        today = eastern_date(now_ns).isoformat()
        for latch in self._latch.all():
            if not latch.latched_ns or latch.day != today:
                continue
            at = f"{eastern_datetime(latch.latched_ns):%H:%M:%S}"
            text = f"latched at {at} New York time by {', '.join(latch.monitors)}"
            return Reading("ALERT", float(len(latch.monitors)), limit, text)
        return Reading("OK", value, limit, f"alerted of late: {', '.join(lately) or 'none'}")
