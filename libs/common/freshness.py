"""The freshness table, which monitors and risk share: configs/freshness.yaml (domain.md §1)."""

from collections.abc import Iterable
from itertools import combinations

from msgspec import Struct, field

from libs.domain.calendar import is_treasury_day
from libs.domain.eastern import eastern_date
from libs.domain.families import demand_families

BUSINESS_DAYS_MAX = 30


class FeedRule(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How old a feed's newest observation may be, and which families need it (none: all do).

    `window_s` holds within the window of a ladder that needs it, `last_minute_s` in its last
    minute; `business_days` counts Treasury days in place of seconds. What comes once in `period_s`
    is as old as that when the next one is due: the limits count from there.
    """

    source: str
    families: tuple[str, ...] = ()
    stale_s: float | None = None
    window_s: float | None = None
    last_minute_s: float | None = None
    period_s: float = 0.0
    business_days: int | None = None
    cash_hours_only: bool = False

    def __post_init__(self) -> None:
        if (self.stale_s is None) == (self.business_days is None):
            raise ValueError("stale_s, business_days: expected one of the two")
        for limit in (self.stale_s, self.window_s, self.last_minute_s, self.business_days):
            if limit is not None and not 0 < limit <= 1e8:
                raise ValueError(f"{self.source}: expected limits above 0, given {limit}")
        if not 0 <= self.period_s <= 3_600:
            raise ValueError(f"period_s: expected 0 to 3600, given {self.period_s}")
        limits = (self.last_minute_s, self.window_s, self.stale_s)
        for tight, loose in combinations([one for one in limits if one is not None], 2):
            if tight > loose:
                raise ValueError(
                    f"{self.source}: expected last_minute_s at most window_s at most stale_s,"
                    f" given {tight:g} above {loose:g}"
                )

    def is_needed(self, families: Iterable[str]) -> bool:
        """Tell whether one of these families needs the feed."""
        return not self.families or not set(self.families).isdisjoint(families)


class FreshnessPolicy(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The freshness table: configs/freshness.yaml."""

    report_s: float = 15.0
    window_lead_s: float = 900.0
    level_period_s: float = 1.0
    feeds: dict[str, FeedRule] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("report_s", "window_lead_s", "level_period_s"):
            if not 0 < getattr(self, name) <= 1e6:
                raise ValueError(f"{name}: expected above 0, given {getattr(self, name)}")
        for feed, rule in self.feeds.items():
            demand_families(f"families of {feed}", rule.families)


def business_days(from_ns: int, to_ns: int) -> int:
    """Return how many Treasury days have come after one, up to and with another."""
    day, last, count = eastern_date(from_ns), eastern_date(to_ns), 0
    for number in range(day.toordinal() + 1, last.toordinal() + 1):
        if count >= BUSINESS_DAYS_MAX:
            break
        count += is_treasury_day(day.fromordinal(number))
    return count
