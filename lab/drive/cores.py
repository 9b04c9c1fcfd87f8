"""The live cores as a driven run starts them, and what keeps them alive besides their inputs."""

from lab.drive.config import DriveConfig, from_root
from lab.drive.services import Services
from libs.common.clock import NS_PER_S
from libs.common.effects import Core
from libs.common.messages import BrokerEpoch, Cause, Heartbeat, derived_id, envelope
from libs.common.topology import SERVICES, Service
from services.broker.core import BrokerCore
from services.broker.events import EpochTaken, KillSwitchChanged, RecoveryDone
from services.feeds.core import FeedsCore
from services.pricer.artifacts import load_calibration, load_fills
from services.pricer.calibration import Calibration
from services.pricer.core import PricerCore
from services.pricer.fills import FillModel
from services.reporting.core import ReportingCore
from services.reporting.events import Recovered
from services.risk.core import RiskCore
from services.risk.events import KillSwitchRead


def live_cores(config: DriveConfig, calibrations: dict[str, Calibration]) -> dict[Service, Core]:
    """Return a new core of every service but monitors, which decides nothing about trading.

    Raises CalibrationError for a fill model that can't be used.
    """
    return {
        Service.FEEDS: FeedsCore(config.feeds),
        Service.PRICER: PricerCore(config.pricer.policy, calibrations, fill_model(config)),
        Service.RISK: RiskCore(config.risk.policy, config.risk.mode),
        Service.BROKER: new_broker(config),
        Service.REPORTING: ReportingCore(Service.REPORTING, config.reporting.settlement),
    }


def new_broker(config: DriveConfig) -> BrokerCore:
    """Return a broker's core that knows of nothing yet."""
    return BrokerCore(config.broker.policy, live_only=False)


def load_calibrations(config: DriveConfig, path: str | None = None) -> dict[str, Calibration]:
    """Read each family's artifact, or one for all of them. Raises CalibrationError."""
    return {
        family: load_calibration(from_root(path or found), family)
        for family, found in config.pricer.calibrations.items()
    }


def fill_model(config: DriveConfig) -> FillModel:
    """Read the pricer's fill model, or return the defaults. Raises CalibrationError."""
    path = config.pricer.fills
    return load_fills(from_root(path)) if path else FillModel()


class Upkeep:
    """What the runner and the adapters of every service say while nothing happens."""

    def __init__(self, services: Services, config: DriveConfig) -> None:
        self._services = services
        self._schedule = services.schedule
        self._beat_ns = round(config.feeds.heartbeat_s * NS_PER_S)
        self._switch_ns = round(config.risk.kill_switch_every_s * NS_PER_S)
        self._stop_ns = 0
        self._since_ns = self._schedule.now_ns
        self._beats = 0
        self._epoch = 0

    def begin(self, account: str) -> None:
        """Start the broker, end every recovery."""
        self.begin_broker(account)
        now_ns = self._schedule.now_ns
        self._services[Service.REPORTING].dispatch(Recovered(now_ns=now_ns))

    def begin_broker(self, account: str) -> None:
        """Let a new broker that has nothing to read back lead, and release the kill switch."""
        services, now_ns = self._services, self._schedule.now_ns
        self._epoch += 1
        name = derived_id("epoch", account, self._epoch, now_ns)
        epoch = BrokerEpoch(
            **envelope(Cause(name, name, now_ns), Service.BROKER),
            epoch=self._epoch,
            broker="broker-lab",
            account=account,
        )
        services.take_fence(Service.BROKER, services.say(Service.BROKER, epoch))
        broker = services[Service.BROKER]
        broker.dispatch(EpochTaken(now_ns=now_ns, epoch=self._epoch))
        broker.dispatch(
            KillSwitchChanged(now_ns=now_ns, engaged=False, reason="driven run", by="lab")
        )
        broker.dispatch(RecoveryDone(now_ns=now_ns))

    def start(self, until_ns: int) -> None:
        """Beat and read the kill switch until that time."""
        self._stop_ns = until_ns
        self._beat()
        self._read_switch()

    def _beat(self) -> None:
        now_ns = self._schedule.now_ns
        self._beats += 1
        for service in SERVICES:
            cause = Cause.first("heartbeat", f"{service}-lab|{now_ns}|{self._beats}", now_ns)
            self._services.say(
                service,
                Heartbeat(
                    **envelope(cause, service),
                    service=service,
                    instance=f"{service}-lab",
                    state="READY",
                    since_ns=self._since_ns,
                    loop_lag_ns=0,
                ),
            )
        if now_ns < self._stop_ns:
            self._schedule.at(now_ns + self._beat_ns, self._beat)

    def _read_switch(self) -> None:
        now_ns = self._schedule.now_ns
        self._services[Service.RISK].dispatch(KillSwitchRead(now_ns=now_ns, engaged=False))
        if now_ns < self._stop_ns:
            self._schedule.at(now_ns + self._switch_ns, self._read_switch)
