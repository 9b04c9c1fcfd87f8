"""One backtest from its first bar to its last settlement: the live cores against the simulator.

index bars ─► feeds ─► pricer ─► risk ─► broker ─► exchange engine ◄─ other participants
                 ▲ books                     ▲ answers, fills, payouts │
                 └───────────────────────────┴─────────────────────────┘
"""

import random
from collections.abc import Callable

from lab.backtest.spans import Span
from lab.drive.account import OURS, ExchangeAccount
from lab.drive.carrier import MakeCarrier, memory_carrier
from lab.drive.config import DriveConfig
from lab.drive.cores import Upkeep, fill_model, live_cores
from lab.drive.effects import EffectLog
from lab.drive.ledger import LedgerWriter
from lab.drive.market import MarketData
from lab.drive.schedule import Schedule
from lab.drive.services import Services
from lab.exchange.engine import Engine
from lab.exchange.ladders import build_ladder
from lab.exchange.model import Event
from lab.exchange.settling import settle_closed
from lab.market.crowd import CrowdConfig
from lab.market.flow import Flow, open_accounts
from lab.market.listing import index_ladders
from lab.market.path import IndexPath
from libs.common.clock import NS_PER_S
from libs.common.topology import Service
from services.feeds.core import FeedsCore
from services.pricer.calibration import Calibration
from services.pricer.core import PricerCore
from services.reporting.ledger import Ledger

Progress = Callable[[Span, int], None]
"""Told now and then how far a span is: its present time."""
PROGRESS_NS = 60 * NS_PER_S


class World:
    """Everything of one backtest, in one schedule."""

    def __init__(
        self,
        config: DriveConfig,
        calibrations: dict[str, Calibration],
        ledger: Ledger | None,
        *,
        start_ns: int,
        seed: int,
        carrier: MakeCarrier = memory_carrier,
    ) -> None:
        self._lab = config.lab
        self._config, self._fills = config, fill_model(config)
        self._seed = seed
        self.schedule = schedule = Schedule(start_ns)
        self.effects = EffectLog()
        self.engine = Engine(seed)
        self.carrier = carrier(lambda: schedule.now_ns)
        latency = config.lab.latency
        self.services = services = Services(
            schedule,
            self.carrier,
            self.effects,
            live_cores(config, calibrations),
            round(latency.hop_s * NS_PER_S),
        )
        self.market = MarketData(
            self.engine,
            schedule,
            latency,
            config.feeds,
            services[Service.FEEDS].dispatch,
            random.Random(f"market {seed}"),
        )
        self.account = ExchangeAccount(
            self.engine,
            schedule,
            config.lab,
            config.broker,
            services[Service.BROKER].dispatch,
            random.Random(f"account {seed}"),
        )
        services[Service.FEEDS].perform = self.market.perform
        services[Service.BROKER].perform = self.account.perform
        self.ledger = LedgerWriter(ledger, services, config.reporting)
        self._upkeep = Upkeep(services, config)
        self._crowd = CrowdConfig(seed=seed)
        self._flows: list[Flow] = []
        self._path: IndexPath | None = None
        self._stop_ns = 0
        self._begin()

    def price_with(self, calibrations: dict[str, Calibration]) -> None:
        """Start the pricer anew with other calibrations, as on a new day; nothing of ours rests."""
        assert not self.engine.resting(OURS), "a pricer is replaced between spans"
        core = PricerCore(self._config.pricer.policy, calibrations, self._fills)
        self.services[Service.PRICER].restart(core)

    def _begin(self) -> None:
        self.engine.listen(self._take)
        self.engine.advance(self.schedule.now_ns)
        self.engine.open_account(OURS, self._lab.balance_e6)
        open_accounts(self.engine, self._crowd)
        self._upkeep.begin(OURS)

    def _take(self, event: Event) -> None:
        self.account.take(event)
        self.market.take(event)

    def run(self, span: Span, progress: Progress, every_ns: int = PROGRESS_NS) -> None:
        """Trade one span, to the settlement of its last target; tell of it every so often."""
        schedule = self.schedule
        schedule.run_until(span.start_ns)
        self._stop_ns = span.targets_ns[-1] + round(self._lab.settle_s * NS_PER_S)
        self._path, self._flows = span.path, []
        self._upkeep.start(self._stop_ns)
        self.market.start(span.path, self._stop_ns)
        self.account.start(self._stop_ns)
        self.ledger.start(self._stop_ns)
        for target_ns, families in span.families.items():
            at_ns = max(schedule.now_ns, target_ns - round(self._lab.listed_s * NS_PER_S))
            schedule.at(at_ns, self._list, target_ns, families)
        self._step()
        while schedule.now_ns < self._stop_ns:
            schedule.run_until(min(self._stop_ns, schedule.now_ns + every_ns))
            progress(span, schedule.now_ns)
        # Awake between two days, feeds would say every second of weeks that it hears nothing.
        self.services[Service.FEEDS].restart(FeedsCore(self._config.feeds))
        self.market.stop()

    def _list(self, target_ns: int, families: tuple[str, ...]) -> None:
        """List the ladders of a target; the other participants come with them."""
        assert self._path is not None, "a span has a path"
        now_ns = self.schedule.now_ns
        timer_ns = round(self._lab.settlement_timer_s * NS_PER_S)
        for config in index_ladders(self._path, families, target_ns, now_ns):
            ladder = build_ladder(config, timer_ns)
            self.engine.add_ladder(ladder, now_ns)
            self._flows.append(Flow(self.engine, ladder.event.ticker, self._path, self._crowd))
        self.market.discover()

    def _step(self) -> None:
        """Let the exchange's time pass: what is due, settlements, the other participants."""
        assert self._path is not None, "a span has a path"
        now_ns = self.schedule.now_ns
        self.engine.advance(now_ns)
        settle_closed(self.engine, self._path.level_e4, now_ns)
        for flow in self._flows:
            flow.step(self.engine, now_ns)
        if now_ns < self._stop_ns:
            step_ns = round(self._lab.step_s * NS_PER_S)
            self.schedule.at((now_ns // step_ns + 1) * step_ns, self._step)

    def close(self) -> None:
        """Bring the last rows down. Raises LedgerError."""
        self.ledger.fold()
        self.ledger.flush()
