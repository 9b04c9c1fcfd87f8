"""What the broker knows: orders, fills, positions, verdicts. Rebuilt from ORDERS and FILLS."""

from collections import defaultdict
from dataclasses import dataclass, field
from functools import lru_cache

from libs.common.messages import (
    ExchangeSettlement,
    Fill,
    Message,
    OrderIntent,
    OrderUpdate,
    Verdict,
)
from libs.domain.tickers import TickerError, parse_event_ticker, parse_market_ticker
from services.broker.events import ExchangeFill
from services.broker.orders import Key, Order
from services.broker.policy import Policy, to_ns
from services.broker.reports import fill_id


@dataclass(slots=True)
class EventState:
    """One event: its newest verdict and what is under way for it."""

    event_ticker: str
    series_ticker: str
    target_ns: int
    verdict: Verdict | None = None
    verdict_at: tuple[int, int] = (0, 0)
    """(ts_pub_ns, stream sequence) of the newest verdict: what is older is ignored."""
    verdict_given_ns: int = 0
    """When it was given, by whichever is earlier of risk's clock and ours as it came."""
    open: dict[str, Order] = field(default_factory=dict)
    filled_tickers: set[str] = field(default_factory=set)
    paid: set[str] = field(default_factory=set)
    group_id: str = ""
    """The order group of its orders, "" while it has none."""
    group_since_ns: int = 0
    """When we heard that it is there or was reset: a read begun before may not show that."""
    group_auto_cancel: bool | None = None
    """What the first read showed of the group since it took orders, None before."""
    group_busy: bool = False
    group_retry_ns: int = 0
    group_triggered_ns: int = 0
    """When the exchange stopped the group, 0 while it takes orders."""
    stopped_ns: int = 0
    """When something first forbade what is open, 0 while nothing does."""
    stopped_by: str = ""
    lookup_busy: bool = False
    lookup_due_ns: int = 0
    lookup_wait_ns: int = 0
    settling: bool = False
    timers: dict[str, int] = field(default_factory=dict)

    def orders(self) -> list[Order]:
        """Return the open orders."""
        return list(self.open.values())

    def is_over(self, now_ns: int) -> bool:
        """Tell whether its target has passed: its markets may be settled, unseen by us."""
        return 0 < self.target_ns <= now_ns

    def unknown(self) -> list[Order]:
        """Return the orders whose outcome nobody knows."""
        return [order for order in self.open.values() if order.state == "unknown"]


