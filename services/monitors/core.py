"""What monitors decides: how each monitor stands, and when to say so.

All are judged once a second by a timer, so that silence is noticed; a result goes out when its
state changes and every half minute.
"""

from msgspec import Struct

from libs.common.effects import Effect, Event, Publish, Received, SetTimer, TimerFired
from libs.common.messages import Cause, Message, MonitorResult, envelope
from services.monitors.calendar import CalendarEnds
from services.monitors.counts import DeadLetters, Disconnects
from services.monitors.events import KillSwitchRead, ShowMonitor, Started
from services.monitors.evidence import Evidence, settled_monitors
from services.monitors.exchange import AuthErrors, ClockSkew, ExchangeOpen, KillSwitchMonitor
from services.monitors.freshness import Freshness
from services.monitors.heartbeats import Heartbeats
from services.monitors.ladders import LadderGap, Ladders, NonMonotone, TargetsEastern
from services.monitors.ledger import LedgerLag
from services.monitors.orders import (
    BooksAgree,
    FreezeWindow,
    Orders,
    RestingAfterCancel,
    UnknownOrders,
)
from services.monitors.panic import PanicShown
from services.monitors.policy import MonitorsPolicy
from services.monitors.profit import Drawdown
from services.monitors.reading import NS_PER_S, Monitor, Reading, Since, State, nanoseconds
from services.monitors.sigma import SigmaDrift
from services.monitors.verdicts import GateShown, LevelAge, TimeAtRisk, VarHeadroom, Verdicts

LOOK_EVERY_NS = NS_PER_S
LOOK = "look"
EVIDENCE_MAX = 1_000


class Said(Struct):
    """What was last said of a monitor, since when it is in that state, and when it alerted."""

    state: State
    since_ns: int
    said_ns: int
    alerted_ns: int


class MonitorsCore:
    """Fold everything that is said; judge every second."""

    def __init__(self, policy: MonitorsPolicy) -> None:
        self._every_ns = nanoseconds(policy.publish_every_s)
        self._ladders = Ladders()
        self._orders = Orders()
        self._verdicts = Verdicts(policy)
        self._evidence = Evidence()
        self._panic = PanicShown(policy)
        self._said: dict[tuple[str, str], Said] = {}
        self._since = Since()
        self._kill_switch = KillSwitchMonitor(policy, self._since)
        self._ledger = LedgerLag(policy)
        self.monitors: tuple[Monitor, ...] = (
            Heartbeats(policy, self._since),
            Freshness(policy, self._ladders, self._since),
            self._kill_switch,
            LadderGap(policy, self._ladders),
            NonMonotone(policy, self._ladders),
            TargetsEastern(policy, self._ladders),
            UnknownOrders(self._orders),
            RestingAfterCancel(policy, self._orders),
            FreezeWindow(policy, self._orders),
            BooksAgree(policy),
            Drawdown(policy, self._orders, self._ladders),
            ClockSkew(policy),
            ExchangeOpen(policy),
            AuthErrors(policy),
            DeadLetters(policy),
            Disconnects(policy),
            SigmaDrift(policy),
            CalendarEnds(policy),
            self._ledger,
            LevelAge(policy),
            TimeAtRisk(policy, self._orders, self._verdicts),
            VarHeadroom(policy, self._verdicts),
            GateShown(policy, "fee_rules", "fee_rules", self._verdicts),
            GateShown(policy, "ev_seq_guard", "sequential_ev", self._verdicts),
            *settled_monitors(policy, self._evidence),
            self._panic,
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
        self._ledger.seen(stream, sequence)
        if stream in ("ORDERS", "FILLS"):
            self._orders.fold(message, stream, sequence)
            return
        if isinstance(message, MonitorResult):
            self._remember(message)
            return
        self._ladders.fold(message)
        self._verdicts.fold(message)
        self._evidence.fold(message)
        for monitor in self.monitors:
            monitor.fold(message)

    def summary(self) -> str:
        """Return one line about all monitors."""
        wrong = [
            f"{name} {scope} {said.state}".replace(" all ", " ")
            for (name, scope), said in self._said.items()
            if said.state != "OK"
        ]
        return ", ".join(wrong) if wrong else f"{len(self._said)} monitors OK"

    def _remember(self, result: MonitorResult) -> None:
        """Go on where the process before us ended: since when it is so, and when it alerted."""
        if not self._since.at_ns:
            key = (result.monitor, result.scope)
            self._said[key] = Said(result.state, result.since_ns, 0, result.alerted_ns)

    def _look(self, now_ns: int) -> list[Effect]:
        effects: list[Effect] = [SetTimer(key=LOOK, at_ns=now_ns + LOOK_EVERY_NS)]
        self._orders.tidy(now_ns)
        known, self._said = self._said, {}
        for monitor in self.monitors:
            for scope, reading in monitor.look(now_ns).items():
                key = (monitor.name, scope)
                said = known.get(key) or Said(reading.state, now_ns, 0, 0)
                self._said[key] = said
                effects += self._tell(monitor.name, scope, reading, said, now_ns)
        return effects

    def _tell(
        self, name: str, scope: str, reading: Reading, said: Said, now_ns: int
    ) -> list[Effect]:
        effects: list[Effect] = [ShowMonitor(monitor=name, scope=scope, reading=reading)]
        if reading.state == "ALERT":
            said.alerted_ns = now_ns
        self._panic.note(name, said.alerted_ns)
        if said.state != reading.state:
            said.state, said.since_ns = reading.state, now_ns
        elif now_ns - said.said_ns < self._every_ns:
            return effects
        said.said_ns = now_ns
        cause = Cause.first("monitor", f"{name}|{scope}|{now_ns}", now_ns)
        result = MonitorResult(
            **envelope(cause, "monitors"),
            monitor=name,
            scope=scope,
            state=reading.state,
            value=reading.value,
            threshold=reading.threshold,
            since_ns=said.since_ns,
            evidence=reading.evidence[:EVIDENCE_MAX],
            alerted_ns=said.alerted_ns,
        )
        return [*effects, Publish(message=result)]
