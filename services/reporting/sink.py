"""Carry every message of every stream into the ledger, in order, exactly once in effect.

The place in each stream is the ledger's own: `max(seq)` of what is durable. A crash between an
insert and the next read repeats nothing; an insert whose answer was lost is read again and the
key (stream, seq) makes it one row. At most one batch is held in memory.

Each read begins at the last message that we hold, which must still be there: a server that
crashed may have lost the end of a market-data stream (it is not fsynced) and then gives its
sequences to other messages. There we go back and let the ledger follow the stream. In a stream
that is fsynced it means that the ledger is of another run, and we stop.
"""

import asyncio

from msgspec import Struct

from libs.common.bus import BusError, Stored
from libs.common.effects import Received
from libs.common.inbox import Inbox
from libs.common.messages import LedgerStatus, Message, tag_of
from libs.common.runner import Context
from libs.common.topology import STREAMS, Service, Stream
from services.reporting.events import Inserted, Rewound
from services.reporting.ledger import LedgerMismatch, LedgerRow, LedgerUnavailable
from services.reporting.ledger_thread import LedgerThread
from services.reporting.schema import BAD

RETRY_FIRST_S = 0.2
RETRY_MAX_S = 5.0
READ_MAX = 1_000
CATCH_UP_ROUNDS = 5
_ESCAPE = "backslashreplace"


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
        self._last: dict[str, str] = {}
        self._publishing: list[asyncio.Future[int]] = []
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
            self._last[name] = await self._kept(name, place.watermark)
        for stream in reversed(STREAMS):
            await self._read(stream, 1)

    async def run(self) -> None:
        """Carry messages until cancelled; a database that is away is waited for."""
        retry_s = RETRY_FIRST_S
        while True:
            try:
                caught_up = await self.pass_once()
            except (LedgerUnavailable, BusError, TimeoutError) as error:
                if self.unavailable_since_ns is None:
                    self.unavailable_since_ns = self._context.now_ns()
                self._context.metrics.ledger_available.set(0)
                self._context.log.warning("ledger waits", error=str(error), retry_s=retry_s)
                await asyncio.sleep(retry_s)
                retry_s = min(2 * retry_s, RETRY_MAX_S)
                continue
            self.unavailable_since_ns = None
            self._context.metrics.ledger_available.set(1)
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
        """Return when what was stored at the time of the call is durable and folded.

        What the core published about it (settlements) is in too, so books read after it are
        of one piece.
        """
        for _ in range(CATCH_UP_ROUNDS):
            while not await self.pass_once():
                await asyncio.sleep(0)
            publishing, self._publishing = self._publishing, []
            if not publishing:
                return
            await asyncio.gather(*publishing)

    async def _read_batch(self) -> tuple[list[Taken], bool]:
        taken: list[Taken] = []
        rows_left, bytes_left = self._limits.rows_max, self._limits.bytes_max
        caught_up = True
        for stream in reversed(STREAMS):  # fills and orders before the bulk of data
            room = min(rows_left, READ_MAX)
            batch = await self._read(stream, room) if rows_left > 0 and bytes_left > 0 else None
            if batch is None or len(batch) == room:
                caught_up = False
            for stored in batch or ():
                taken.append(self._take(stream.name, stored))
                rows_left -= 1
                bytes_left -= len(stored.data)
        return taken, caught_up

    async def _read(self, stream: Stream, limit: int) -> list[Stored]:
        """Return what follows our watermark, having made sure that the stream is the same."""
        mark = self.watermarks[stream.name]
        if mark == 0:
            return await self._context.bus.read(stream.name, 0, limit)
        found = await self._context.bus.read(stream.name, mark - 1, limit + 1)
        if found and (found[0].sequence > mark or self._is_last(stream.name, found[0])):
            return [stored for stored in found if stored.sequence > mark][:limit]
        await self._rewind(stream, mark)
        return await self._context.bus.read(stream.name, self.watermarks[stream.name], limit)

    async def _rewind(self, stream: Stream, mark: int) -> None:
        agreed, refuted = 0, mark
        while not stream.durable_writes and refuted - agreed > 1:
            middle = (agreed + refuted) // 2
            found = await self._context.bus.read(stream.name, middle - 1, 1)
            kept = await self._kept(stream.name, middle)
            same = bool(found) and (
                found[0].sequence > middle or found[0].data.decode("utf-8", _ESCAPE) == kept
            )
            agreed, refuted = (middle, refuted) if same else (agreed, middle)
        if agreed == 0:
            raise LedgerMismatch(
                f"ledger: expected stream {stream.name} to hold the ledger's message {mark}, found "
                "another one or none; the ledger is of another run: give this run a new directory"
            )
        self.watermarks[stream.name] = agreed
        self._last[stream.name] = await self._kept(stream.name, agreed)
        context = self._context
        context.log.error("stream lost its end", stream=stream.name, held=mark, agreed=agreed)
        context.dispatch(Rewound(now_ns=context.now_ns(), stream=stream.name, sequence=agreed))

    async def _kept(self, stream: str, sequence: int) -> str:
        answer = await self._ledger.query(
            f"SELECT payload FROM messages FINAL WHERE stream = '{stream}' AND seq = {sequence}"  # noqa: S608
        )
        return str(answer.rows[0][0]) if answer.rows else ""

    def _is_last(self, stream: str, stored: Stored) -> bool:
        return stored.data.decode("utf-8", _ESCAPE) == self._last[stream]

    def _take(self, stream: str, stored: Stored) -> Taken:
        message, letter = self._inboxes[stream].open(stored, Service.REPORTING)
        if letter is not None:
            self._context.publish(letter)
        payload = stored.data.decode("utf-8", _ESCAPE)
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
            self._last[stream] = each.row.payload
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
