"""Configuration of feeds."""

from libs.common.config import ServiceConfig
from libs.common.hosts import is_outside
from libs.common.messages import Provenance
from libs.domain.families import HOURLY_SERIES, Cadence, families_of_symbol, family_of_series


class FeedsConfig(ServiceConfig, frozen=True, kw_only=True):
    """Sources and limits; seconds are of the run's clock."""

    index_url: str
    index_key_file: str
    exchange_rest_url: str
    exchange_ws_url: str
    raw_directory: str
    provenance: Provenance

    index_symbols: tuple[str, ...] = ("I:SPX", "I:NDX")
    series: tuple[str, ...] = HOURLY_SERIES
    index_stale_s: float = 2.0
    minutes_stale_s: float = 20.0
    books_stale_s: float = 2.0
    status_stale_s: float = 60.0
    level_jump_max: float = 0.2
    snapshot_every_s: float = 0.25
    discovery_every_s: float = 30.0
    discovery_ahead_s: float = 7_200.0
    exchange_status_every_s: float = 10.0
    fee_facts_every_s: float = 60.0
    raw_bytes_max: int = 2_000_000_000

    def __post_init__(self) -> None:
        if not 0 < self.snapshot_every_s <= self.books_stale_s / 2:
            raise ValueError(
                "snapshot_every_s: expected above 0 and at most half of books_stale_s, "
                f"given {self.snapshot_every_s}"
            )
        if not 0 < self.level_jump_max < 1:
            raise ValueError(f"level_jump_max: expected 0 to 1, given {self.level_jump_max}")
        urls = (self.index_url, self.exchange_rest_url, self.exchange_ws_url)
        if self.provenance == "live" and not all(map(is_outside, urls)):
            raise ValueError(
                f"provenance: expected synthetic or replay for a source on this machine, given live"
                f" and {', '.join(urls)}"
            )
        if not self.index_symbols or not self.series:
            raise ValueError("index_symbols, series: expected at least one of each")
        for series in self.series:
            family_of_series(series)
        for symbol in self.index_symbols:
            families_of_symbol(symbol)

    @property
    def needs_minutes(self) -> bool:
        """Tell whether a series settles at the close: those need whole minutes as well."""
        families = map(family_of_series, self.series)
        return any(family.cadence is Cadence.CLOSE for family in families)
