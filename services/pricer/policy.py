"""The pricer's policy numbers; `configs/pricer.yaml` gives the values and their sources."""

from msgspec import Struct

from libs.domain.eastern import NS_PER_S
from libs.domain.windows import WindowRules
from services.pricer.quotes import QuotePolicy


def seconds_ns(seconds: float) -> int:
    """Return seconds as integer nanoseconds."""
    return round(seconds * NS_PER_S)


class PricerPolicy(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When to quote and how often to say so; times in seconds of the run's clock.

    `calibration_age_days_max` of None takes any calibration: for simulated markets only.
    """

    quotes: QuotePolicy = QuotePolicy()
    index_ops: WindowRules = WindowRules()
    level_age_s_max: float = 2.0
    level_age_last_minute_s_max: float = 0.7
    level_late_s_max: float = 2.0
    books_age_s_max: float = 2.0
    proposal_ttl_s: float = 8.0
    renew_lead_s: float = 4.0
    renew_last_minute_s: float = 0.9
    min_rest_s: float = 2.0
    books_settle_s: float = 0.3
    empty_repeat_s: float = 1.0
    fair_interval_s: float = 0.25
    fair_idle_interval_s: float = 5.0
    fair_horizon_s: float = 3_600.0
    calibration_age_days_max: float | None = 14.0

    def __post_init__(self) -> None:
        if not 0.0 < self.renew_lead_s < self.proposal_ttl_s:
            raise ValueError("renew_lead_s: expected above 0 and below proposal_ttl_s")
        ages_s = (
            self.level_age_s_max,
            self.level_age_last_minute_s_max,
            self.level_late_s_max,
            self.books_age_s_max,
        )
        if min(ages_s) <= 0:
            raise ValueError("ages: expected limits above 0")
        age = self.calibration_age_days_max
        if age is not None and age <= 0.0:
            raise ValueError(f"calibration_age_days_max: expected above 0 or null, got {age}")
