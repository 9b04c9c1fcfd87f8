"""What monitors decides: how each monitor stands, and when to say so.

All are judged once a second by a timer, so that silence is noticed; a result goes out when its
state changes and every half minute.
"""

from msgspec import Struct

from libs.common.effects import Effect, Event, Publish, Received, SetTimer, TimerFired
from libs.common.messages import Cause, Message, MonitorResult, envelope
from services.monitors.counts import DeadLetters, Disconnects
from services.monitors.events import KillSwitchRead, ShowFeedAge, ShowMonitor, Started
from services.monitors.exchange import ClockSkew, ExchangeOpen, KillSwitchMonitor
from services.monitors.freshness import Freshness
from services.monitors.heartbeats import Heartbeats
from services.monitors.ladders import LadderGap, Ladders
from services.monitors.orders import BooksAgree, Orders, RestingAfterCancel, UnknownOrders
from services.monitors.policy import MonitorsPolicy
from services.monitors.reading import NS_PER_S, Monitor, Reading, Since, State, nanoseconds

LOOK_EVERY_NS = NS_PER_S
LOOK = "look"
EVIDENCE_MAX = 1_000


class Said(Struct):
    """What was last said of a monitor, and since when it is in that state."""

    state: State
    since_ns: int
    said_ns: int


class MonitorsCore:
    """Fold everything that is said; judge every second."""

    def __init__(self, policy: MonitorsPolicy) -> None:
        self._every_ns = nanoseconds(policy.publish_every_s)
        self._ladders = Ladders()
        self._orders = Orders()
        self._said: dict[str, Said] = {}
        self._since = Since()
        self._kill_switch = KillSwitchMonitor(policy, self._since)
        self._freshness = Freshness(policy, self._ladders, self._since)
        self.monitors: tuple[Monitor, ...] = (
            Heartbeats(policy, self._since),
            self._freshness,
            self._kill_switch,
            LadderGap(policy, self._ladders),
            UnknownOrders(self._orders),
            RestingAfterCancel(policy, self._orders),
            BooksAgree(policy),
            ClockSkew(policy),
            ExchangeOpen(policy),
            DeadLetters(policy),
            Disconnects(policy),
        )

    def handle(self, event: Event) -> list[Effect]:
        match event:
            case Received():
                self.fold(event.message, event.stream, event.sequence)
                return []
            case KillSwitchRead():
                self._kill_switch.read(event)
                return []
            case Started():
                self._since.at_ns = event.now_ns
                return self._look(event.now_ns)
            case TimerFired() if event.key == LOOK:
                return self._look(event.now_ns)
            case _:
                raise AssertionError(f"monitors does not know {type(event).__name__}")

    def fold(self, message: Message, stream: str, sequence: int) -> None:
        """Remember what matters of a stored message."""
        if stream in ("ORDERS", "FILLS"):
            self._orders.fold(message, stream, sequence)
            return
        self._ladders.fold(message)
        for monitor in self.monitors:
            monitor.fold(message)

    def summary(self) -> str:
        """Return one line about all monitors."""
        wrong = [f"{name} {said.state}" for name, said in self._said.items() if said.state != "OK"]
        return ", ".join(wrong) if wrong else f"{len(self._said)} monitors OK"

    def _look(self, now_ns: int) -> list[Effect]:
        effects: list[Effect] = [SetTimer(key=LOOK, at_ns=now_ns + LOOK_EVERY_NS)]
        self._orders.tidy(now_ns)
        for monitor in self.monitors:
            effects += self._tell(monitor.name, monitor.look(now_ns), now_ns)
        for feed, age_s in self._freshness.feed_ages(now_ns).items():
            effects.append(ShowFeedAge(feed=feed, age_s=age_s))
        return effects

    def _tell(self, name: str, reading: Reading, now_ns: int) -> list[Effect]:
        effects: list[Effect] = [
            ShowMonitor(monitor=name, state=reading.state, value=reading.value)
        ]
        said = self._said.get(name)
        if said is None or said.state != reading.state:
            said = self._said[name] = Said(reading.state, now_ns, now_ns)
        elif now_ns - said.said_ns < self._every_ns:
            return effects
        said.said_ns = now_ns
        cause = Cause.first("monitor", f"{name}|{now_ns}", now_ns)
        result = MonitorResult(
            **envelope(cause, "monitors"),
            monitor=name,
            scope="all",
            state=reading.state,
            value=reading.value,
            threshold=reading.threshold,
            since_ns=said.since_ns,
            evidence=reading.evidence[:EVIDENCE_MAX],
        )
        return [*effects, Publish(message=result)]
