"""What a driven run is made of: the services' own configuration, and how the world behaves."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

from msgspec import Struct

from lab.drive.latency import Latency
from lab.exchange.config import Tier
from lab.exchange.limits import TIERS
from lab.simulated import SIMULATED
from libs.common.config import ServiceConfig, load_config, merge
from libs.common.messages import Provenance
from libs.common.policy_files import CONFIGS, policy_files
from libs.common.topology import Service
from libs.domain.families import INDEX_FAMILIES, family_named
from libs.kalshi.wire.portfolio import AccountLimits, Bucket
from services.broker.config import BrokerConfig
from services.feeds.config import FeedsConfig
from services.pricer.config import PricerConfig
from services.reporting.config import ReportingConfig
from services.risk.config import RiskConfig

NOWHERE = "http://127.0.0.1:9"
_Config = TypeVar("_Config", bound=ServiceConfig)


class LabConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How a driven run stands for the world; `configs/lab.yaml` says what each number is."""

    latency: Latency = Latency()
    step_s: float = 0.25
    listed_s: float = 960.0
    settle_s: float = 60.0
    balance_e6: int = 10_000_000_000
    settlement_timer_s: float = 5.0
    tier: Tier = "basic"

    def __post_init__(self) -> None:
        if not 0.01 <= self.step_s <= 10.0:
            raise ValueError(f"step_s: expected 0.01 to 10, got {self.step_s}")
        if not 900.0 < self.listed_s <= 7_200.0:
            raise ValueError(f"listed_s: expected above 900 to 7200, got {self.listed_s}")
        if not 40.0 <= self.settle_s <= 600.0:
            raise ValueError(f"settle_s: expected 40 to 600, got {self.settle_s}")

    def account_limits(self) -> AccountLimits:
        """Return what the exchange allows an account of the tier."""
        (read_per_s, read), (write_per_s, write) = TIERS[self.tier].read, TIERS[self.tier].write
        return AccountLimits(self.tier, Bucket(read, read_per_s), Bucket(write, write_per_s))


class DriveConfig(Struct, frozen=True, kw_only=True):
    """The configuration of every driven service, as its process would have it."""

    lab: LabConfig
    feeds: FeedsConfig
    pricer: PricerConfig
    risk: RiskConfig
    broker: BrokerConfig
    reporting: ReportingConfig


def load_drive(
    provenance: Provenance,
    over: dict[str, dict[str, Any]] | None = None,
    families: Iterable[str] = INDEX_FAMILIES,
) -> DriveConfig:
    """Read `configs/` as a run does; `over` holds keys by service. Raises ConfigError.

    Feeds follows the events of `families`: where nothing but bars is traded, the close too.
    """
    over = over or {}
    outside = {"exchange_rest_url": NOWHERE, "exchange_ws_url": NOWHERE}

    def load(service: Service, kind: type[_Config], **own: Any) -> _Config:
        # Sockets, secrets and ports belong to processes; nothing of a driven run has any.
        plain = {"service": str(service), "nats_url": "", "nats_password_file": ""}
        given = merge({**plain, "admin_token_file": "", **own}, over.get(service, {}))
        return load_config(policy_files(service), kind, given)

    return DriveConfig(
        lab=load_config([CONFIGS / "lab.yaml"], LabConfig, over.get("lab")),
        feeds=load(
            Service.FEEDS,
            FeedsConfig,
            **outside,
            index_url=NOWHERE,
            index_key_file="",
            raw_directory="",
            provenance=provenance,
            series=[series for name in families for series in family_named(name).series_tickers],
        ),
        pricer=load(Service.PRICER, PricerConfig, **SIMULATED[Service.PRICER]),
        risk=load(Service.RISK, RiskConfig, **SIMULATED[Service.RISK]),
        broker=load(Service.BROKER, BrokerConfig, **outside, key_id="none", key_file=""),
        reporting=load(Service.REPORTING, ReportingConfig),
    )


def from_root(path: str) -> Path:
    """Return a path of a configuration file, which is relative to the repository."""
    return Path(path) if Path(path).is_absolute() else CONFIGS.parent / path
