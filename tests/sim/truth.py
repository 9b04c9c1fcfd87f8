"""The truth and its guards: what the exchange did, and what must hold at every single instant.

Nothing here shares code with the broker; what it believes is compared with this, never used.
"""

from collections import Counter, defaultdict

from lab.exchange.model import Filled, OrderChanged, Reason, Settled
from tests.sim.actors import TICKERS
from tests.sim.venue import OURS


class Violation(AssertionError):
    """An invariant of reliability.md does not hold; the text begins with its number."""


class Truth:
    """Our account at the exchange, from the engine's own events."""

    def __init__(self, world):
        self.world = world
        self.orders = {}
        self.fills = []
        self.payouts = []
        self.positions = defaultdict(int)
        self.cash_e6 = defaultdict(int)

    def take(self, event):
        if isinstance(event, OrderChanged) and event.order.account == OURS:
            self._order(event)
        elif isinstance(event, Filled) and event.account == OURS:
            self.fills.append(event)
            signed_e2 = event.count_e2 * (1 if event.side == "bid" else -1)
            self.positions[event.ticker] += signed_e2
            self.cash_e6[event.ticker] -= signed_e2 * event.price_e4 + event.fee_e6
            self._check_exposure(event.ticker)
        elif isinstance(event, Settled) and event.account == OURS:
            self.payouts.append(event)

    def _order(self, event):
        order = event.order
        if event.reason is Reason.NEW:
            same = [
                one for one in self.orders.values() if one.client_order_id == order.client_order_id
            ]
            if same:
                raise Violation(f"I1 {order.client_order_id} was accepted twice")
        self.orders[order.order_id] = order
        beside = [
            one
            for one in self.resting()
            if (one.ticker, one.side) == (order.ticker, order.side) and one is not order
        ]
        if order.status == "resting" and beside:
            raise Violation(
                f"I5 two orders rest for one quote: {order.order_id} beside {beside[0]}"
            )
        self._check_exposure(order.ticker)

    def resting(self):
        return [one for one in self.orders.values() if one.status == "resting"]

    def _check_exposure(self, ticker):
        """I5: what is held and what may still fill of what rests stays within risk's limit."""
        most_e2 = self.world.sizing.pilot.position_max_e2
        rest = {"bid": 0, "ask": 0}
        for order in self.resting():
            if order.ticker == ticker:
                rest[order.side] += order.remaining_e2
        held_e2 = self.positions[ticker]
        if max(held_e2 + rest["bid"], -held_e2 + rest["ask"]) > most_e2:
            raise Violation(f"I5 {ticker}: {held_e2} held, {rest} at rest, limit {most_e2}")

        self._check_loss()

    def _check_loss(self):
        """I5: in no outcome does what is held, with what rests filled at its worst, lose too much.

        An outcome is a value above so many of the thresholds.
        """
        most_e6 = self.world.sizing.portfolio.loss_day_max_e6
        for above in range(len(TICKERS) + 1):
            pays_e4 = {ticker: 10_000 * (place < above) for place, ticker in enumerate(TICKERS)}
            loss_e6 = -sum(
                self.cash_e6[ticker] + self.positions[ticker] * pays_e4[ticker]
                for ticker in TICKERS
            )
            for order in self.resting():
                gain_e4 = pays_e4[order.ticker] - order.price_e4
                gain_e4 = gain_e4 if order.side == "bid" else -gain_e4
                loss_e6 += max(0, -gain_e4) * order.remaining_e2
            if loss_e6 > most_e6:
                raise Violation(f"I5 above {above} of the strikes {loss_e6} is lost, {most_e6} may")

    def totals(self):
        """Return (trade, count, fee) of every fill, counted."""
        return Counter((one.trade_id, one.order_id, one.count_e2, one.fee_e6) for one in self.fills)
