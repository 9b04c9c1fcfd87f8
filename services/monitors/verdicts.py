"""What verdicts and proposals show of our service levels, and gates that only they measure."""

from collections import deque
from collections.abc import Iterator

import numpy as np

from libs.common.messages import GateResult, Message, Proposal, Verdict
from services.monitors.orders import Orders
from services.monitors.policy import MonitorsPolicy
from services.monitors.reading import (
    NS_PER_S,
    Reading,
    RecentTimes,
    Whole,
    caused,
    judged,
    listed,
    nanoseconds,
    no_data,
    seconds,
)

EVENTS_MAX = 1_024
SAMPLES_MAX = 5_000
SAMPLES_MIN = 20


class Verdicts:
    """Keep the newest verdict of each event until it has long expired."""

    def __init__(self, policy: MonitorsPolicy) -> None:
        self._age_ns = nanoseconds(policy.verdict_age_s)
        self._newest: dict[str, Verdict] = {}

    def fold(self, message: Message) -> None:
        if not isinstance(message, Verdict):
            return
        known = self._newest.get(message.event_ticker)
        if known is not None and message.ts_pub_ns < known.ts_pub_ns:
            return
        self._newest[message.event_ticker] = message
        if len(self._newest) > EVENTS_MAX:
            del self._newest[min(self._newest, key=lambda e: self._newest[e].ts_pub_ns)]

    def of(self, event_ticker: str) -> Verdict | None:
        """Return an event's newest verdict."""
        return self._newest.get(event_ticker)

    def recent(self, now_ns: int) -> Iterator[Verdict]:
        """Yield the verdicts that are not too old to say how it is now."""
        for verdict in self._newest.values():
            if now_ns - verdict.ts_pub_ns <= self._age_ns:
                yield verdict

    def gates(self, now_ns: int, *names: str) -> Iterator[tuple[Verdict, GateResult]]:
        """Yield what these gates measured lately."""
        for verdict in self.recent(now_ns):
            for gate in verdict.gates:
                if gate.gate in names:
                    yield verdict, gate


class LevelAge(Whole):
    """ALERT when the index levels behind our proposals are older than the service level."""

    name = "slo_freshness"

    def __init__(self, policy: MonitorsPolicy) -> None:
        self._window_ns = nanoseconds(policy.level_age_window_s)
        self._p95_s, self._p99_s = policy.level_age_p95_s, policy.level_age_p99_s
        self._ages: deque[tuple[int, float]] = deque(maxlen=SAMPLES_MAX)

    def fold(self, message: Message) -> None:
        if isinstance(message, Proposal) and message.quotes and message.level_ns:
            age_s = seconds(max(0, message.ts_pub_ns - message.level_ns))
            self._ages.append((message.ts_pub_ns, age_s))

    def judge(self, now_ns: int) -> Reading:
        while self._ages and now_ns - self._ages[0][0] > self._window_ns:
            self._ages.popleft()
        if len(self._ages) < SAMPLES_MIN:
            return no_data(self._p99_s, f"{len(self._ages)} proposals with quotes lately")
        p95, p99 = np.percentile([age_s for _, age_s in self._ages], (95, 99))
        text = (
            f"{len(self._ages)} proposals: p95 {p95:.2f} s (limit {self._p95_s:g}), p99 {p99:.2f} s"
        )
        # The one that is nearer to its limit is shown as the value.
        age_s, limit_s = max(
            ((p95, self._p95_s), (p99, self._p99_s)), key=lambda row: row[0] / row[1]
        )
        return judged(age_s > limit_s, float(age_s), limit_s, text)


class TimeAtRisk(Whole):
    """ALERT when quotes of ours stood too long, in the last hour, without a GO that held.

    Counted in looks, one a second: an order is open and its event's newest verdict is a NO-GO,
    has expired, or is not known.
    """

    name = "time_at_risk"

    def __init__(self, policy: MonitorsPolicy, orders: Orders, verdicts: Verdicts) -> None:
        self._limit_s = policy.at_risk_s
        self._orders = orders
        self._verdicts = verdicts
        self._seconds = RecentTimes(nanoseconds(policy.at_risk_window_s))
        self._last_ns = 0

    def judge(self, now_ns: int) -> Reading:
        bare = [event for event in self._orders.open_events() if not self._holds(event, now_ns)]
        if bare and now_ns - self._last_ns >= NS_PER_S:
            self._seconds.add(now_ns)
            self._last_ns = now_ns
        total = float(self._seconds.count(now_ns))
        text = f"{total:g} s lately" + (f"; now: {listed(bare)}" if bare else "")
        return judged(total > self._limit_s, total, self._limit_s, text)

    def _holds(self, event_ticker: str, now_ns: int) -> bool:
        verdict = self._verdicts.of(event_ticker)
        return verdict is not None and verdict.decision == "GO" and now_ns < verdict.expires_at_ns


class VarHeadroom(Whole):
    """ALERT when a value-at-risk limit is all but used up."""

    name = "var_headroom"

    def __init__(self, policy: MonitorsPolicy, verdicts: Verdicts) -> None:
        self._gates = policy.var_gates
        self._least = policy.var_headroom
        self._verdicts = verdicts

    def judge(self, now_ns: int) -> Reading:
        rooms = [
            (1 - gate.measured / gate.limit, gate.gate, verdict.event_ticker)
            for verdict, gate in self._verdicts.gates(now_ns, *self._gates)
            if gate.measured is not None and gate.limit
        ]
        if not rooms:
            return no_data(self._least, f"no verdict of late measured {', '.join(self._gates)}")
        room, gate, event = min(rooms)
        text = f"{gate} of {event}: {room:.0%} of its limit is left"
        return judged(room < self._least, room, self._least, text)


class GateShown:
    """ALERT when a gate of risk's that only risk can judge says no, by family.

    A gate that measured nothing lacks its evidence: that is NO_DATA.
    """

    def __init__(self, policy: MonitorsPolicy, name: str, gate: str, verdicts: Verdicts) -> None:
        self.name = name
        self._gate = gate
        self._families = policy.families
        self._verdicts = verdicts

    def fold(self, message: Message) -> None:
        """Remember nothing: the verdicts are folded once for all who read them."""

    def look(self, now_ns: int) -> dict[str, Reading]:
        told: dict[str, list[GateResult]] = {name: [] for name in self._families}
        for verdict, gate in self._verdicts.gates(now_ns, self._gate):
            told.setdefault(verdict.family, []).append(gate)
        return {family: self._judge(gates) for family, gates in told.items()}

    def _judge(self, gates: list[GateResult]) -> Reading:
        if not gates:
            return no_data(None, f"no verdict of late has the gate {self._gate}")
        worst = min(gates, key=lambda gate: (gate.ok, -(gate.measured or 0)))
        if worst.measured is None:
            return no_data(worst.limit, worst.detail or "the gate measured nothing")
        text = " ".join(part for part in (worst.reason, worst.detail) if part) or "the gate is open"
        if worst.ok or worst.limit is None:
            return Reading("OK" if worst.ok else "ALERT", worst.measured, worst.limit, text)
        return caused(worst.measured, worst.limit, text)
