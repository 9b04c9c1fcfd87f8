"""Compare the books with what the exchange shows, and settle every difference by proof.

An order whose outcome is unknown is resolved by reading. That it is missing from one read proves
nothing (kalshi-api.md §2.3): it counts as never taken only if it never had an order id, shows no
fill, and complete reads that are apart in time and late enough all miss it.
"""

from libs.common.effects import Publish
from libs.common.messages import derived_id
from libs.domain.tickers import series_of_event
from services.broker import reports
from services.broker.desk import Desk
from services.broker.events import (
    ExchangeFill,
    ExchangeOrder,
    FetchSettlements,
    OrdersRead,
    SettlementsRead,
)
from services.broker.orders import Order
from services.broker.policy import to_ns
from services.broker.state import EventState, event_of
from services.broker.transitions import Trigger


class Resolver:
    """Take in reads and fills."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    # Orders

    def frame(self, shown: ExchangeOrder) -> None:
        """Take a frame about one order; one that we do not know is left to the next read."""
        order = self._desk.state.find(shown.client_order_id, shown.order_id)
        if order is None or self._misplaced(order, shown):
            return
        before = self._desk.look(order)
        order.shown_by_frame(shown, self._desk.now_ns)
        self._desk.settle(order, before)
        self._desk.no_news = order.face() == before[1]

    def read(self, event: OrdersRead) -> None:
        """Take a read of orders: what it shows, then what it should show and does not."""
        desk, state = self._desk, self._desk.state
        books = [state.events[event.event_ticker]] if event.event_ticker in state.events else []
        if event.event_ticker:
            for book in books:
                book.lookup_busy = False
                desk.touched[book.event_ticker] = None
        if not event.complete or event.started_ns > desk.now_ns:
            return  # unanswered, or the clock was set back since: who knows when it began
        taken = [self._take(shown, event.started_ns) for shown in event.orders]
        seen = {order.client_order_id for order in taken if order is not None}
        if not event.event_ticker:
            books = list(state.events.values())
        for book in books:
            for order in book.orders():
                if order.client_order_id not in seen:
                    self._missed(order, event)

    def _take(self, shown: ExchangeOrder, started_ns: int) -> Order | None:
        desk, policy = self._desk, self._desk.policy
        order = desk.state.find(shown.client_order_id, shown.order_id)
        if order is None:
            if shown.status != "resting":
                return None
            order = self._adopt(shown)
        elif self._misplaced(order, shown):
            return None
        before = desk.look(order)
        held = order.price_e4, order.count_e2
        order.shown_by_read(
            shown,
            started_ns,
            desk.now_ns,
            stale_ns=to_ns(policy.stale_read_s),
            late_ns=to_ns(policy.absence_age_s),
            ghost_ns=to_ns(policy.ghost_s),
        )
        resting = before[0] in ("resting", "partially_filled") and order.is_open
        if resting and held != (order.price_e4, order.count_e2):
            text = f"{order.client_order_id}: {held} became {shown}"
            desk.differ("order", "order_differs", text)
        desk.settle(order, before)
        return order

    def _misplaced(self, order: Order, shown: ExchangeOrder) -> bool:
        """Tell whether the exchange shows our order as another one; no fact of it counts then."""
        if (order.ticker, order.side) == (shown.ticker, shown.side):
            return False
        text = f"{order.client_order_id} is shown as {shown}"
        self._desk.differ("order", "order_differs", text)
        return True

    def _adopt(self, shown: ExchangeOrder) -> Order:
        """Take an order at rest that nobody here placed into the books, to cancel it."""
        series_ticker, event_ticker = event_of(shown.ticker)
        client_order_id = shown.client_order_id or shown.order_id
        order = Order(
            client_order_id=client_order_id,
            event_ticker=event_ticker,
            series_ticker=series_ticker,
            ticker=shown.ticker,
            side=shown.side,
            price_e4=shown.price_e4,
            count_e2=shown.filled_e2 + shown.remaining_e2,
            expiration_ns=shown.expiration_ns,
            verdict_id="",
            intent_id="",
            correlation_id=derived_id("foreign", shown.order_id),
            state="unknown",
            order_id=shown.order_id,
            foreign=True,
        )
        self._desk.state.add(order)
        text = f"{client_order_id} rests in {shown.ticker}: no intent names it, cancelling"
        self._desk.differ("order", "foreign_order", text)
        return order

    def _missed(self, order: Order, event: OrdersRead) -> None:
        desk, policy = self._desk, self._desk.policy
        whole_list = bool(event.event_ticker)
        if not whole_list and order.state == "unknown":
            return  # the list of resting orders can't tell ended from never taken
        before = desk.look(order)
        counts = order.missed_by_read(event.started_ns, desk.now_ns, to_ns(policy.stale_read_s))
        if counts and order.state == "unknown" and self._is_absent(order, event.started_ns):
            order.apply(Trigger.ABSENT, desk.now_ns, f"absent from {order.missing_reads} reads")
        desk.settle(order, before)

    def _is_absent(self, order: Order, started_ns: int) -> bool:
        policy = self._desk.policy
        if order.order_id or order.filled_e2:
            if order.missing_reads == policy.absence_reads:
                self._desk.alert("order_vanished", f"{order.client_order_id} was there once")
            return False  # it was taken: how it ended has to be shown
        return (
            order.missing_reads >= policy.absence_reads
            and started_ns >= order.missing_since_ns + to_ns(policy.absence_apart_s)
            and started_ns >= order.lost_ns + to_ns(policy.absence_age_s)
        )

    # Fills

    def fill(self, seen: ExchangeFill) -> None:
        """Book a fill once, however often and by which way it comes."""
        state = self._desk.state
        if state.has_fill(seen):
            return
        order = state.find(seen.client_order_id, seen.order_id)
        if order is not None and (order.ticker, order.side) != (seen.ticker, seen.side):
            text = f"{order.client_order_id} is filled as {seen}"
            self._desk.differ("fill", "order_differs", text)
            order = None
        if order is None:
            key = reports.fill_id(seen.trade_id, seen.order_id)
            due_ns = self._desk.now_ns + to_ns(self._desk.policy.orphan_s)
            state.orphans.setdefault(key, (seen, due_ns))
            self.rematch()
            return
        self._book(seen, order)

    def rematch(self) -> None:
        """Try again to find the orders of fills that came before them; in the end book them so.

        A fill is a position, whoever placed the order.
        """
        desk, state = self._desk, self._desk.state
        for seen, due_ns in list(state.orphans.values()):
            order = state.find(seen.client_order_id, seen.order_id)
            if order is not None and (order.ticker, order.side) == (seen.ticker, seen.side):
                self._book(seen, order)
            elif due_ns <= desk.now_ns:
                text = f"{seen.trade_id} of order {seen.order_id}, which is none of ours"
                desk.differ("fill", "foreign_fill", text)
                self._book(seen, None)
        for event_ticker in {event_of(seen.ticker)[1] for seen, _ in state.orphans.values()}:
            event = state.event(event_ticker, event_ticker.split("-")[0])
            due = [
                at
                for seen, at in state.orphans.values()
                if event_of(seen.ticker)[1] == event_ticker
            ]
            desk.timer(event, "orphan", min(due))

    def _book(self, seen: ExchangeFill, order: Order | None) -> None:
        desk, state = self._desk, self._desk.state
        place = event_of(seen.ticker)
        if order is not None:
            place = (order.series_ticker, order.event_ticker)
        message = reports.fill(seen, order, place, desk.clock_ns)
        assert message.id not in state.fills, "a fill is booked once"
        state.orphans.pop(message.id, None)
        state.record_fill(message, order)
        desk.booked[message.series_ticker] = desk.booked.get(message.series_ticker, 0) + 1
        desk.effects.append(Publish(message=message))
        desk.touched[message.event_ticker] = None
        if seen.is_taker:
            desk.alert("taker_fill", f"{seen.trade_id} of order {seen.order_id} took")
        if order is not None:
            before = desk.look(order)
            order.order_id = order.order_id or seen.order_id
            order.saw_filled(order.fills_e2, desk.now_ns, "fill")
            desk.settle(order, before)

    # Payouts

    def payouts(self, event: SettlementsRead) -> None:
        """Publish each payout once."""
        desk = self._desk
        for paid in event.payouts:
            message = reports.payout(paid, series_of_event(paid.event_ticker), desk.clock_ns)
            book = desk.state.event(paid.event_ticker, message.series_ticker)
            if message.id not in desk.state.payouts:
                desk.state.payouts.add(message.id)
                desk.effects.append(Publish(message=message))
            book.paid.add(paid.ticker)
        self.settlement_due(desk.state.events.get(event.event_ticker), asked=True)

    def settlement_due(self, event: EventState | None, *, asked: bool = False) -> None:
        """See to it that payouts are read until every market with a position is paid."""
        desk, policy = self._desk, self._desk.policy
        if event is None or not event.target_ns or not desk.state.unpaid(event):
            return
        first_ns = event.target_ns + to_ns(policy.settle_after_s)
        if desk.now_ns > event.target_ns + to_ns(policy.settle_limit_s):
            if asked:
                desk.alert(
                    "unsettled", f"{event.event_ticker}: {sorted(self._desk.state.unpaid(event))}"
                )
            return
        if asked:
            desk.timer(event, "settle", desk.now_ns + to_ns(policy.settle_every_s))
        elif "settle" not in event.timers:
            desk.timer(event, "settle", max(first_ns, desk.now_ns))

    def fetch_payouts(self, event: EventState) -> None:
        """Ask for the payouts now; keep the timer's place taken until the answer."""
        event.timers["settle"] = 0
        self._desk.effects.append(FetchSettlements(event_ticker=event.event_ticker))
