"""The ledger behind one worker thread: the event loop never waits for the database's work."""

import asyncio
import functools
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from services.reporting.ledger import Answer, Ledger, LedgerRow, StreamPlace

T = TypeVar("T")


class LedgerThread:
    """One statement at a time, in the order asked, each awaited; raises what `Ledger` raises."""

    def __init__(self, open_ledger: Callable[[], Ledger]) -> None:
        self._open_ledger = open_ledger
        self._ledger: Ledger | None = None
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="ledger")

    async def open(self) -> None:
        """Open the ledger; raise `LedgerError`."""
        assert self._ledger is None, "the ledger is opened once"
        self._ledger = await self._run(self._open_ledger)

    async def insert(self, rows: Sequence[LedgerRow]) -> None:
        """Return when the rows are durable."""
        await self._run(functools.partial(self._opened.insert, rows))

    async def places(self) -> dict[str, StreamPlace]:
        """Return the place in each stream that has rows."""
        return await self._run(self._opened.places)

    async def query(self, sql: str) -> Answer:
        """Return the answer to one SELECT."""
        return await self._run(functools.partial(self._opened.query, sql))

    async def call(self, work: Callable[[Ledger], T]) -> T:
        """Return what `work` makes of the ledger, with no other statement in between."""
        return await self._run(functools.partial(work, self._opened))

    async def close(self) -> None:
        """Finish what was asked, then let go of the ledger."""
        ledger, self._ledger = self._ledger, None
        if ledger is not None:
            await self._run(ledger.close)
        self._pool.shutdown(wait=True)

    @property
    def _opened(self) -> Ledger:
        assert self._ledger is not None, "the ledger is not open"
        return self._ledger

    async def _run(self, work: Callable[[], T]) -> T:
        # Shielded: a cancelled caller must not leave a statement behind whose end nobody awaits.
        task = asyncio.get_running_loop().run_in_executor(self._pool, work)
        return await asyncio.shield(task)
