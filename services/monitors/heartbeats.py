"""Does every service live, and is it READY?"""

from msgspec.structs import replace

from libs.common.messages import Heartbeat, Message
from libs.common.topology import SERVICES
from services.monitors.policy import MonitorsPolicy
from services.monitors.reading import (
    Age,
    Reading,
    Since,
    Whole,
    listed,
    nanoseconds,
    no_data,
    seconds,
    worst,
)


class Heartbeats(Whole):
    """ALERT for a service that is silent, missing, or alive but not READY for too long."""

    name = "heartbeats"

    def __init__(self, policy: MonitorsPolicy, since: Since) -> None:
        self._limit_ns = nanoseconds(policy.gates.heartbeat_age_s_max)
        self._not_ready_ns = nanoseconds(policy.not_ready_s)
        self._since = since
        self._newest: dict[str, Heartbeat] = {}

    def fold(self, message: Message) -> None:
        if isinstance(message, Heartbeat) and message.service in SERVICES:
            known = self._newest.get(message.service)
            if known is None or message.ts_pub_ns >= known.ts_pub_ns:
                self._newest[message.service] = message

    def _known(self, service: str) -> Heartbeat | None:
        """Return the newest word of a service; one that ended in good order before we began to
        judge, a run ago say, counts from then on.
        """
        beat = self._newest.get(service)
        if beat is None or beat.state != "STOPPED" or beat.since_ns >= self._since.at_ns:
            return beat
        return replace(beat, since_ns=self._since.at_ns, ts_pub_ns=self._since.at_ns)

    def judge(self, now_ns: int) -> Reading:
        ages, late, unheard = [], [], []
        for service in SERVICES:
            beat = self._known(service)
            heard_ns = self._since.at_ns if beat is None else beat.ts_pub_ns
            age = Age(service, max(0, now_ns - heard_ns), self._limit_ns)
            ages.append(age)
            if age.too_old:
                late.append((age, age.text() if beat else f"{service} was never heard of"))
            elif beat is None:
                unheard.append(service)
            elif beat.state != "READY":
                unready = Age(service, now_ns - beat.since_ns, self._not_ready_ns)
                text = f"{service} {beat.state} for {seconds(unready.age_ns):.0f} s"
                late += [(unready, text)] if unready.too_old else []
        shown = worst([age for age, _ in late] or ages)
        value, limit = seconds(shown.age_ns), seconds(shown.limit_ns)
        if late:
            return Reading("ALERT", value, limit, listed([text for _, text in late]))
        if unheard:
            return no_data(limit, f"not heard of yet: {listed(unheard)}")
        return Reading("OK", value, limit, f"oldest: {shown.text()}")
