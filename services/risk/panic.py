"""The panic latch: monitors that alert together stop the trading day until it is lifted. Pure."""

from libs.common.messages import Cause, MonitorResult, PanicLatch, derived_id, envelope
from libs.domain.eastern import eastern_date
from services.risk.policy import GatePolicy, seconds_ns

MONITORS_MAX = 500
ITSELF = "panic"
"""The monitor that shows the latch."""


class Panic:
    """Count the distinct monitors that alerted of late; hold the latch of the day."""

    def __init__(self, policy: GatePolicy) -> None:
        self._least = policy.panic_monitors_min
        self._within_ns = seconds_ns(policy.panic_within_s)
        self._ignored = frozenset((*policy.panic_ignores, ITSELF))
        self._alerted_ns: dict[str, int] = {}
        self._lifted_ns = 0
        self._latch: PanicLatch | None = None
        self.heard_ns: int | None = None

    def hear(self, result: MonitorResult, cause: Cause) -> PanicLatch | None:
        """Fold a monitor's result; return the latch when this one makes it fall."""
        self.heard_ns = max(self.heard_ns or 0, result.ts_event_ns)
        alerted_ns = result.ts_event_ns if result.state == "ALERT" else result.alerted_ns
        name = result.monitor
        if not alerted_ns or name in self._ignored:
            return None
        if name not in self._alerted_ns and len(self._alerted_ns) >= MONITORS_MAX:
            return None
        self._alerted_ns[name] = max(alerted_ns, self._alerted_ns.get(name, 0))
        alerting = self.alerting(cause.now_ns)
        if len(alerting) < self._least or self.latched_by(cause.now_ns):
            return None
        return self._fall(alerting, cause)

    def fold(self, latch: PanicLatch) -> None:
        """Take the latch as it was last published, by an earlier life of ours too."""
        if self._latch is None or latch.ts_event_ns >= self._latch.ts_event_ns:
            self._latch = latch
            if not latch.latched_ns:
                self._lifted_ns = max(self._lifted_ns, latch.ts_event_ns)

    def lift(self, cause: Cause) -> PanicLatch:
        """Release the latch; alerts up to now no longer count."""
        self._lifted_ns = cause.now_ns
        self._latch = self._made(0, (), cause)
        return self._latch

    def alerting(self, now_ns: int) -> tuple[str, ...]:
        """Return the distinct monitors that alerted of late, since the latch was lifted."""
        since_ns = max(now_ns - self._within_ns, self._lifted_ns + 1)
        return tuple(sorted(name for name, at in self._alerted_ns.items() if at >= since_ns))

    def latched_by(self, now_ns: int) -> tuple[str, ...]:
        """Return the monitors that latched this New York day; empty when it is not latched."""
        latch = self._latch
        if latch is None or not latch.latched_ns or latch.day != _day(now_ns):
            return ()
        return latch.monitors

    def _fall(self, monitors: tuple[str, ...], cause: Cause) -> PanicLatch:
        self._latch = self._made(cause.now_ns, monitors, cause)
        return self._latch

    def _made(self, latched_ns: int, monitors: tuple[str, ...], cause: Cause) -> PanicLatch:
        return PanicLatch(
            **envelope(cause, "risk", derived_id("panic", cause.id, latched_ns)),
            day=_day(cause.now_ns),
            latched_ns=latched_ns,
            monitors=monitors,
        )


def _day(now_ns: int) -> str:
    return eastern_date(now_ns).isoformat()
