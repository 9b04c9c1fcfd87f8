"""What we hold in each market, folded from fills, and what it pays at settlement."""

from msgspec import Struct

from libs.common.messages import ExchangeSettlement, Fill
from libs.domain.money import PRICE_ONE_E4, format_count, format_money


class Position(Struct, kw_only=True):
    """One market's inventory. Counts e2 (negative: short YES), money e6.

    `cost_e6` is what was paid for YES less what YES was sold for; it takes no view of
    collateral. `contracts_e2` counts every contract filled, either side.
    """

    event_ticker: str
    series_ticker: str
    ticker: str
    position_e2: int = 0
    cost_e6: int = 0
    fee_e6: int = 0
    contracts_e2: int = 0
    fills: int = 0

    def take(self, fill: Fill) -> None:
        """Add one fill; who calls has made sure that it is new."""
        change_e2 = fill.count_e2 if fill.side == "bid" else -fill.count_e2
        self.position_e2 += change_e2
        self.cost_e6 += change_e2 * fill.price_e4
        self.fee_e6 += fill.fee_e6
        self.contracts_e2 += fill.count_e2
        self.fills += 1

    def pnl_e6(self, result: str) -> int:
        """Return what is gained once the market pays: payout less cost less fees."""
        payout_e4 = PRICE_ONE_E4 if result == "yes" else 0
        return self.position_e2 * payout_e4 - self.cost_e6 - self.fee_e6


def difference(position: Position, result: str, theirs: ExchangeSettlement) -> str:
    """Return how the exchange's settlement differs from ours, "" when it does not."""
    found: list[str] = []
    if theirs.result != result:
        found.append(f"result: ours {result}, exchange {theirs.result}")
    held_e2 = theirs.yes_count_e2 - theirs.no_count_e2
    if held_e2 != position.position_e2:
        ours, other = format_count(position.position_e2), format_count(held_e2)
        found.append(f"position: ours {ours}, exchange {other}")
    won_e2 = theirs.yes_count_e2 if result == "yes" else theirs.no_count_e2
    if (due_e6 := won_e2 * PRICE_ONE_E4) != theirs.revenue_e6:
        ours, other = format_money(due_e6), format_money(theirs.revenue_e6)
        found.append(f"revenue: ours {ours}, exchange {other}")
    return "; ".join(found)
