"""Builders for the monitors' tests: a Monday noon window with everything well."""

from typing import Any

from libs.common.config import load_part
from libs.common.effects import Effect, Publish, Received, TimerFired
from libs.common.freshness import FreshnessPolicy
from libs.common.messages import (
    ClockSample,
    DeadLetter,
    ExchangeSession,
    ExchangeStatus,
    FeedStatus,
    Heartbeat,
    IndexTick,
    LadderSnapshot,
    LedgerStatus,
    Message,
    MonitorResult,
    OrderState,
    OrderUpdate,
    Reconciliation,
)
from libs.common.policy_files import CONFIGS
from libs.common.topology import SERVICES
from services.monitors.core import LOOK, MonitorsCore
from services.monitors.events import KillSwitchRead, ShowMonitor, Started
from services.monitors.policy import MonitorsPolicy
from services.monitors.reading import OTHER_CAUSE, Reading, is_least

S = 1_000_000_000
TARGET = 1_722_873_600 * S  # Monday 2024-08-05 12:00 in New York
NOW = TARGET - 600 * S
NIGHT = TARGET - 8 * 3600 * S
EVENT = "KXINXU-24AUG05H1200"
TICKER = f"{EVENT}-T5219.9999"
FEEDS = ("index.ws", "kalshi.ladders", "kalshi.status", "clock")
_STREAMS = {"orders": "ORDERS", "dead": "DEAD", "ticks": "TICKS", "ladders": "LADDERS"}


def envelope(at_ns: int, source: str = "feeds") -> dict[str, Any]:
    return {
        "id": "x",
        "ts_event_ns": at_ns,
        "ts_pub_ns": at_ns,
        "cause_id": "",
        "correlation_id": "x",
        "source": source,
    }


def beat(service: str, at_ns=NOW, state="READY", since_ns=0) -> Heartbeat:
    return Heartbeat(
        **envelope(at_ns, service),
        service=service,
        instance=f"{service}-1",
        state=state,
        since_ns=since_ns,
        loop_lag_ns=0,
    )


def feed(name: str, at_ns=NOW, ok=True, detail="", failures=0, newest_ns=None) -> FeedStatus:
    newest = at_ns if newest_ns is None else newest_ns
    return FeedStatus(
        **envelope(at_ns), feed=name, ok=ok, newest_ns=newest, detail=detail, failures=failures
    )


def tick(symbol: str, end_ns=NOW) -> IndexTick:
    return IndexTick(
        **envelope(end_ns),
        symbol=symbol,
        level_e4=52_000_000,
        bar_start_ns=end_ns - S,
        bar_end_ns=end_ns,
        recv_ns=end_ns,
        provenance="synthetic",
    )


def ladder(at_ns=NOW, stale=(), event=EVENT, target_ns=TARGET, recv_ns=None) -> LadderSnapshot:
    none, count = (0, 0, 0), (0, 0, 0)
    return LadderSnapshot(
        **envelope(at_ns),
        ladder_id="l",
        event_ticker=event,
        series_ticker=event.split("-")[0],
        target_ns=target_ns,
        recv_ns=at_ns if recv_ns is None else recv_ns,
        provenance="synthetic",
        bid_price_e4=none,
        bid_count_e2=count,
        bid_depth_e2=count,
        ask_price_e4=(10_000,) * 3,
        ask_count_e2=count,
        ask_depth_e2=count,
        stale=tuple(stale),
    )


def skew(seconds: float, at_ns=NOW, reference="exchange") -> ClockSample:
    return ClockSample(
        **envelope(at_ns), reference=reference, skew_ns=round(seconds * S), uncertainty_ns=S // 2
    )


def status(trading=True, exchange=True, at_ns=NOW) -> ExchangeStatus:
    return ExchangeStatus(**envelope(at_ns), exchange_active=exchange, trading_active=trading)


def reconciliation(*differences: str, at_ns=NOW) -> Reconciliation:
    return Reconciliation(
        **envelope(at_ns, "broker"),
        differences=differences,
        difference_count=len(differences),
        balance_e6=0,
    )


def session(auth_errors=0, at_ns=NOW) -> ExchangeSession:
    return ExchangeSession(**envelope(at_ns, "broker"), auth_errors=auth_errors, accepted_ns=at_ns)


