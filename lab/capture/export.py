"""Make a capture of what streams hold of one day, in order of publication."""

import heapq
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import date
from pathlib import Path

from msgspec import Struct

from lab.capture.feeds import FEEDS_KIND, records_of
from lab.capture.format import CaptureWriter, Head, Record
from lab.capture.raw import RawFeeds
from libs.common.bus import Stored
from libs.common.clock import NS_PER_S
from libs.common.messages import (
    BadMessage,
    ClockSample,
    ExchangeStatus,
    IndexTick,
    LadderDefined,
    LadderSnapshot,
    Message,
    Proposal,
    decode,
)
from libs.domain.eastern import eastern_date

STREAMS_KIND = "streams"
READ_BATCH = 2_000
LISTED_EVERY_NS = 20 * NS_PER_S
"""Which markets trade is said again before feeds would take it for stale."""
REPLAYED = ("TICKS", "LADDERS", "STATUS")
"""What a replay reads: everything that feeds said, and how the exchange and the clock were."""

ReadStream = Callable[[str, int, int], Awaitable[list[Stored]]]
"""Return up to so many messages of a stream above a sequence: `Bus.read`."""
Progress = Callable[[int], None]


class NothingToExport(Exception):
    """The streams hold nothing of that day; the text says what they do hold."""


class Exported(Struct, frozen=True, kw_only=True):
    """What became of it: records by stream, what was unreadable, and days that were passed over."""

    records: dict[str, int]
    unreadable: dict[str, int]
    other_days: dict[str, int]
    provenance: str


class _Stream:
    """One stream on its way into the capture."""

    def __init__(self, name: str, day: date, read: ReadStream) -> None:
        self.name = name
        self._day = day
        self._read = read
        self.unreadable = 0
        self.other_days: Counter[str] = Counter()
        self.provenances: set[str] = set()

    async def records(self) -> AsyncIterator[Record]:
        """Yield the day's messages; time never runs back within a stream."""
        after = at_ns = 0
        while batch := await self._read(self.name, after, READ_BATCH):
            for stored in batch:
                after = stored.sequence
                try:
                    message = decode(stored.data)
                except BadMessage:
                    self.unreadable += 1
                    continue
                if (day := eastern_date(message.ts_pub_ns)) != self._day:
                    self.other_days[day.isoformat()] += 1
                    continue
                self._note(message)
                at_ns = max(at_ns, message.ts_pub_ns)
                yield Record(at_ns, self.name, stored.subject, stored.sequence, stored.data)

    def _note(self, message: Message) -> None:
        if isinstance(message, IndexTick | LadderSnapshot | Proposal):
            self.provenances.add(message.provenance)


async def export(
    read: ReadStream, names: Sequence[str], day: date, path: Path, progress: Progress
) -> Exported:
    """Write the capture of a New York day. Raises CaptureError, BusError, NothingToExport."""
    streams = [_Stream(name, day, read) for name in names]
    counts: Counter[str] = Counter()
    about = {"day": day.isoformat(), "streams": ",".join(names)}
    with CaptureWriter(path, Head(kind=STREAMS_KIND, provenance="", about=about)) as writer:
        sources = [stream.records() for stream in streams]
        heads: list[tuple[int, int, Record]] = []
        for number, source in enumerate(sources):
            if (first := await anext(source, None)) is not None:
                heads.append((first.at_ns, number, first))
        heapq.heapify(heads)
        while heads:
            _, number, record = heads[0]
            writer.add(record)
            counts[record.source] += 1
            progress(counts.total())
            following = await anext(sources[number], None)
            if following is None:
                heapq.heappop(heads)
            else:
                heapq.heapreplace(heads, (following.at_ns, number, following))
        if not counts:
            raise NothingToExport(_nothing(streams, day))
    return Exported(
        records=dict(counts),
        unreadable={one.name: one.unreadable for one in streams if one.unreadable},
        other_days=dict(sum((one.other_days for one in streams), Counter())),
        provenance=",".join(sorted(set().union(*(one.provenances for one in streams)))),
    )


class _Trading:
    """Of which snapshots is it news, or due to be said again, which markets trade."""

    def __init__(self) -> None:
        self._said: dict[str, LadderSnapshot] = {}

    def is_news(self, snapshot: LadderSnapshot) -> bool:
        said = self._said.get(snapshot.event_ticker)
        if (
            said is not None
            and (said.ladder_id, said.inactive) == (snapshot.ladder_id, snapshot.inactive)
            and snapshot.ts_pub_ns - said.ts_pub_ns < LISTED_EVERY_NS
        ):
            return False
        self._said[snapshot.event_ticker] = snapshot
        return True


async def export_raw(
    read: ReadStream, folder: Path, day: date, path: Path, progress: Progress
) -> Exported:
    """Write a day's raw copies as a capture of feeds. Raises as `export`."""
    raw = RawFeeds(folder, day)
    told: list[Message] = []
    trading = _Trading()
    unreadable: Counter[str] = Counter()
    for name in REPLAYED:
        stream = _Stream(name, day, read)
        async for record in stream.records():
            message = decode(record.data)
            if isinstance(message, LadderDefined | ExchangeStatus | ClockSample) or (
                isinstance(message, LadderSnapshot) and trading.is_news(message)
            ):
                told.append(message)
        unreadable[name] = stream.unreadable
    told.sort(key=lambda message: message.ts_pub_ns)
    about = {"day": day.isoformat(), "raw": str(folder.name)}
    with CaptureWriter(path, Head(kind=FEEDS_KIND, provenance="", about=about)) as writer:
        for event in raw.events(told):
            for record in records_of(event):
                writer.add(record)
                progress(writer.records)
        if not raw.lines:
            days = ", ".join(sorted(raw.other_days)) or "none at all"
            raise NothingToExport(f"{folder}: expected raw copies of {day}, found {days}")
    return Exported(
        records={FEEDS_KIND: writer.records},
        unreadable={name: count for name, count in (unreadable + raw.unreadable).items() if count},
        other_days=dict(raw.other_days),
        provenance="",
    )


def _nothing(streams: Sequence[_Stream], day: date) -> str:
    held = sorted(set().union(*(stream.other_days for stream in streams)))
    names = ", ".join(stream.name for stream in streams)
    return f"{names}: expected messages of {day}, found {', '.join(held) or 'none at all'}"
