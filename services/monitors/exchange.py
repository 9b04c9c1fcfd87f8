"""The kill switch, the exchange's own word, and our clock against outside ones."""

from libs.common.messages import ClockSample, ExchangeSession, ExchangeStatus, Message
from services.monitors.events import KillSwitchRead
from services.monitors.policy import MonitorsPolicy
from services.monitors.reading import (
    Newest,
    Reading,
    Since,
    Whole,
    judged,
    listed,
    nanoseconds,
    no_data,
    seconds,
)

REFERENCES_MAX = 16


class KillSwitchMonitor(Whole):
    """ALERT while it is on, or while nobody can say that it is off."""

    name = "kill_switch"

    def __init__(self, policy: MonitorsPolicy, since: Since) -> None:
        self._limit_ns = nanoseconds(policy.kill_switch_s)
        self._since = since
        self._read: KillSwitchRead | None = None

    def read(self, event: KillSwitchRead) -> None:
        """Remember what the bucket said."""
        self._read = event

    def judge(self, now_ns: int) -> Reading:
        read_ns = self._since.at_ns if self._read is None else self._read.now_ns
        age_s = seconds(now_ns - read_ns)
        if now_ns - read_ns > self._limit_ns:
            return Reading("ALERT", 1.0, 1.0, f"not read for {age_s:.1f} s: counts as engaged")
        if self._read is None:
            return no_data(1.0, "not read yet")
        engaged = self._read.engaged
        return judged(engaged, float(engaged), 1.0, self._read.detail)


class ClockSkew(Whole):
    """ALERT when our clock is further from an outside one than the gate allows."""

    name = "clock_skew"

    def __init__(self, policy: MonitorsPolicy) -> None:
        self._limit_s = policy.gates.skew_s_max
        self._age_ns = nanoseconds(policy.skew_age_s)
        self._newest = Newest(ClockSample, lambda sample: sample.reference, REFERENCES_MAX)

    def fold(self, message: Message) -> None:
        self._newest.hear(message)

    def judge(self, now_ns: int) -> Reading:
        fresh = self._newest.fresh(now_ns, self._age_ns)
        if not fresh:
            return no_data(self._limit_s, "no recent sample of an outside clock")
        skew_s = max(abs(seconds(sample.skew_ns)) for sample in fresh)
        texts = [
            f"{s.reference} {seconds(s.skew_ns):+.2f} ± {seconds(s.uncertainty_ns):.2f} s"
            for s in fresh
        ]
        return judged(skew_s > self._limit_s, skew_s, self._limit_s, listed(texts))


class ExchangeOpen(Whole):
    """ALERT when the exchange says that it does not trade."""

    name = "exchange"

    def __init__(self, policy: MonitorsPolicy) -> None:
        self._age_ns = nanoseconds(policy.gates.exchange_status_age_s_max)
        self._newest = Newest(ExchangeStatus)

    def fold(self, message: Message) -> None:
        self._newest.hear(message)

    def judge(self, now_ns: int) -> Reading:
        fresh = self._newest.fresh(now_ns, self._age_ns)
        if not fresh:
            return no_data(1.0, "no recent word of the exchange")
        (status,) = fresh
        open_ = status.exchange_active and status.trading_active
        text = (
            f"exchange {'active' if status.exchange_active else 'not active'}, "
            f"trading {'active' if status.trading_active else 'not active'} {status.detail}"
        )
        return judged(not open_, float(open_), 1.0, text.strip())


class AuthErrors(Whole):
    """ALERT when the exchange refused our key or signature several times in a row."""

    name = "auth_error_streak"

    def __init__(self, policy: MonitorsPolicy) -> None:
        self._limit = policy.auth_errors
        self._age_ns = nanoseconds(policy.session_age_s)
        self._newest = Newest(ExchangeSession)

    def fold(self, message: Message) -> None:
        self._newest.hear(message)

    def judge(self, now_ns: int) -> Reading:
        fresh = self._newest.fresh(now_ns, self._age_ns)
        if not fresh:
            return no_data(float(self._limit), "no recent word of the broker's calls")
        count = fresh[0].auth_errors
        text = f"{count} calls in a row refused for their key or signature"
        return judged(count >= self._limit, float(count), float(self._limit), text)
