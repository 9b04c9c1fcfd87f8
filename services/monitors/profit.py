"""What the account gained or lost today and this week, settled and marked (domain.md §3)."""

from libs.common.messages import ExchangeSettlement, Fill, Message
from libs.common.own_orders import OwnOrders, Position
from libs.domain.eastern import eastern_date
from libs.domain.money import PRICE_ONE_E4, format_money
from services.monitors.ladders import Ladders
from services.monitors.policy import MonitorsPolicy
from services.monitors.reading import Reading, Whole, judged

DAYS_KEPT = 8


class Profit:
    """Fold settlements and fills; mark what is held at the price at which we could get out.

    Gains count on the New York day on which the exchange paid. A position whose book is not
    known any more keeps its last mark, one that was never marked counts as lost.
    """

    def __init__(self, own: OwnOrders) -> None:
        self._own = own
        self._settled_e6: dict[int, int] = {}
        self._event_of: dict[str, str] = {}
        self._marks_e4: dict[str, tuple[int, int]] = {}

    def fold(self, message: Message, before: Position) -> None:
        """Fold a fill or settlement that is new; `before` is the market's position before it."""
        if isinstance(message, Fill):
            self._event_of[message.ticker] = message.event_ticker
        elif isinstance(message, ExchangeSettlement) and message.ticker in self._event_of:
            del self._event_of[message.ticker]
            self._marks_e4.pop(message.ticker, None)
            day = eastern_date(message.settled_ns).toordinal()
            gain_e6 = before.cash_e6 + _payoff_e6(message, before)
            self._settled_e6[day] = self._settled_e6.get(day, 0) + gain_e6
            for old in [each for each in self._settled_e6 if each < day - DAYS_KEPT]:
                del self._settled_e6[old]

    def mark(self, ladders: Ladders) -> int:
        """Return what leaving all positions now would add to what was settled, in e6."""
        exits: dict[str, dict[str, tuple[int, int]]] = {}
        total_e6 = 0
        for ticker, event in self._event_of.items():
            if event not in exits:
                exits[event] = ladders.exits_e4(event)
            if ticker in exits[event]:
                self._marks_e4[ticker] = exits[event][ticker]
            bid_e4, ask_e4 = self._marks_e4.get(ticker, (0, PRICE_ONE_E4))
            held = self._own.position(ticker)
            total_e6 += held.cash_e6 + held.count_e2 * (bid_e4 if held.count_e2 > 0 else ask_e4)
        return total_e6

    def settled_e6(self, first_day: int, last_day: int) -> int:
        """Return what was settled from one day to another, by ordinals."""
        return sum(gain for day, gain in self._settled_e6.items() if first_day <= day <= last_day)


class Drawdown(Whole):
    """ALERT when the loss of the day or of the week is over its budget."""

    name = "drawdown"

    def __init__(self, policy: MonitorsPolicy, profit: Profit, ladders: Ladders) -> None:
        self._daily_e6 = policy.daily_loss_e6
        self._weekly_e6 = policy.weekly_loss_e6
        self._profit = profit
        self._ladders = ladders

    def judge(self, now_ns: int) -> Reading:
        date = eastern_date(now_ns)
        today, monday = date.toordinal(), date.toordinal() - date.weekday()
        held_e6 = self._profit.mark(self._ladders)
        day_e6 = self._profit.settled_e6(today, today) + held_e6
        week_e6 = self._profit.settled_e6(monday, today) + held_e6
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


def _payoff_e6(message: ExchangeSettlement, held: Position) -> int:
    if message.result == "scalar":
        return message.revenue_e6
    return held.count_e2 * PRICE_ONE_E4 if message.result == "yes" else 0