class State:
    """The books, and the indexes into them."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.orders: dict[str, Order] = {}
        self.by_order_id: dict[str, str] = {}
        self.events: dict[str, EventState] = {}
        self.open: dict[str, Order] = {}
        """All orders that rest or may come to rest."""
        self.short: dict[str, Order] = {}
        """Orders of which the exchange told more fills than are booked."""
        self.fills: set[str] = set()
        self.positions: defaultdict[str, int] = defaultdict(int)
        self.used: defaultdict[Key, list[tuple[int, int]]] = defaultdict(list)
        """When how much was filled per quote, as far back as a verdict may look."""
        self.blocked_ns: dict[Key, int] = {}
        """When the exchange last ended or refused a quote that we had not asked it to end."""
        self.retry_ns: dict[Key, int] = {}
        self.generations: defaultdict[tuple[str, Key], int] = defaultdict(int)
        self.group_fills: defaultdict[str, list[tuple[int, int]]] = defaultdict(list)
        """When, by the exchange's time, how much was filled of each order group."""
        self.payouts: set[str] = set()
        self.orphans: dict[str, tuple[ExchangeFill, int]] = {}
        self.foreign_fills: defaultdict[str, int] = defaultdict(int)
        """Fills published before their order was known, by order id."""
        self.folded: dict[str, int] = {}

    # Orders

    def event(self, event_ticker: str, series_ticker: str, target_ns: int = 0) -> EventState:
        """Return the event's state; without a target the ticker names it, or 0."""
        known = self.events.get(event_ticker)
        if known is None:
            known = EventState(event_ticker, series_ticker, target_ns or target_of(event_ticker))
            self.events[event_ticker] = known
        return known

    def add(self, order: Order) -> EventState:
        """Take a new order into the books."""
        assert order.client_order_id not in self.orders, "a client order id is used once"
        self.orders[order.client_order_id] = order
        event = self.event(order.event_ticker, order.series_ticker)
        if not event.target_ns and order.expiration_ns and not order.foreign:
            event.target_ns = order.expiration_ns + to_ns(self.policy.index_ops.cancel_buffer_s)
        self.index(order)
        if order.verdict_id:
            self.generations[order.verdict_id, order.key] += 1
        return event

    def index(self, order: Order) -> None:
        """Bring the indexes up to an order's present id and state."""
        event = self.events[order.event_ticker]
        if order.order_id:
            self.by_order_id[order.order_id] = order.client_order_id
            order.fills_e2 += self.foreign_fills.pop(order.order_id, 0)
        self.note_short(order)
        for table in (event.open, self.open):
            if order.is_open:
                table[order.client_order_id] = order
            else:
                table.pop(order.client_order_id, None)

    def note_short(self, order: Order) -> None:
        """Keep the list of orders that lack fills."""
        if order.fills_e2 < order.filled_e2:
            self.short[order.client_order_id] = order
        else:
            self.short.pop(order.client_order_id, None)

    def find(self, client_order_id: str, order_id: str) -> Order | None:
        """Return the order of either id, the client's first."""
        known = self.orders.get(client_order_id) if client_order_id else None
        return known or self.orders.get(self.by_order_id.get(order_id, ""))

    def open_orders(self) -> list[Order]:
        """Return all orders that rest or may come to rest."""
        return list(self.open.values())

    # A clock that was set back

    def begin_waits_anew(self, now_ns: int) -> None:
        """Take what seems to lie ahead for something of just now, and every timer for unset.

        After a clock was set back, all that was dated by it would else wait as long again.
        """
        for order in self.orders.values():
            order.begin_waits_anew(now_ns)
        for table in (self.blocked_ns, self.retry_ns):
            for key, at_ns in table.items():
                table[key] = min(at_ns, now_ns)
        for key, entries in self.used.items():
            self.used[key] = [(min(at_ns, now_ns), count_e2) for at_ns, count_e2 in entries]
        orphan_ns = now_ns + to_ns(self.policy.orphan_s)
        for name, (fill, due_ns) in self.orphans.items():
            self.orphans[name] = fill, min(due_ns, orphan_ns)
        for event in self.events.values():
            event.timers.clear()
            event.group_retry_ns = min(event.group_retry_ns, now_ns)
            event.group_triggered_ns = min(event.group_triggered_ns, now_ns)

    # What was used of a verdict

    def note_used(self, key: Key, count_e2: int, at_ns: int) -> None:
        """Remember that so much of a quote was filled."""
        if count_e2 > 0:
            self.used[key].append((at_ns, count_e2))

    def used_since(self, verdict: Verdict, given_ns: int) -> dict[Key, int]:
        """Return what was filled per quote that risk had not seen when it gave the verdict."""
        since_ns = given_ns - to_ns(self.policy.fill_visibility_s)
        used: dict[Key, int] = {}
        for quote in verdict.quotes:
            key: Key = (quote.ticker, quote.side)
            used_e2 = 0
            if entries := self.used.get(key):
                # Verdicts only get newer: what this one ignores is over.
                recent = self.used[key] = [entry for entry in entries if entry[0] >= since_ns]
                used_e2 = sum(count_e2 for _, count_e2 in recent)
            if quote.position_e2 is not None:  # risk may have been cut off from our fills
                moved_e2 = self.held_e2(quote.ticker) - quote.position_e2
                used_e2 = max(used_e2, moved_e2 if quote.side == "bid" else -moved_e2)
            if used_e2:
                used[key] = used_e2
        return used

    def held_e2(self, ticker: str) -> int:
        """Return what we hold of a market, fills told of and not yet booked included."""
        held_e2 = self.positions.get(ticker, 0)
        for order in self.short.values():
            if order.ticker == ticker:
                unbooked_e2 = order.filled_e2 - order.fills_e2
                held_e2 += unbooked_e2 if order.side == "bid" else -unbooked_e2
        return held_e2

    # Fills

    def record_fill(self, message: Fill, order: Order | None) -> None:
        """Book a fill that is, or is about to be, in FILLS."""
        self.fills.add(message.id)
        sign = 1 if message.side == "bid" else -1
        self.positions[message.ticker] += sign * message.count_e2
        event = self.event(message.event_ticker, message.series_ticker)
        event.filled_tickers.add(message.ticker)
        if order is not None:
            order.fills_e2 += message.count_e2
            self.group_fills[order.order_group_id].append((message.exchange_ns, message.count_e2))
            self.note_short(order)
        else:
            self.foreign_fills[message.order_id] += message.count_e2
            self.note_used((message.ticker, message.side), message.count_e2, message.ts_pub_ns)

    def unpaid(self, event: EventState) -> set[str]:
        """Return the event's markets with a position that the exchange has not paid for."""
        held = {ticker for ticker in event.filled_tickers if self.positions[ticker]}
        return held - event.paid

    # The log

    def fold(self, message: Message, stream: str, sequence: int) -> None:
        """Take in a stored message of an earlier life; one already folded is passed over."""
        if sequence <= self.folded.get(stream, 0):
            return
        self.folded[stream] = sequence
        if isinstance(message, OrderIntent):
            self._fold_intent(message)
        elif isinstance(message, OrderUpdate):
            self._fold_update(message)
        elif isinstance(message, Fill):
            self._fold_fill(message)
        elif isinstance(message, ExchangeSettlement):
            self.payouts.add(message.id)
            self.event(message.event_ticker, message.series_ticker).paid.add(message.ticker)

    def _fold_intent(self, intent: OrderIntent) -> None:
        known = self.orders.get(intent.client_order_id)
        if intent.action == "place":
            if known is None:
                event = self.add(Order.from_intent(intent))
                event.group_id = intent.order_group_id or event.group_id
        elif known is not None:
            known.folded_intent(intent)

    def _fold_update(self, update: OrderUpdate) -> None:
        order = self.orders.get(update.client_order_id)
        if order is None:  # found at the exchange without an intent, in an earlier life
            order = foreign_order(update)
            self.add(order)
        filled_e2 = order.filled_e2
        order.folded(update)
        self.note_used(order.key, order.filled_e2 - filled_e2, update.ts_pub_ns)
        self.index(order)
        unasked = not order.is_open and order.state != "filled" and not order.cancel_asked
        if unasked and update.trigger != "withhold":
            self.blocked_ns[order.key] = update.ts_pub_ns

    def _fold_fill(self, message: Fill) -> None:
        if message.id in self.fills:
            return
        order = self.find(message.client_order_id, message.order_id)
        self.record_fill(message, order)
        if order is not None and order.fills_e2 > order.filled_e2:
            added_e2 = order.fills_e2 - order.filled_e2
            order.filled_e2 = order.fills_e2
            self.note_used(order.key, added_e2, message.ts_pub_ns)

    def has_fill(self, seen: ExchangeFill) -> bool:
        """Tell whether a fill is booked already."""
        return fill_id(seen.trade_id, seen.order_id) in self.fills


def foreign_order(update: OrderUpdate) -> Order:
    """Return the order of an update that no intent precedes."""
    return Order(
        client_order_id=update.client_order_id,
        event_ticker=update.event_ticker,
        series_ticker=update.series_ticker,
        ticker=update.ticker,
        side=update.side,
        price_e4=update.price_e4,
        count_e2=update.count_e2,
        expiration_ns=0,
        verdict_id="",
        intent_id="",
        correlation_id=update.correlation_id,
        foreign=True,
    )


def event_of(ticker: str) -> tuple[str, str]:
    """Return (series, event) of a market ticker, as well as its form allows."""
    try:
        event = parse_market_ticker(ticker).event
    except TickerError:
        parts = ticker.split("-")
        return parts[0], "-".join(parts[:2])
    return event.series_ticker, event.text


@lru_cache(maxsize=4_096)
def target_of(event_ticker: str) -> int:
    """Return the target time that an event's ticker names, 0 if it names none."""
    try:
        return parse_event_ticker(event_ticker).target_ns
    except TickerError:
        return 0
