"""Reporting's configuration; the policy defaults are in `configs/reporting.yaml`."""

from msgspec import field

from libs.common.config import ServiceConfig
from services.reporting.core import SettlementPolicy
from services.reporting.ledger import QueryLimits


class ReportingConfig(ServiceConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the ledger and the reports are, and how the sink and settlement go about it."""

    ledger: str = "ledger"
    """A directory (embedded chDB, opened by this process alone) or an `http(s)://` server."""
    ledger_user: str = ""
    ledger_password_file: str = ""
    reports_dir: str = "reports"
    insert_rows_max: int = 5_000
    insert_bytes_max: int = 16_000_000
    poll_s: float = 0.5
    recover_days: int = 14
    settlement: SettlementPolicy = field(default_factory=SettlementPolicy)
    query: QueryLimits = field(default_factory=QueryLimits)

    def __post_init__(self) -> None:
        if not 1 <= self.insert_rows_max <= 10_000:
            raise ValueError(f"insert_rows_max: expected 1 to 10000, got {self.insert_rows_max}")
        if not 0.01 <= self.poll_s <= 1.0:
            raise ValueError(f"poll_s: expected 0.01 to 1, got {self.poll_s}")
        if not 1 <= self.recover_days <= 366:
            raise ValueError(f"recover_days: expected 1 to 366, got {self.recover_days}")
