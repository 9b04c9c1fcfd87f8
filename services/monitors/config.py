"""Configuration of monitors: what every service needs, and when a monitor alerts."""

from libs.common.config import ServiceConfig
from services.monitors.policy import MonitorsPolicy


class MonitorsConfig(ServiceConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Seconds are of the run's clock."""

    policy: MonitorsPolicy = MonitorsPolicy()
    kill_switch_poll_s: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.kill_switch_poll_s < self.policy.kill_switch_s:
            raise ValueError(
                "kill_switch_poll_s: expected above 0 and below policy.kill_switch_s "
                f"({self.policy.kill_switch_s:g}), given {self.kill_switch_poll_s:g}"
            )
