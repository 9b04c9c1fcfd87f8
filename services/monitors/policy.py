"""When a monitor alerts; the numbers are domain.md's where it has them."""

from msgspec import Struct, field

from libs.common.config import demand_at_least_zero
from libs.common.freshness import FreshnessPolicy
from libs.domain.calendar_ends import WARN_DAYS
from libs.domain.families import demand_families
from libs.domain.windows import WindowRules


class GateLimits(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Those limits of risk's gates that monitors alert on."""

    skew_s_max: float = 1.5
    heartbeat_age_s_max: float = 300.0
    exchange_status_age_s_max: float = 60.0
    panic_monitors_min: int = 3
    panic_within_s: float = 1_800.0
    panic_ignores: tuple[str, ...] = ("kill_switch", "panic", "calendar_ends")

    def __post_init__(self) -> None:
        demand_at_least_zero(self)
        if self.panic_monitors_min < 1:
            raise ValueError("panic_monitors_min: expected 1 or more, got 0")


class LossBudgets(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What may be lost before risk sizes nothing."""

    loss_day_max_e6: int = 2_000_000_000
    loss_week_max_e6: int = 6_000_000_000

    def __post_init__(self) -> None:
        demand_at_least_zero(self)
        if self.loss_week_max_e6 < self.loss_day_max_e6:
            raise ValueError("loss_week_max_e6: expected at least loss_day_max_e6")


class SizingLimits(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Those limits of risk's sizing that monitors alert on."""

    portfolio: LossBudgets = LossBudgets()


class MonitorsPolicy(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Limits of all monitors; seconds are of the run's clock.

    `gates` and `sizing` are risk's own, by risk's names: configs/limits.yaml gives them to both.
    """

    gates: GateLimits = GateLimits()
    sizing: SizingLimits = SizingLimits()
    freshness: FreshnessPolicy = field(default_factory=FreshnessPolicy)
    index_ops: WindowRules = WindowRules()
    publish_every_s: float = 30.0
    families: tuple[str, ...] = ("INXU", "NASDAQ100U")
    not_ready_s: float = 60.0
    ladder_gap_s: float = 2.0
    non_monotone_s: float = 2.0
    kill_switch_s: float = 10.0
    skew_age_s: float = 60.0
    dead_letters_max: int = 0
    dead_letters_window_s: float = 600.0
    resting_grace_s: float = 2.0
    reconciliation_age_s: float = 120.0
    disconnects_per_hour: float = 1.0
    disconnects_window_s: float = 21_600.0
    auth_errors: int = 3
    session_age_s: float = 60.0
    sigma_ratio: float = 1.25
    sigma_moves_min: int = 12
    sigma_moves_kept: int = 280
    calendar_days_min: int = WARN_DAYS
    ledger_lag_s: float = 300.0
    verdict_age_s: float = 60.0
    level_age_window_s: float = 3_600.0
    level_age_p95_s: float = 0.7
    level_age_p99_s: float = 2.0
    at_risk_window_s: float = 3_600.0
    at_risk_s: float = 5.0
    var_gates: tuple[str, ...] = ("factor_var", "correlation_var")
    var_headroom: float = 0.05
    ev_gap_bps: float = -5.0
    ev_gap_t: float = -2.0
    ev_gap_count_min: int = 5
    fill_gap_pp: float = -10.0
    fill_gap_contracts_min: int = 100
    model_drift_ratio: float = 1.1
    replay_gap_usd: float = 0.15

    def __post_init__(self) -> None:
        demand_families("families", self.families)
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if name.endswith("_s") and not 0 < value <= 1e6:
                raise ValueError(f"{name}: expected above 0 and at most 1e6 s, given {value}")
            if name.endswith(("_min", "_max")) and value < 0:
                raise ValueError(f"{name}: expected 0 or more, given {value}")
        for lower, upper in (
            ("level_age_p95_s", "level_age_p99_s"),
            ("sigma_moves_min", "sigma_moves_kept"),
        ):
            if getattr(self, lower) > getattr(self, upper):
                raise ValueError(
                    f"{lower}: expected at most {upper} ({getattr(self, upper)}),"
                    f" given {getattr(self, lower)}"
                )
        if self.disconnects_per_hour < 0:
            raise ValueError("disconnects_per_hour: expected 0 or more")
        if not 0 <= self.var_headroom < 1:
            raise ValueError(f"var_headroom: expected 0 to 1, given {self.var_headroom}")
