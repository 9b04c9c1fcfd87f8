"""When a monitor alerts; the numbers are domain.md's where it has them."""

from collections.abc import Iterable

from msgspec import Struct

from libs.domain.families import family_named


class FeedRule(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How old a feed's newest observation may be, and which families need it (none: all do).

    `window_s` holds within the window of a ladder that needs it, `last_minute_s` in its last
    minute; `business_days` counts Treasury days in place of seconds.
    """

    source: str
    families: tuple[str, ...] = ()
    stale_s: float | None = None
    window_s: float | None = None
    last_minute_s: float | None = None
    business_days: int | None = None
    cash_hours_only: bool = False

    def __post_init__(self) -> None:
        for name in self.families:
            family_named(name)
        if (self.stale_s is None) == (self.business_days is None):
            raise ValueError("stale_s, business_days: expected one of the two")
        for limit in (self.stale_s, self.window_s, self.last_minute_s, self.business_days):
            if limit is not None and not 0 < limit <= 1e8:
                raise ValueError(f"{self.source}: expected limits above 0, given {limit}")

    def is_needed(self, families: Iterable[str]) -> bool:
        """Tell whether one of these families needs the feed."""
        return not self.families or not set(self.families).isdisjoint(families)


class FreshnessPolicy(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The freshness table: configs/freshness.yaml."""

    report_s: float
    window_lead_s: float
    level_period_s: float
    feeds: dict[str, FeedRule]


class MonitorsPolicy(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Limits of all monitors; seconds are of the run's clock."""

    publish_every_s: float = 30.0
    families: tuple[str, ...] = ("INXU", "NASDAQ100U")
    heartbeat_s: float = 300.0
    not_ready_s: float = 60.0
    ladder_gap_s: float = 2.0
    non_monotone_s: float = 2.0
    kill_switch_s: float = 10.0
    skew_s: float = 1.5
    skew_age_s: float = 60.0
    exchange_age_s: float = 60.0
    dead_letters_max: int = 0
    dead_letters_window_s: float = 600.0
    cancel_buffer_s: float = 2.0
    resting_grace_s: float = 2.0
    reconciliation_age_s: float = 120.0
    disconnects_per_hour: float = 1.0
    disconnects_window_s: float = 21_600.0
    auth_errors: int = 3
    session_age_s: float = 60.0
    daily_loss_e6: int = 2_000_000_000
    weekly_loss_e6: int = 6_000_000_000
    sigma_ratio: float = 1.25
    sigma_moves_min: int = 12
    sigma_moves_kept: int = 280
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
    panic_monitors_min: int = 3
    panic_within_s: float = 1_800.0
    panic_ignores: tuple[str, ...] = ("kill_switch",)

    def __post_init__(self) -> None:
        for name in self.families:
            family_named(name)
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if name.endswith("_s") and not 0 < value <= 1e6:
                raise ValueError(f"{name}: expected above 0 and at most 1e6 s, given {value}")
            if name.endswith(("_min", "_max", "_e6")) and value < 0:
                raise ValueError(f"{name}: expected 0 or more, given {value}")
        if self.disconnects_per_hour < 0:
            raise ValueError("disconnects_per_hour: expected 0 or more")
        if not 0 <= self.var_headroom < 1:
            raise ValueError(f"var_headroom: expected 0 to 1, given {self.var_headroom}")
