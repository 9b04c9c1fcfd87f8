"""One backtest from its first bar to its last settlement: the live cores against the simulator.

index bars ─► feeds ─► pricer ─► risk ─► broker ─► exchange engine ◄─ other participants
                 ▲ books                     ▲ answers, fills, payouts │
                 └───────────────────────────┴─────────────────────────┘
"""

import random
from collections.abc import Callable

from msgspec import Struct, structs

from lab.backtest.spans import Span
from lab.drive.account import OURS, ExchangeAccount
from lab.drive.carrier import MakeCarrier, memory_carrier
from lab.drive.config import DriveConfig
from lab.drive.cores import Upkeep, fill_model, live_cores, new_broker
from lab.drive.effects import EffectLog
from lab.drive.ledger import LedgerWriter
from lab.drive.market import MarketData
from lab.drive.schedule import Schedule
from lab.drive.services import Services
from lab.exchange.engine import Engine
from lab.exchange.forgetting import forget_paid
from lab.exchange.ladders import build_ladder
from lab.exchange.model import Event, MarketStatus
from lab.exchange.settling import settle_closed
from lab.exchange.state import History
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


class Done(Struct, kw_only=True):
    """What our account did, by the exchange's own account of it."""

    orders: int = 0
    fills: int = 0
    contracts_e2: int = 0
    fees_e6: int = 0

    def add(self, history: History) -> None:
        """Count an account's history in."""
        self.orders += len(history.orders)
        self.fills += len(history.fills)
        self.contracts_e2 += sum(fill.count_e2 for fill in history.fills)
        self.fees_e6 += sum(fill.fee_e6 for fill in history.fills)


class World:
    """Everything of one backtest, in one schedule.

    What a span has settled is counted and let go of at its end: a year takes no more memory than
    its busiest day.
    """

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
        self._done = Done()
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
        self._renew_broker()
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
        self._forget()

    def _renew_broker(self) -> None:
        """Start the broker anew, which remembers each order of its life, when all is paid."""
        if self._done.orders and not self.engine.state.events:
            self.services[Service.BROKER].restart(new_broker(self._config))
            self._upkeep.begin_broker(OURS)

    def done(self) -> Done:
        """Return what our account has done so far."""
        done = structs.replace(self._done)
        done.add(self.engine.state.histories[OURS])
        return done

    def _forget(self) -> None:
        """Count what is paid, and let go of it."""
        state, self._flows = self.engine.state, []
        paid = [
            name
            for name, markets in state.event_markets.items()
            if all(market.status is MarketStatus.FINALIZED for market in markets)
        ]
        for name in paid:
            self._done.add(forget_paid(self.engine, name)[OURS])

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
