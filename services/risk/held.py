"""What our open positions would bring if we left them now, at the prices of the books. Pure.

A position whose book is not known any more keeps its last mark, one that never had any counts as
lost.
"""

from collections.abc import Callable

from libs.common.messages import ExchangeSettlement, Fill, Message, OrderUpdate
from libs.common.own_orders import OwnOrders
from libs.domain.money import PRICE_ONE_E4

Exits = Callable[[str, str], tuple[int, int] | None]
"""The best bid and ask of a market, by event and ticker; None when its book is not known."""


class Held:
    """Remember which markets we may hold; mark them."""

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
