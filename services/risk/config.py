"""Risk's configuration: what every service needs, and the policy."""

from msgspec import field

from libs.common.config import ServiceConfig
from services.risk.gates.contract import Mode
from services.risk.policy import RiskPolicy
from services.risk.signatures import public_key


class RiskConfig(ServiceConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`kill_switch_every_s` is how often the switch is read, in seconds of the run's clock.

    In `mode` live every gate decides; `gates/contract.py` says what is advice in the others.
    """

    policy: RiskPolicy = field(default_factory=RiskPolicy)
    mode: Mode = "live"
    operator_key: str = ""
    kill_switch_every_s: float = 0.5

    def __post_init__(self) -> None:
        if self.operator_key:
            public_key(self.operator_key)
        limit_s = self.policy.gates.kill_switch_age_s_max
        if not 0.0 < self.kill_switch_every_s <= limit_s / 2:
            raise ValueError(
                f"kill_switch_every_s: expected above 0 to {limit_s / 2:g} (half of its age limit),"
                f" got {self.kill_switch_every_s}"
            )
