"""Orders as they were before their cancel: what a read that lags behind still shows."""

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from msgspec import Struct

from lab.exchange.model import Event, Order, OrderChanged, Reason
from lab.exchange.state import State

CANCELS_KEPT = 10_000


class _Cancel(Struct, frozen=True):
    order: Order
    remaining_e2: int
    updated_ns: int
    at_ns: int


class PastOrders:
    """Remember the newest cancels, and put them back for the length of one read."""

    def __init__(self) -> None:
        self._cancels: deque[_Cancel] = deque(maxlen=CANCELS_KEPT)

    def take(self, event: Event) -> None:
        """Remember a cancel."""
        if isinstance(event, OrderChanged) and event.reason is Reason.CANCEL:
            order = event.order
            self._cancels.append(_Cancel(order, event.reduced_e2, order.created_ns, event.at_ns))

    def newest_age_ns(self, account: str, order_id: str | None, now_ns: int) -> int | None:
        """Return how long ago the account last cancelled, one order or any."""
        for cancel in reversed(self._cancels):
            if cancel.order.account == account and order_id in (None, cancel.order.order_id):
                return now_ns - cancel.at_ns
        return None

    @contextmanager
    def restored(self, state: State, account: str, since_ns: int) -> Iterator[None]:
        """Let the account's orders cancelled after `since_ns` rest while the block reads."""
        back = [
            cancel
            for cancel in self._cancels
            if cancel.order.account == account and cancel.at_ns > since_ns
        ]
        resting = state.accounts[account].resting
        before = [(cancel.order.status, cancel.order.updated_ns) for cancel in back]
        for cancel in back:
            order = cancel.order
            order.status, order.remaining_e2 = "resting", cancel.remaining_e2
            order.updated_ns = cancel.updated_ns
            resting.setdefault(order.ticker, {})[order.order_id] = order
        try:
            yield
        finally:
            for cancel, (status, updated_ns) in zip(back, before, strict=True):
                order = cancel.order
                order.status, order.remaining_e2, order.updated_ns = status, 0, updated_ns
                of_market = resting[order.ticker]
                del of_market[order.order_id]
                if not of_market:
                    del resting[order.ticker]
