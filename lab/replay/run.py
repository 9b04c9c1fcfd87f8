"""A replay: the live cores driven from a capture, at any speed, over either bus.

From a capture of feeds (`alpha backtest index --capture`, or raw copies) all cores run and our
orders rest in the recorded books. From an export of streams the pricer begins with what feeds
said then, and the broker is dry: what would have been filled is not known.
"""

import gc
import random
import time
from collections.abc import Callable

from msgspec import Struct
from msgspec.structs import replace

from lab.capture.errors import BadRecord
from lab.capture.feeds import FEEDS_KIND
from lab.capture.format import CaptureReader, Record
from lab.drive.account import OURS, ExchangeAccount
from lab.drive.carrier import MakeCarrier, memory_carrier
from lab.drive.config import DriveConfig
from lab.drive.cores import Upkeep, live_cores
from lab.drive.effects import EffectLog
from lab.drive.ledger import LedgerWriter
from lab.drive.schedule import Schedule
from lab.drive.services import Services
from lab.exchange import model as x
from lab.exchange.engine import Engine
from lab.replay.dry import DryAccount
from lab.replay.market import RecordedFeeds
from libs.common.clock import NS_PER_S
from libs.common.messages import BadMessage, decode
from libs.common.topology import SUBJECTS, Service
from services.broker.config import BrokerConfig
from services.pricer.calibration import Calibration

PACE_NS = 50_000_000
_OF_FEEDS = {
    kind for subject in SUBJECTS if subject.writers == (Service.FEEDS,) for kind in subject.carries
}
Pace = Callable[[int], None]
"""Told the run's time now and then; waits as long as the speed asks."""


def at_speed(speed: float | None) -> Pace:
    """Return a pace of so many times real time, or one that never waits."""
    if speed is None:
        return lambda now_ns: None
    began_s, first_ns = time.monotonic(), -1

    def pace(now_ns: int) -> None:
        nonlocal first_ns
        first_ns = now_ns if first_ns < 0 else first_ns
        wait_s = (now_ns - first_ns) / NS_PER_S / speed - (time.monotonic() - began_s)
        if wait_s > 0:
            time.sleep(wait_s)

    return pace


class ReplayResult(Struct, frozen=True, kw_only=True):
    """What a replay did. Money in e6. `inputs_per_s` is of real time, everything included."""

    capture: str
    kind: str
    bus: str
    seed: int
    inputs: int
    messages: int
    effects: int
    effects_digest: str
    orders: int
    fills: int
    settled_pnl_e6: int
    unsettled: dict[str, str]
    refused_inputs: dict[str, int]
    market_seconds: float
    took_s: float
    inputs_per_s: float


