"""Carry every message of every stream into the ledger, in order, exactly once in effect.

The place in each stream is the ledger's own: `max(seq)` of what is durable. A crash between an
insert and the next read repeats nothing; an insert whose answer was lost is read again and the
key (stream, seq) makes it one row. At most one batch is held in memory.
"""

import asyncio

from msgspec import Struct

from libs.common.bus import BusError, Stored
from libs.common.effects import Received
from libs.common.inbox import Inbox
from libs.common.messages import LedgerStatus, Message, tag_of
from libs.common.runner import Context
from libs.common.topology import STREAMS, Service
from services.reporting.events import Inserted
from services.reporting.ledger import LedgerMismatch, LedgerRow, LedgerUnavailable
from services.reporting.ledger_thread import LedgerThread
from services.reporting.schema import BAD

RETRY_FIRST_S = 0.2
RETRY_MAX_S = 5.0
READ_MAX = 1_000


class SinkLimits(Struct, frozen=True, kw_only=True):
    """How much one insert holds, and how often the streams are read when they are quiet."""

    rows_max: int
    bytes_max: int
    poll_s: float


class Taken(Struct, frozen=True):
    """One stored message as it goes on: its row and, when it is good, the message."""

    row: LedgerRow
    message: Message | None


class Sink:
    """Read, insert, then tell the core; `pass_once` is the whole of it."""

    def __init__(self, context: Context, ledger: LedgerThread, limits: SinkLimits) -> None:
        self._context = context
        self._ledger = ledger
        self._limits = limits
        self._inboxes = {
            stream.name: Inbox(context.metrics, context.log, context.clock) for stream in STREAMS
        }
        self._one_at_a_time = asyncio.Lock()
        self.watermarks: dict[str, int] = {}
        self.missing: dict[str, int] = {}
        self.rows = 0
        self.unavailable_since_ns: int | None = None

    async def start(self) -> None:
        """Take our places from the ledger; raise `LedgerError` when it is of another run."""
        places = await self._ledger.places()
        self.watermarks = {stream.name: 0 for stream in STREAMS}
        self.missing = dict.fromkeys(self.watermarks, 0)
        for name, place in places.items():
            self.watermarks[name] = place.watermark
            self.missing[name] = place.missing
            self.rows += place.rows
        for name in self.watermarks:
            await self._check_same_run(name)

    async def run(self) -> None:
        """Carry messages until cancelled; a database that is away is waited for."""
        retry_s = RETRY_FIRST_S
        while True:
            try:
                caught_up = await self.pass_once()
            except (LedgerUnavailable, BusError, TimeoutError) as error:
                if self.unavailable_since_ns is None:
                    self.unavailable_since_ns = self._context.now_ns()
                self._context.log.warning("ledger waits", error=str(error), retry_s=retry_s)
                await asyncio.sleep(retry_s)
                retry_s = min(2 * retry_s, RETRY_MAX_S)
                continue
            self.unavailable_since_ns = None
            retry_s = RETRY_FIRST_S
            if caught_up:
                # Real time, not the run's: a fast clock must not make many small inserts.
                await asyncio.sleep(self._limits.poll_s)

    async def pass_once(self) -> bool:
        """Move one batch of all streams into the ledger; return whether that was all there is.

        Raises `LedgerError` or `BusError` with nothing moved.
        """
        async with self._one_at_a_time:
            taken, caught_up = await self._read_batch()
            if taken:
                await self._ledger.insert([each.row for each in taken])
                self._advance(taken)
            return caught_up

    async def catch_up(self) -> None:
        """Return when all that was stored at the time of the call is durable and folded."""
        while not await self.pass_once():
            await asyncio.sleep(0)

    async def _read_batch(self) -> tuple[list[Taken], bool]:
        taken: list[Taken] = []
        rows_left, bytes_left = self._limits.rows_max, self._limits.bytes_max
        caught_up = True
        for stream in reversed(STREAMS):  # fills and orders before the bulk of the data
            after = self.watermarks[stream.name]
            while rows_left > 0 and bytes_left > 0:
                limit = min(rows_left, READ_MAX)
                batch = await self._context.bus.read(stream.name, after, limit)
                for stored in batch:
                    assert stored.sequence > after, "a stream is read in order"
                    after = stored.sequence
                    taken.append(self._take(stream.name, stored))
                    bytes_left -= len(stored.data)
                rows_left -= len(batch)
                if len(batch) < limit:
                    break
            else:
                caught_up = False
        return taken, caught_up

    def _take(self, stream: str, stored: Stored) -> Taken:
        message, letter = self._inboxes[stream].open(stored, Service.REPORTING)
        if letter is not None:
            self._context.publish(letter)
        payload = stored.data.decode("utf-8", "backslashreplace")
        if message is None:
            row = LedgerRow(stream, stored.sequence, stored.subject, BAD, "", 0, 0, "", payload)
            return Taken(row, None)
        row = LedgerRow(
            stream,
            stored.sequence,
            stored.subject,
            tag_of(type(message)),
            message.id,
            message.ts_event_ns,
            message.ts_pub_ns,
            message.source,
            payload,
        )
        return Taken(row, message)

    def _advance(self, taken: list[Taken]) -> None:
        """Move the watermarks over what is durable now, then let the core fold it."""
        context = self._context
        for each in taken:
            stream, seq = each.row.stream, each.row.seq
            if gap := seq - self.watermarks[stream] - 1:
                self.missing[stream] += gap
                context.log.warning("ledger gap", stream=stream, after=seq - gap - 1, missing=gap)
            self.watermarks[stream] = seq
            context.metrics.ledger_rows_total.labels(stream).inc()
        self.rows += len(taken)
        now_ns = context.now_ns()
        for each in taken:
            if each.message is not None:
                context.dispatch(
                    Received(
                        now_ns=now_ns,
                        message=each.message,
                        stream=each.row.stream,
                        sequence=each.row.seq,
                    )
                )
        news = sum(not isinstance(each.message, LedgerStatus) for each in taken)
        watermarks = dict(self.watermarks)
        context.dispatch(Inserted(now_ns=now_ns, watermarks=watermarks, rows=self.rows, news=news))

    async def _check_same_run(self, stream: str) -> None:
        # The streams' last message that we hold must still be the one that we hold.
        mark = self.watermarks[stream]
        if not mark:
            return
        kept = await self._ledger.query(_payload_at(stream, mark))
        found = await self._context.bus.read(stream, mark - 1, 1)
        same = _same_message(mark, str(kept.rows[0][0]), found)
        if not same:
            what = f"sequence {found[0].sequence}" if found else "no such message"
            raise LedgerMismatch(
                f"ledger: expected {stream} to hold the ledger's message {mark}, found {what} "
                "in the stream; the ledger is of another run: give this run a new directory"
            )


def _payload_at(stream: str, seq: int) -> str:
    return f"SELECT payload FROM messages WHERE stream = '{stream}' AND seq = {seq} LIMIT 1"  # noqa: S608


def _same_message(mark: int, kept: str, found: list[Stored]) -> bool:
    if not found:
        return False  # the stream ends before our watermark, or is empty
    if found[0].sequence > mark:
        return True  # purged below: the rest of the stream goes on from here
    return found[0].data.decode("utf-8", "backslashreplace") == kept
