"""A tiny exchange for tests of the broker's core: it shares no code with it and keeps the truth."""

from dataclasses import dataclass, field

STALE_NS = 360_000_000
WINDOW_NS = 15_000_000_000


@dataclass
class Held:
    """One order as the exchange holds it."""

    order_id: str
    client_order_id: str
    ticker: str
    side: str
    price_e4: int
    total_e2: int
    expiration_ns: int
    filled_e2: int = 0
    group_id: str = ""
    status: str = "resting"
    reason: str = ""

    @property
    def remaining_e2(self):
        return self.total_e2 - self.filled_e2 if self.status == "resting" else 0

    def copy(self):
        return Held(**vars(self))


@dataclass(frozen=True)
class Trade:
    trade_id: str
    order_id: str
    client_order_id: str
    ticker: str
    side: str
    price_e4: int
    count_e2: int
    at_ns: int


@dataclass
class ModelExchange:
    """Orders by id, trades, and every snapshot of the orders, so that a read can be stale."""

    orders: dict = field(default_factory=dict)
    trades: list = field(default_factory=list)
    placed_ids: list = field(default_factory=list)
    """The client order ids of all place requests that arrived, refused ones too."""
    history: list = field(default_factory=list)
    frames: list = field(default_factory=list)
    group_limits: dict = field(default_factory=dict)
    group_frames: list = field(default_factory=list)
    """(group id, change), in order."""
    reset_ns: dict = field(default_factory=dict)
    triggered: set = field(default_factory=set)
    groups_made: int = 0
    now_ns: int = 0
    inactive: set = field(default_factory=set)
    """Tickers of markets that stand still: everything is refused, cancels too."""
    expires: bool = True
    """Off: the exchange's own belt fails and only the broker's cancels are left."""

    def advance(self, now_ns):
        self.now_ns = max(self.now_ns, now_ns)
        for order in list(self.orders.values()):
            if self.expires and order.status == "resting" and order.expiration_ns <= self.now_ns:
                self._end(order, "canceled", "ExpiryCancel")

    def place(self, client_order_id, ticker, side, price_e4, count_e2, expiration_ns, group_id=""):
        """Return (order_id, filled, remaining) or a refusal's code."""
        self.placed_ids.append(client_order_id)
        if any(held.client_order_id == client_order_id for held in self.orders.values()):
            return "order_already_exists"
        if ticker in self.inactive:
            return "MARKET_INACTIVE"
        if expiration_ns <= self.now_ns:
            return "invalid_order"
        if group_id and group_id not in self.group_limits:
            return "not_found"
        if group_id in self.triggered:
            return "order_group_triggered"
        order_id = f"X{len(self.orders) + 1}"
        held = Held(
            order_id, client_order_id, ticker, side, price_e4, count_e2, expiration_ns, 0, group_id
        )
        self.orders[order_id] = held
        self._changed(held)
        return order_id, 0, count_e2

    def amend(self, order_id, price_e4, total_e2):
        """Return (order_id, remaining) or a refusal's code."""
        held = self.orders[order_id]
        if held.ticker in self.inactive:
            return "MARKET_INACTIVE"
        if held.status != "resting":
            return "not_found"
        if total_e2 <= held.filled_e2:
            return "invalid_order_size"
        held.price_e4, held.total_e2 = price_e4, total_e2
        self._changed(held)
        return order_id, held.remaining_e2

    def cancel(self, order_id):
        """Return the count taken off the book or a refusal's code."""
        held = self.orders[order_id]
        if held.ticker in self.inactive:
            return "MARKET_INACTIVE"
        if held.status != "resting":
            return "not_found"
        reduced_e2 = held.remaining_e2
        self._end(held, "canceled", "")
        return reduced_e2

    def cancel_everything(self):
        for held in self.resting():
            if held.ticker not in self.inactive:
                self._end(held, "canceled", "")

    def fill(self, order_id, count_e2):
        held = self.orders[order_id]
        count_e2 = min(count_e2, held.remaining_e2)
        assert count_e2 > 0
        held.filled_e2 += count_e2
        trade = Trade(
            f"T{len(self.trades) + 1}",
            order_id,
            held.client_order_id,
            held.ticker,
            held.side,
            held.price_e4,
            count_e2,
            self.now_ns,
        )
        self.trades.append(trade)
        if held.filled_e2 == held.total_e2:
            self._end(held, "executed", "Trade")
        else:
            self._changed(held)
        self._brake(held.group_id)
        return trade

    # Order groups

    def create_group(self, limit_e2):
        self.groups_made += 1
        group_id = f"G{self.groups_made}"
        self.group_limits[group_id] = limit_e2
        self.group_frames.append((group_id, "created"))
        return group_id

    def reset_group(self, group_id):
        """Return None or a refusal's code, as `delete_group` does."""
        if group_id not in self.group_limits:
            return "not_found"
        self.triggered.discard(group_id)
        self.reset_ns[group_id] = self.now_ns
        self.group_frames.append((group_id, "reset"))
        return None

    def delete_group(self, group_id):
        if group_id not in self.group_limits:
            return "not_found"
        self._end_group(group_id)
        del self.group_limits[group_id]
        self.group_frames.append((group_id, "deleted"))
        return None

    def trigger_group(self, group_id):
        self.triggered.add(group_id)
        self._end_group(group_id)
        self.group_frames.append((group_id, "triggered"))

    def _brake(self, group_id):
        """Stop a group of which its limit was filled in the last 15 s."""
        since_ns = max(self.now_ns - WINDOW_NS, self.reset_ns.get(group_id, 0))
        matched_e2 = sum(
            trade.count_e2
            for trade in self.trades
            if trade.at_ns > since_ns and self.orders[trade.order_id].group_id == group_id
        )
        if matched_e2 >= self.group_limits.get(group_id, matched_e2 + 1):
            self.trigger_group(group_id)

    def _end_group(self, group_id):
        for held in self.resting():
            if held.group_id == group_id:
                self._end(held, "canceled", "")

    def resting(self):
        return [held for held in self.orders.values() if held.status == "resting"]

    def snapshot(self, as_of_ns):
        """Return the orders as they were at a time, which must not be older than a stale read."""
        assert as_of_ns >= self.now_ns - STALE_NS
        shown = {}
        for at_ns, held in self.history:
            if at_ns <= as_of_ns:
                shown[held.order_id] = held
        return list(shown.values())

    def _end(self, held, status, reason):
        held.status, held.reason = status, reason
        self._changed(held)

    def _changed(self, held):
        copy = held.copy()
        self.history.append((self.now_ns, copy))
        self.frames.append(copy)