def ledger(at_ns=NOW, **watermarks: int) -> LedgerStatus:
    return LedgerStatus(**envelope(at_ns, "reporting"), watermarks=watermarks, rows=1)


def letter(at_ns=NOW, sequence=5) -> DeadLetter:
    return DeadLetter(
        **envelope(at_ns, "risk"),
        stream="TICKS",
        subject="ticks.clock",
        sequence=sequence,
        reason="undecodable: it is no JSON",
        payload="?",
        size_bytes=1,
    )


def order(state: OrderState, client="c1", event=EVENT, at_ns=NOW) -> OrderUpdate:
    return OrderUpdate(
        **envelope(at_ns, "broker"),
        client_order_id=client,
        order_id=f"o-{client}",
        event_ticker=event,
        series_ticker=event.split("-")[0],
        ticker=f"{event}-T5219.9999",
        side="bid",
        price_e4=4500,
        count_e2=1000,
        filled_count_e2=0,
        remaining_count_e2=1000,
        previous_state="submitted",
        state=state,
        trigger="t",
        reason="",
        exchange_ns=at_ns,
    )


def freshness() -> FreshnessPolicy:
    """Return the freshness table that is shipped."""
    return load_part(CONFIGS / "freshness.yaml", "policy.freshness", FreshnessPolicy)


def assert_agrees(name: str, reading: Reading) -> None:
    """An alert's value is beyond its limit, or the evidence says that it is not the cause."""
    value, limit = reading.value, reading.threshold
    if reading.state != "ALERT" or value is None or limit is None:
        return
    if reading.evidence.startswith(OTHER_CAUSE):
        assert value < limit
    else:
        assert value <= limit if is_least(name, limit) else value >= limit, (name, reading)


class Watched:
    """A core that is told things and asked for its opinion."""

    def __init__(self, started_ns: int = NOW, **policy) -> None:
        self.core = MonitorsCore(MonitorsPolicy(freshness=freshness(), **policy))
        self.sequence = 0
        self.effects: list[Effect] = self.core.handle(Started(now_ns=started_ns))

    def told(self, *messages: Message, stream: str = "") -> "Watched":
        for message in messages:
            self.sequence += 1
            name = stream or ("ORDERS" if isinstance(message, OrderUpdate) else "STATUS")
            self.core.handle(
                Received(
                    now_ns=message.ts_pub_ns,
                    message=message,
                    stream=name,
                    sequence=self.sequence,
                )
            )
        return self

    def all_well(self, at_ns=NOW) -> "Watched":
        self.told(*(beat(service, at_ns) for service in SERVICES))
        self.told(*(feed(name, at_ns) for name in FEEDS))
        self.told(tick("I:SPX", at_ns), tick("I:NDX", at_ns), ladder(at_ns))
        self.told(ladder(at_ns, event="KXNASDAQ100U-24AUG05H1200"))
        self.told(skew(0.1, at_ns), status(at_ns=at_ns), reconciliation(at_ns=at_ns))
        self.told(session(at_ns=at_ns), ledger(at_ns, STATUS=10**9, ORDERS=10**9))
        self.core.handle(KillSwitchRead(now_ns=at_ns, engaged=False, detail="released by x"))
        return self

    def look(self, now_ns: int) -> list[Effect]:
        self.effects = self.core.handle(TimerFired(now_ns=now_ns, key=LOOK, at_ns=now_ns))
        for effect in self.effects:
            if isinstance(effect, ShowMonitor):
                assert_agrees(effect.monitor, effect.reading)
        return self.effects

    def readings(self, name: str, now_ns: int):
        (monitor,) = [one for one in self.core.monitors if one.name == name]
        found = monitor.look(now_ns)
        for reading in found.values():
            assert_agrees(name, reading)
        return found

    def reading(self, name: str, now_ns: int, scope: str = "all"):
        return self.readings(name, now_ns)[scope]

    def state(self, name: str, now_ns: int, scope: str = "all") -> str:
        return str(self.reading(name, now_ns, scope).state)

    def results(self) -> dict[tuple[str, str], MonitorResult]:
        return {
            (effect.message.monitor, effect.message.scope): effect.message
            for effect in self.effects
            if isinstance(effect, Publish) and isinstance(effect.message, MonitorResult)
        }
