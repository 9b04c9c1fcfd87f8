"""The numbers by which the broker's core decides; `configs/broker.yaml` sets them."""

from functools import cache

from msgspec import Struct

from libs.common.clock import NS_PER_S
from libs.domain.money import COUNT_ONE_E2
from libs.domain.windows import WindowRules

_MAY_BE_ZERO = frozenset({"group_limit_e2", "group_reset_s"})


class Policy(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Durations are of the run's clock."""

    index_ops: WindowRules = WindowRules()
    """The calendar's figures, of which the broker takes `cancel_buffer_s`: nothing rests later than
    this before the target (domain.md §3, §4)."""
    min_rest_s: float = 1.0
    """An order that would live shorter than this is not placed."""
    verdict_age_s_max: float = 30.0
    """A verdict older than this allows nothing, whatever it says of its own end: who should have
    renewed it is gone, or the feeds are."""
    fill_visibility_s: float = 1.0
    """A fill this recent counts as not yet seen by risk when it made its verdict."""
    stale_read_s: float = 1.0
    """A read begun sooner after a write may show the time before it (kalshi-api.md §2.3)."""
    absence_reads: int = 2
    """So many complete reads must miss an order before it counts as never taken ..."""
    absence_apart_s: float = 1.0
    """... the first and the last of them this far apart ..."""
    absence_age_s: float = 3.0
    """... and the last one begun this long after the write was lost: so late may it still land.
    A lost amend is not read back sooner either."""
    lookup_every_s: float = 1.0
    lookup_every_max_s: float = 10.0
    ghost_s: float = 2.0
    """An ended order shown at rest by a read begun this much later is a ghost."""
    retry_s: float = 0.5
    """Wait after a write that never reached the exchange (429, no connection)."""
    tries_per_quote: int = 3
    """Orders placed for one quote of one verdict, at most."""
    max_open_orders: int = 200
    max_order_count_e2: int = 100_000
    """Belt against a slip in sizing: 1,000 contracts in one order."""
    batch_cancel_max: int = 20
    settle_after_s: float = 5.0
    settle_every_s: float = 5.0
    settle_limit_s: float = 86_400.0
    group_limit_e2: int = 2_500
    """What may be filled of one event within 15 s before the exchange stops it; 0: no groups."""
    group_reset_s: float = 0.0
    """A triggered group is reset after so long; 0: by an operator alone."""
    group_retry_s: float = 2.0
    difference_shown_s: float = 60.0
    """So long a passing difference between the books is told with every comparison."""
    orphan_s: float = 5.0
    """A fill without an order of ours waits so long for the order to become known."""

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if isinstance(value, WindowRules):
                continue  # it has checked itself
            if not (0 < value <= 1e9 or (value == 0 and name in _MAY_BE_ZERO)):
                raise ValueError(f"{name}: expected above 0, got {value}")
        if self.max_order_count_e2 < COUNT_ONE_E2:
            raise ValueError(
                f"max_order_count_e2: expected {COUNT_ONE_E2} (one contract) or more, got"
                f" {self.max_order_count_e2}: nothing could be placed"
            )
        if 0 < self.group_limit_e2 < 100:
            raise ValueError(
                f"group_limit_e2: expected 0 or 100 (one contract) and more, got"
                f" {self.group_limit_e2}"
            )
        if self.absence_reads < 2:
            raise ValueError(
                f"absence_reads: expected 2 or more, got {self.absence_reads}; "
                "one missing read proves nothing"
            )


@cache
def to_ns(seconds: float) -> int:
    """Return seconds as nanoseconds."""
    return round(seconds * NS_PER_S)
