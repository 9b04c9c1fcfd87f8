"""Risk's policy numbers; `configs/risk.yaml` gives the values and their sources.

Limits may be tightened by configuration; a guardrail test pins what is shipped.
"""

from msgspec import Struct, field

from libs.common.config import demand_at_least_zero
from libs.common.freshness import FreshnessPolicy
from libs.domain.eastern import NS_PER_S
from libs.domain.families import UnknownFamilyError, demand_families, family_of_series
from libs.domain.windows import WindowRules
from services.risk.sizing.policy import SizingPolicy

DAY_NS = 86_400 * NS_PER_S
WEEK_S = 604_800


def seconds_ns(seconds: float) -> int:
    """Return seconds as integer nanoseconds."""
    return round(seconds * NS_PER_S)


class GatePolicy(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The limits of the gates, in seconds of the run's clock (domain.md §3).

    No verdict outlives `verdict_ttl_s_max`, whatever its proposal says: should this service die,
    nothing rests for longer without its watch.
    """

    level_age_s_max: float = 2.0
    level_age_last_minute_s_max: float = 0.7
    level_period_s: float = 1.0
    books_age_s_max: float = 2.0
    skew_s_max: float = 1.5
    clock_sample_age_s_max: float = 120.0
    kill_switch_age_s_max: float = 5.0
    heartbeat_age_s_max: float = 300.0
    exchange_status_age_s_max: float = 60.0
    verdict_ttl_s_max: float = 10.0
    calibration_age_days_max: float = 14.0
    ledger_age_s_max: float = 7_200.0
    monitors_age_s_max: float = 7_200.0
    panic_monitors_min: int = 3
    panic_within_s: float = 1_800.0
    panic_ignores: tuple[str, ...] = ("kill_switch", "panic", "calendar_ends")
    override_s_max: float = 604_800.0
    fee_rules: dict[str, tuple[str, ...]] = field(default_factory=dict)
    fee_rules_age_s_max: float = 3_600.0

    def __post_init__(self) -> None:
        demand_at_least_zero(self)
        if self.level_age_last_minute_s_max > self.level_age_s_max:
            raise ValueError(
                "level_age_last_minute_s_max: expected at most level_age_s_max"
                f" ({self.level_age_s_max:g}), got {self.level_age_last_minute_s_max:g}"
            )
        if self.panic_monitors_min < 1:
            raise ValueError("panic_monitors_min: expected 1 or more, got 0")
        if self.override_s_max > WEEK_S:
            raise ValueError(
                f"override_s_max: expected at most {WEEK_S}, for so long the status stream keeps"
                f" them, got {self.override_s_max:g}"
            )
        for series_ticker in self.fee_rules:
            try:
                family_of_series(series_ticker)
            except UnknownFamilyError as error:
                raise ValueError(f"fee_rules: {error}") from None


class QualityGates(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How good a model and its trades must be, as settled evidence shows (domain.md §3).

    Advantages are over the naive model, by family, `default` for the others.
    """

    crps_advantage_min: dict[str, float] = field(
        default_factory=lambda: {
            "default": 0.01,
            "CPI": 0.02,
            "CLAIMS": 0.015,
            "TENY": 0.01,
            "WEATHER": 0.005,
        }
    )
    brier_advantage_min: dict[str, float] = field(
        default_factory=lambda: {
            "default": 0.0,
            "CPI": 0.0,
            "CLAIMS": -0.001,
            "TENY": -0.001,
            "WEATHER": -0.002,
        }
    )
    non_monotone_max: int = 0
    negative_ev_max: int = 0
    tz_max: int = 0
    par_vs_dgs10_bps_max: float = 5.0
    cusum_h_bps: float = 10.0
    cusum_k_bps: float = 1.0
    cusum_trades_min: int = 12
    catastrophe_bps: float = 50.0
    ev_gap_e6_max: int = 100_000

    def __post_init__(self) -> None:
        demand_at_least_zero(self)
        if self.cusum_trades_min < 1:
            raise ValueError("cusum_trades_min: expected 1 or more, got 0")
        for name in ("crps_advantage_min", "brier_advantage_min"):
            known = getattr(self, name)
            if "default" not in known:
                raise ValueError(f"{name}: expected a default, got {sorted(known)}")
            demand_families(name, known.keys() - {"default"})
        if self.catastrophe_bps < self.cusum_h_bps:
            raise ValueError(
                f"catastrophe_bps: expected cusum_h_bps {self.cusum_h_bps:g} or more,"
                f" got {self.catastrophe_bps:g}"
            )


class RiskPolicy(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that decides a verdict; its hash is in each one."""

    gates: GatePolicy = field(default_factory=GatePolicy)
    index_ops: WindowRules = WindowRules()
    freshness: FreshnessPolicy = field(default_factory=FreshnessPolicy)
    quality_gates: QualityGates = field(default_factory=QualityGates)
    sizing: SizingPolicy = field(default_factory=SizingPolicy)
