"""What became of the orders of a run, from its ledger and, for a backtest, its exchange's queue."""

from collections import deque
from pathlib import Path

import polars as pl
from msgspec import structs

from lab.fills.observe import Observations, Observer, OrderRow
from lab.runs import LedgerUnreadable, ledger_directory, recorded
from libs.common import messages as m
from libs.common.messages import Message

STAYS = "resting.parquet"
"""Where a backtest says how its exchange queued our orders (docs/lab.md)."""
WANTED: dict[str, tuple[type[Message], ...]] = {
    "LADDERS": (m.LadderDefined, m.LadderSnapshot, m.FairLadder),
    "ORDERS": (m.OrderIntent, m.OrderUpdate),
    "FILLS": (m.Fill,),
}


def observe(path: Path) -> Observations:
    """Return what became of the orders of a run; raises LedgerUnreadable."""
    observer = Observer()
    for message, stream, sequence in recorded(path, WANTED):
        observer.fold(message, stream, sequence)
    found = observer.finish()
    stays = ledger_directory(path).parent / STAYS
    return structs.replace(found, orders=_queued(found.orders, stays)) if stays.exists() else found


def _queued(orders: list[OrderRow], path: Path) -> list[OrderRow]:
    """Return the orders with what stood before each in the exchange's own queue."""
    try:
        stays = pl.read_parquet(path, columns=["client_order_id", "price_e4", "ahead_e2"])
    except (OSError, pl.exceptions.PolarsError) as error:
        raise LedgerUnreadable(f"{path}: expected our stays in the queue: {error}") from None
    queues: dict[tuple[str, int], deque[int]] = {}
    for client, price_e4, ahead_e2 in stays.iter_rows():
        queues.setdefault((client, price_e4), deque()).append(ahead_e2)
    found = []
    for order in orders:
        queue = queues.get((order.client_order_id, order.price_e4))
        ahead_e2 = queue.popleft() if queue else None
        found.append(structs.replace(order, queue_e2=ahead_e2))
    return found
