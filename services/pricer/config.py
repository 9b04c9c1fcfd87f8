"""The pricer's configuration: what every service needs, its policy, its calibration files."""

from msgspec import field

from libs.common.config import ServiceConfig
from libs.domain.families import demand_families
from services.pricer.policy import PricerPolicy


class PricerConfig(ServiceConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`calibrations` maps a family to its artifact; a family without one is never quoted.

    `fills` is the fill model's artifact, for all series; without one its defaults hold.
    """

    policy: PricerPolicy = PricerPolicy()
    calibrations: dict[str, str] = field(default_factory=dict)
    fills: str | None = None

    def __post_init__(self) -> None:
        demand_families("calibrations", self.calibrations)
