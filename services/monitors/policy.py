"""When a monitor alerts; the numbers are domain.md's where it has them."""

from msgspec import Struct


class MonitorsPolicy(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Limits of all monitors; seconds are of the run's clock."""

    publish_every_s: float = 30.0
    heartbeat_s: float = 300.0
    not_ready_s: float = 60.0
    feeds: tuple[str, ...] = ("index.ws", "kalshi.ladders", "kalshi.status", "clock")
    feed_report_s: float = 15.0
    index_symbols: tuple[str, ...] = ("I:SPX", "I:NDX")
    index_window_s: float = 2.0
    index_session_s: float = 15.0
    window_lead_s: float = 900.0
    ladder_s: float = 2.0
    ladder_gap_s: float = 2.0
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

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if name.endswith("_s") and not 0 < value <= 1e6:
                raise ValueError(f"{name}: expected above 0 and at most 1e6 s, given {value}")
        if self.dead_letters_max < 0 or self.disconnects_per_hour < 0:
            raise ValueError("dead_letters_max, disconnects_per_hour: expected 0 or more")
