"""What was won and lost, settled by New York day and week, and held at the books' prices; pure.

A market's profit is known when the exchange has settled it; until then its fills are exposure,
not profit. A fill that becomes known after the settlement counts at once.
"""

from collections.abc import Callable, Iterator

from msgspec import Struct

from libs.common.messages import ExchangeSettlement, Fill, Message, OrderUpdate
from libs.common.own_orders import OwnOrders
from libs.domain.eastern import eastern_date
from libs.domain.money import PRICE_ONE_E4

DAYS_KEPT = 40

Exits = Callable[[str, str], tuple[int, int] | None]
"""The best bid and ask of a market, by event and ticker; None when its book is not known."""


class _Market(Struct):
    """One market's fills so far, YES positive, and what came of it."""

    count_e2: int = 0
    cash_e6: int = 0
    value_e4: int | None = None
    settled_on: int = 0


class SettledProfit:
    """Fold fills and the exchange's settlements; ask for a day's or a week's profit."""

    def __init__(self) -> None:
        self._markets: dict[str, _Market] = {}
        self._trades: set[str] = set()
        self._by_day: dict[int, int] = {}

    def fold(self, message: Message) -> None:
        """Fold a fill or a settlement that is new; anything else changes nothing."""
        if isinstance(message, Fill):
            self.fill(message)
        elif isinstance(message, ExchangeSettlement):
            self.settle(message)

    def fill(self, fill: Fill) -> None:
        """Add one fill; a trade that was seen before counts once."""
        trade = f"{fill.trade_id}|{fill.order_id}"
        if trade in self._trades:
            return
        self._trades.add(trade)
        market = self._markets.setdefault(fill.ticker, _Market())
        signed_e2 = fill.count_e2 if fill.side == "bid" else -fill.count_e2
        cash_e6 = -signed_e2 * fill.price_e4 - fill.fee_e6
        market.count_e2 += signed_e2
        market.cash_e6 += cash_e6
        if market.value_e4 is not None:
            self._book(market.settled_on, cash_e6 + signed_e2 * market.value_e4)

    def settle(self, settlement: ExchangeSettlement) -> None:
        """Book a market's profit on the day on which the exchange settled it, once."""
        market = self._markets.setdefault(settlement.ticker, _Market())
        if market.value_e4 is not None:
            return
        market.value_e4 = _value_e4(settlement, market.count_e2)
        market.settled_on = eastern_date(settlement.settled_ns).toordinal()
        self._book(market.settled_on, market.cash_e6 + market.count_e2 * market.value_e4)

    def day_e6(self, now_ns: int) -> int:
        """Return what was settled on the New York day of a time, losses negative."""
        return self._by_day.get(eastern_date(now_ns).toordinal(), 0)

    def week_e6(self, now_ns: int) -> int:
        """Return what was settled since Monday, losses negative."""
        today = eastern_date(now_ns)
        last = today.toordinal()
        return sum(self._by_day.get(day, 0) for day in range(last - today.weekday(), last + 1))

    def days(self) -> Iterator[tuple[int, int]]:
        """Yield each remembered day (as an ordinal) and its profit."""
        yield from self._by_day.items()

    def _book(self, day: int, profit_e6: int) -> None:
        self._by_day[day] = self._by_day.get(day, 0) + profit_e6
        if len(self._by_day) > DAYS_KEPT:
            del self._by_day[min(self._by_day)]


def _value_e4(settlement: ExchangeSettlement, count_e2: int) -> int:
    """Return what a YES contract paid; of a scalar result that says nothing, what costs most."""
    if settlement.result != "scalar":
        return PRICE_ONE_E4 if settlement.result == "yes" else 0
    counts_e2 = settlement.yes_count_e2 + settlement.no_count_e2
    if counts_e2 == 0:
        return 0 if count_e2 > 0 else PRICE_ONE_E4
    paid_e4 = min(PRICE_ONE_E4, settlement.revenue_e6 // counts_e2)
    return paid_e4 if settlement.yes_count_e2 else PRICE_ONE_E4 - paid_e4


class Held:
    """Remember which markets we may hold; mark them at the price at which we could get out.

    A position whose book is not known any more keeps its last mark, one that never had any counts
    as lost.
    """

    def __init__(self, own: OwnOrders) -> None:
        self._own = own
        self._event_of: dict[str, str] = {}
        self._marks_e4: dict[str, tuple[int, int]] = {}

    def fold(self, message: Message) -> None:
        """Fold what `OwnOrders` has folded."""
        if isinstance(message, Fill) or (
            isinstance(message, OrderUpdate) and message.filled_count_e2
        ):
            self._event_of[message.ticker] = message.event_ticker
        elif isinstance(message, ExchangeSettlement):
            self._event_of.pop(message.ticker, None)
            self._marks_e4.pop(message.ticker, None)

    def pnl_e6(self, exits: Exits) -> int:
        """Return the cash of all open positions and what leaving them now would bring."""
        total_e6 = 0
        for ticker, event_ticker in self._event_of.items():
            if (found := exits(event_ticker, ticker)) is not None:
                self._marks_e4[ticker] = found
            bid_e4, ask_e4 = self._marks_e4.get(ticker, (0, PRICE_ONE_E4))
            held = self._own.position(ticker)
            total_e6 += held.cash_e6 + held.count_e2 * (bid_e4 if held.count_e2 > 0 else ask_e4)
        return total_e6
