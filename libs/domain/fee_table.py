"""The dated facts of the exchange's fees: which series paid what, from when (kalshi-api.md §5).

A row holds from its time until the next row of the same series. Rows that begin at 0 hold as far
back as the exchange's own change log says nothing else. What the exchange publishes at
/series/fee_changes and /events/fee_changes is added with `FeeTable.with_change`.
"""

from datetime import UTC, datetime
from enum import StrEnum

from msgspec import Struct, structs


class FeeType(StrEnum):
    """The exchange's words for a fee model; `flat` is unused there and refused here."""

    QUADRATIC = "quadratic"
    QUADRATIC_WITH_MAKER_FEES = "quadratic_with_maker_fees"
    QUADRATIC_WITH_COMBO_MAKER_FEES = "quadratic_with_combo_maker_fees"
    FLAT = "flat"


class FeeChange(Struct, frozen=True):
    """From `from_ns` a series pays this model; "KXUST*" stands for all series so beginning."""

    series_ticker: str
    from_ns: int
    fee_type: FeeType
    multiplier_e4: int = 10_000


class EventFeeOverride(Struct, frozen=True):
    """From `from_ns` an event pays otherwise than its series; None leaves or restores a field."""

    event_ticker: str
    from_ns: int
    fee_type: FeeType | None = None
    multiplier_e4: int | None = None


class RoundingRule(Struct, frozen=True):
    """From `from_ns` trade fees are ceiled to one unit and rebates paid in another.

    `rebate_unit_e6` None means the member's own balance unit.
    """

    from_ns: int
    trade_fee_unit_e6: int
    rebate_unit_e6: int | None


class FeeTable(Struct, frozen=True):
    """All that is known of fees; the order of rows does not matter."""

    changes: tuple[FeeChange, ...]
    roundings: tuple[RoundingRule, ...]
    overrides: tuple[EventFeeOverride, ...] = ()

    def with_change(self, change: FeeChange | EventFeeOverride) -> "FeeTable":
        """Return the table with one more row; a repeated row changes nothing."""
        if isinstance(change, FeeChange):
            if change in self.changes:
                return self
            return structs.replace(self, changes=(*self.changes, change))
        if change in self.overrides:
            return self
        return structs.replace(self, overrides=(*self.overrides, change))


def _utc_ns(year: int, month: int, day: int, hour: int = 0) -> int:
    return int(datetime(year, month, day, hour, tzinfo=UTC).timestamp()) * 1_000_000_000


INDEX_SERIES = ("KXINX", "KXINXU", "KXNASDAQ100", "KXNASDAQ100U")
INDEX_FULL_RATE_NS = _utc_ns(2026, 7, 3, 17)
MICRO_ROUNDING_NS = _utc_ns(2026, 8, 30)
RUNBOOK_NS = _utc_ns(2025, 10, 15)

_TAKER_ONLY = ("KXHIGH*", "KXJOBLESSCLAIMS", "KXUST*")
_WITH_MAKER_FEES = (
    *("KXCPI", "KXCPIYOY", "KXPAYROLLS", "KXU3"),
    *("KXFED", "KXGDP", "KXINXY", "KXNASDAQ100Y"),
)

EXCHANGE_FEES = FeeTable(
    changes=(
        *(FeeChange(series, 0, FeeType.QUADRATIC, 5_000) for series in INDEX_SERIES),
        *(FeeChange(series, INDEX_FULL_RATE_NS, FeeType.QUADRATIC) for series in INDEX_SERIES),
        *(FeeChange(series, 0, FeeType.QUADRATIC) for series in _TAKER_ONLY),
        *(FeeChange(series, 0, FeeType.QUADRATIC_WITH_MAKER_FEES) for series in _WITH_MAKER_FEES),
    ),
    roundings=(
        RoundingRule(0, trade_fee_unit_e6=100, rebate_unit_e6=10_000),
        RoundingRule(MICRO_ROUNDING_NS, trade_fee_unit_e6=1, rebate_unit_e6=None),
    ),
)
