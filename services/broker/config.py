"""The broker's configuration: where the exchange is, the key, and the policy."""

from msgspec import field

from libs.common.config import ServiceConfig
from libs.common.topology import stream_named
from services.broker.lease import HELD_SHARE
from services.broker.modes import Mode
from services.broker.policy import Policy


class BrokerConfig(ServiceConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`policy`, `token_wait_s` and `fills_overlap_s` count in seconds of the run's clock, which is
    the exchange's; all other durations are real seconds, since sockets, leases and processes know
    no other time. Two brokers of one account need different `instance` names, or none.
    """

    exchange_rest_url: str
    exchange_ws_url: str
    key_id: str
    key_file: str
    account: str = "primary"
    mode: Mode = "sim"
    """sim: an exchange of this machine. dry: whatever it is, nothing is sent. live: Kalshi's."""
    risks_understood: bool = False

    policy: Policy = field(default_factory=Policy)
    cancel_reserve_tokens: int = 20
    token_wait_s: float = 2.0
    poll_s: float = 3.0
    read_retry_s: float = 0.5
    fills_overlap_s: float = 60.0
    connect_timeout_s: float = 2.0
    answer_timeout_s: float = 5.0
    leave_timeout_s: float = 1.0
    kill_switch_every_s: float = 0.08
    kill_switch_age_s_max: float = 3.0
    kill_switch_read_s_max: float = 1.0
    urgent_wait_s: float = 0.25
    readiness_every_s: float = 5.0
    lease_ttl_s: float = 10.0
    lease_every_s: float = 2.0
    epoch_renewal_s: float = 86_400.0
    confirm_s: float = 20.0
    confirm_every_s: float = 0.05
    drain_s: float = 10.0

    def __post_init__(self) -> None:
        for name in ("token_wait_s", "poll_s", "connect_timeout_s", "answer_timeout_s"):
            if not 0 < getattr(self, name) <= 60:
                raise ValueError(f"{name}: expected above 0 to 60, given {getattr(self, name)}")
        if not 0 < self.kill_switch_every_s <= self.kill_switch_age_s_max / 2:
            raise ValueError(
                "kill_switch_every_s: expected at most half of kill_switch_age_s_max, given"
                f" {self.kill_switch_every_s}"
            )
        if not 0 < self.lease_every_s <= self.lease_ttl_s / 3:
            raise ValueError(
                f"lease_every_s: expected at most a third of lease_ttl_s, given"
                f" {self.lease_every_s}"
            )
        if not 0 < self.epoch_renewal_s <= stream_named("ORDERS").max_age_s / 3:
            raise ValueError(
                "epoch_renewal_s: expected at most a third of what ORDERS keeps, given"
                f" {self.epoch_renewal_s}"
            )
        if not 0 < self.leave_timeout_s < self.lease_ttl_s * (1 - HELD_SHARE):
            raise ValueError(
                "leave_timeout_s: expected less than a fifth of lease_ttl_s, so that nothing leaves"
                f" when the lease is over, given {self.leave_timeout_s}"
            )
        if not self.key_id.strip():
            raise ValueError("key_id: expected the id that the exchange shows for the key")