class Replay:
    """The cores, and the world that a capture makes for them."""

    def __init__(
        self,
        reader: CaptureReader,
        config: DriveConfig,
        calibrations: dict[str, Calibration],
        *,
        seed: int,
        carrier: MakeCarrier = memory_carrier,
    ) -> None:
        self._reader = reader
        self._lab = config.lab
        self._seed = seed
        feeds = reader.head.kind == FEEDS_KIND
        if not feeds:
            config = replace(config, broker=_dry(config))
        self.schedule = schedule = Schedule(max(0, reader.first_ns - NS_PER_S))
        self.effects = EffectLog()
        self._carrier = carrier(lambda: schedule.now_ns)
        cores = live_cores(config, calibrations)
        if not feeds:
            del cores[Service.FEEDS]
        hop_ns = round(config.lab.latency.hop_s * NS_PER_S)
        self.services = Services(schedule, self._carrier, self.effects, cores, hop_ns)
        self.ledger = LedgerWriter(None, self.services, config.reporting)
        self._upkeep = Upkeep(self.services, config)
        self.engine = Engine(seed)
        self._messages = 0
        self._account: ExchangeAccount | None = None
        self._feeds: RecordedFeeds | None = None
        if feeds:
            self._make_exchange(config)
        else:
            self.services[Service.BROKER].perform = DryAccount(
                schedule, self.services[Service.BROKER].dispatch
            ).perform
        self.engine.advance(schedule.now_ns)
        self.engine.open_account(OURS, self._lab.balance_e6)
        self._upkeep.begin(OURS)

    def _make_exchange(self, config: DriveConfig) -> None:
        services, timer_s = self.services, self._lab.settlement_timer_s
        feeds = RecordedFeeds(
            self._reader,
            self.engine,
            self.schedule,
            services[Service.FEEDS],
            round(timer_s * NS_PER_S),
        )
        account = ExchangeAccount(
            self.engine,
            self.schedule,
            self._lab,
            config.broker,
            services[Service.BROKER].dispatch,
            random.Random(f"account {self._seed}"),
        )
        account.place = feeds.market.place

        def take(event: x.Event) -> None:
            if isinstance(event, x.BookChanged):
                if event.account == OURS:
                    feeds.own(event)
                return
            if isinstance(event, x.OrderChanged) and event.order.account == OURS:
                feeds.market.take(event)
            account.take(event)

        self.engine.listen(take)
        services[Service.FEEDS].perform = feeds.perform
        services[Service.BROKER].perform = account.perform
        self._feeds, self._account = feeds, account

    def run(self, bus: str, pace: Pace) -> ReplayResult:
        """Replay it all, to the last settlement. Raises CaptureError, BusError."""
        began_s = time.perf_counter()
        # As the runner does when a service is READY: later collections need not walk what stays.
        gc.collect()
        gc.freeze()
        try:
            self._run(pace)
        finally:
            gc.unfreeze()
        return self._result(bus, time.perf_counter() - began_s)

    def _run(self, pace: Pace) -> None:
        schedule, reader = self.schedule, self._reader
        stop_ns = reader.last_ns + round(self._lab.settle_s * NS_PER_S)
        self._upkeep.start(stop_ns)
        self.ledger.start(stop_ns)
        if self._account is not None:
            self._account.start(stop_ns)
            self._step(stop_ns)
        take = self._feeds.take if self._feeds is not None else self._take_message
        paced_ns = 0
        for record in reader.read():
            at_ns = record.at_ns
            schedule.run_until(at_ns)
            take(record)
            if at_ns >= paced_ns:
                pace(at_ns)
                paced_ns = at_ns + PACE_NS
        schedule.run_until(stop_ns)
        self.ledger.fold()

    def close(self) -> None:
        """Let go of the bus."""
        self._carrier.close()

    def _take_message(self, record: Record) -> None:
        """Say again what feeds said; what others said they will say themselves."""
        try:
            message = decode(record.data)
        except BadMessage as error:
            where = f"{record.source} {record.sequence}"
            raise BadRecord(self._reader.path, "a message of ours", f"{where}: {error}") from None
        if type(message) in _OF_FEEDS:
            self._messages += 1
            self.services.say(Service.FEEDS, message)

    def _step(self, stop_ns: int) -> None:
        """Let the exchange's time pass."""
        assert self._feeds is not None, "only recorded books have an exchange"
        now_ns = self.schedule.now_ns
        self.engine.advance(now_ns)
        self._feeds.settle()
        if now_ns < stop_ns:
            self.schedule.at(now_ns + round(self._lab.step_s * NS_PER_S), self._step, stop_ns)

    def _result(self, bus: str, took_s: float) -> ReplayResult:
        reporting = self.services[Service.REPORTING].core
        inputs = self._feeds.inputs if self._feeds is not None else self._messages
        history = self.engine.state.histories[OURS]
        settlements = reporting.settlements.values()  # type: ignore[attr-defined]
        return ReplayResult(
            capture=str(self._reader.path),
            kind=self._reader.head.kind,
            bus=bus,
            seed=self._seed,
            inputs=inputs,
            messages=self.services.published,
            effects=self.effects.count,
            effects_digest=self.effects.digest,
            orders=len(history.orders),
            fills=len(history.fills),
            settled_pnl_e6=sum(one.pnl_e6 for one in settlements),
            unsettled=dict(reporting.unsettled),  # type: ignore[attr-defined]
            refused_inputs=dict(self._feeds.refused) if self._feeds else {},
            market_seconds=(self._reader.last_ns - self._reader.first_ns) / NS_PER_S,
            took_s=round(took_s, 3),
            inputs_per_s=round(inputs / took_s, 1) if took_s else 0.0,
        )


def _dry(config: DriveConfig) -> BrokerConfig:
    """Return the broker as it is in mode dry: each quote of each verdict is recorded once."""
    policy = replace(config.broker.policy, group_limit_e2=0, tries_per_quote=1)
    return replace(config.broker, mode="dry", policy=policy)
