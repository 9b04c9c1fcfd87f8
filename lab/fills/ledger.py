"""Read a run's ledger, message by message in the order of publication."""

from collections import deque
from collections.abc import Iterator
from heapq import merge
from pathlib import Path

import polars as pl
from msgspec import structs

from lab.fills.observe import Observations, Observer, OrderRow
from libs.common import messages as m
from libs.common.messages import BadMessage, Message, decode
from services.reporting.ledger import Ledger, LedgerError

PAGE_ROWS = 2_000
STAYS = "resting.parquet"
"""Where a backtest says how its exchange queued our orders (docs/lab.md)."""
STREAMS: dict[str, tuple[type[Message], ...]] = {
    "LADDERS": (m.LadderDefined, m.LadderSnapshot, m.FairLadder),
    "ORDERS": (m.OrderIntent, m.OrderUpdate),
    "FILLS": (m.Fill,),
}


class LedgerUnreadable(ValueError):
    """A ledger that can't be read; one line."""


def observe(path: Path) -> Observations:
    """Return what became of the orders of a run; `path` is its directory, or its ledger's.

    Raises LedgerUnreadable: nothing there, in use by a run that is up, or no ledger.
    """
    directory = path / "ledger" if (path / "ledger").is_dir() else path
    if not (directory / "data").is_dir():
        raise LedgerUnreadable(f"{path}: expected a run's directory or its ledger, found none")
    observer = Observer()
    try:
        ledger = Ledger(str(directory))
        try:
            for message, stream, sequence in merge(
                *(_stored(ledger, stream) for stream in STREAMS),
                key=lambda row: (row[0].ts_pub_ns, row[1], row[2]),
            ):
                observer.fold(message, stream, sequence)
        finally:
            ledger.close()
    except (LedgerError, BadMessage) as error:
        raise LedgerUnreadable(f"{path}: {error}") from None
    found = observer.finish()
    stays = directory.parent / STAYS
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


def _stored(ledger: Ledger, stream: str) -> Iterator[tuple[Message, str, int]]:
    """Yield a stream's messages of our kinds, page by page."""
    tags = ", ".join(f"'{m.tag_of(kind)}'" for kind in STREAMS[stream])
    after = 0
    while True:
        page = ledger.query(
            f"SELECT seq, payload FROM messages FINAL WHERE stream = '{stream}' "  # noqa: S608
            f"AND type IN ({tags}) AND seq > {after} ORDER BY seq LIMIT {PAGE_ROWS}"
        )
        for sequence, payload in page.rows:
            after = int(sequence)
            yield decode(str(payload).encode()), stream, after
        if len(page.rows) < PAGE_ROWS:
            return
