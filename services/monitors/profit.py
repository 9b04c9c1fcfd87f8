"""What the account gained or lost today and this week, settled and marked (domain.md §3)."""

from libs.common.profit import Exits
from libs.domain.money import format_money
from services.monitors.ladders import Ladders
from services.monitors.orders import Orders
from services.monitors.policy import MonitorsPolicy
from services.monitors.reading import Reading, Whole, judged


class Drawdown(Whole):
    """ALERT when the loss of the day or of the week is over its budget."""

    name = "drawdown"

    def __init__(self, policy: MonitorsPolicy, orders: Orders, ladders: Ladders) -> None:
        self._daily_e6 = policy.sizing.portfolio.loss_day_max_e6
        self._weekly_e6 = policy.sizing.portfolio.loss_week_max_e6
        self._orders = orders
        self._ladders = ladders

    def judge(self, now_ns: int) -> Reading:
        held_e6 = self._orders.held.pnl_e6(self._exits())
        day_e6 = self._orders.profit.day_e6(now_ns) + held_e6
        week_e6 = self._orders.profit.week_e6(now_ns) + held_e6
        over = -day_e6 > self._daily_e6 or -week_e6 > self._weekly_e6
        # The one that is nearer to its budget is shown as the value.
        loss_e6, limit_e6 = max(
            ((-day_e6, self._daily_e6), (-week_e6, self._weekly_e6)),
            key=lambda row: row[0] / max(1, row[1]),
        )
        text = (
            f"today {format_money(day_e6)}, this week {format_money(week_e6)}, "
            f"of it {format_money(held_e6)} not settled"
        )
        return judged(over, max(0, loss_e6) / 1e6, limit_e6 / 1e6, text)

    def _exits(self) -> Exits:
        known: dict[str, dict[str, tuple[int, int]]] = {}

        def exits(event_ticker: str, ticker: str) -> tuple[int, int] | None:
            if event_ticker not in known:
                known[event_ticker] = self._ladders.exits_e4(event_ticker)
            return known[event_ticker].get(ticker)

        return exits
