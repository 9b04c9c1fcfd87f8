"""The message bus in one process: the same promises as `NatsBus`, for lab, replay and tests.

A `MemoryHub` stands for the server; each service gets its own `MemoryBus` from it. Time comes
from a function, so duplicates, ages and leases expire in virtual time.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Sequence

from msgspec import Struct

from libs.common.bus import (
    BusError,
    BusUnavailable,
    Fence,
    FenceRefused,
    Handler,
    KeyValue,
    PublishRefused,
    RevisionMismatch,
    Stored,
    conflate,
)
from libs.common.jetstream import MAX_PAYLOAD_BYTES, NS_PER_S, matches
from libs.common.topology import (
    BUCKETS,
    DURABLES,
    REQUESTS,
    STREAMS,
    SUBJECTS,
    Bucket,
    Durable,
    Service,
    Stream,
    durables_of,
    streams_read_by,
)

BATCH_MAX = 512
UNACKNOWLEDGED_BATCHES_MAX = 16

Answer = Callable[[bytes], Awaitable[bytes]]


class _Kept(Struct, frozen=True):
    stored: Stored
    at_ns: int


class _Log:
    """One stream: what is kept, the last sequence per subject, the ids of late."""

    def __init__(self, stream: Stream, remembered: Collection[str] = ()) -> None:
        self.stream = stream
        self._remembered = remembered
        self.kept: deque[_Kept] = deque()
        self.size_bytes = 0
        self.last_sequence = 0
        self.last_of_subject: dict[str, int] = {}
        self.ids: dict[str, tuple[int, int]] = {}

    def after(self, sequence: int) -> list[Stored]:
        """Return what is kept above a sequence, in order; sequences have no holes."""
        first = self.last_sequence - len(self.kept) + 1
        start = max(0, sequence + 1 - first)
        return [self.kept[index].stored for index in range(start, len(self.kept))]

    def append(
        self, subject: str, data: bytes, message_id: str, fence: Fence | None, now_ns: int
    ) -> int:
        """Store a message as the server would: fence, then duplicates, then limits."""
        self.forget(now_ns)
        if fence is not None:
            last = self.last_of_subject.get(fence.subject, 0)
            if last != fence.sequence:
                raise FenceRefused(f"publish {subject}: wrong last sequence: {last}, got {fence}")
        known = self.ids.get(message_id)
        if known is not None:
            return known[0]
        size_bytes = len(subject) + len(data)
        full = self.size_bytes + size_bytes > self.stream.max_bytes
        if full and self.stream.refuse_when_full:
            raise PublishRefused(f"publish {subject}: maximum bytes exceeded")
        while self.kept and self.size_bytes + size_bytes > self.stream.max_bytes:
            self._drop_oldest()
        self.last_sequence += 1
        self.kept.append(_Kept(Stored(subject, self.last_sequence, data), now_ns))
        self.size_bytes += size_bytes
        self.last_of_subject[subject] = self.last_sequence
        self.ids[message_id] = (self.last_sequence, now_ns)
        return self.last_sequence

    def forget(self, now_ns: int) -> None:
        """Let go of what is too old by now."""
        horizon_ns = now_ns - self.stream.duplicate_window_s * NS_PER_S
        while self.ids and next(iter(self.ids.values()))[1] < horizon_ns:
            del self.ids[next(iter(self.ids))]
        horizon_ns = now_ns - self.stream.max_age_s * NS_PER_S
        while self.kept and self.kept[0].at_ns < horizon_ns:
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        stored = self.kept.popleft().stored
        self.size_bytes -= len(stored.subject) + len(stored.data)
        last = self.last_of_subject.get(stored.subject)
        if last == stored.sequence and stored.subject not in self._remembered:
            del self.last_of_subject[stored.subject]


class MemoryHub:
    """What the server is to a set of services in one event loop.

    Of `remembered` subjects the last sequence outlives its message, which no server's does.
    """

    def __init__(
        self,
        now_ns: Callable[[], int],
        streams: Sequence[Stream] = STREAMS,
        remembered: Collection[str] = (),
    ) -> None:
        self.now_ns = now_ns
        self._logs = {stream.name: _Log(stream, remembered) for stream in streams}
        self._buckets: dict[str, Bucket] = {bucket.name: bucket for bucket in BUCKETS}
        self._values: dict[tuple[str, str], tuple[KeyValue, int]] = {}
        self._revisions = dict.fromkeys(self._buckets, 0)
        self._servers: dict[str, Answer] = {}
        self.acknowledged = {durable.name: 0 for durable in DURABLES}
        self.arrived = {durable.name: asyncio.Event() for durable in DURABLES}
        self._of_head = {
            stream.subjects[0].partition(".")[0]: (
                self._logs[stream.name],
                [self.arrived[one.name] for one in DURABLES if one.stream == stream.name],
            )
            for stream in streams
        }
        """Each stream's log, and who waits for something to arrive there."""

    def bus(self, service: Service) -> "MemoryBus":
        """Return a service's connection."""
        return MemoryBus(self, service)

    def log(self, stream: str) -> _Log:
        """Return what a stream holds; raise BusError if there is no such stream."""
        if stream not in self._logs:
            raise BusError(f"stream {stream}: expected one of {sorted(self._logs)}")
        log = self._logs[stream]
        log.forget(self.now_ns())
        return log

    def append(self, subject: str, data: bytes, message_id: str, fence: Fence | None) -> int:
        """Store a message in the stream of its subject and wake who reads it."""
        log, waiting = self._of_head[subject.partition(".")[0]]
        sequence = log.append(subject, data, message_id, fence, self.now_ns())
        for arrived in waiting:
            arrived.set()
        return sequence

    def value(self, bucket: str, key: str) -> KeyValue | None:
        """Return a value that has not outlived its bucket's time."""
        found = self._values.get((bucket, key))
        if found is None:
            return None
        ttl_ns = self._buckets[bucket].ttl_s * NS_PER_S
        return found[0] if not ttl_ns or self.now_ns() - found[1] < ttl_ns else None

    def put(self, bucket: str, key: str, data: bytes, revision: int) -> int:
        """Compare and set."""
        known = self.value(bucket, key)
        if (known.revision if known else 0) != revision:
            raise RevisionMismatch(
                f"{bucket}/{key}: expected revision {revision}, somebody wrote it since"
            )
        self._revisions[bucket] += 1
        value = KeyValue(data, self._revisions[bucket])
        self._values[bucket, key] = (value, self.now_ns())
        return value.revision

    def serve(self, subject: str, answer: Answer) -> None:
        """Let `answer` have the requests on a subject."""
        self._servers[subject] = answer

    async def ask(self, subject: str, data: bytes) -> bytes:
        """Return what the subject's server answers; raise TimeoutError if there is none."""
        if subject not in self._servers:
            raise TimeoutError(f"request {subject}: nobody answers it")
        return await self._servers[subject](data)


class MemoryBus:
    """A service's handle on a `MemoryHub`; see `Bus` for what each call promises."""

    def __init__(self, hub: MemoryHub, service: Service) -> None:
        self.service = service
        self.fatal: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.fatal.add_done_callback(lambda future: future.cancelled() or future.exception())
        self._hub = hub
        self._patterns = [
            subject.pattern.replace("{service}", service)
            for subject in SUBJECTS
            if service in subject.writers
        ]
        self._closed = False

    def publish(
        self, subject: str, data: bytes, *, message_id: str, fence: Fence | None = None
    ) -> asyncio.Future[int]:
        if self._closed:
            raise BusUnavailable(f"publish {subject}: the bus is closed")
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        future.add_done_callback(lambda done: done.cancelled() or done.exception())
        try:
            self._demand_right(subject, any(matches(p, subject) for p in self._patterns))
            if len(data) > MAX_PAYLOAD_BYTES:
                text = f"expected at most {MAX_PAYLOAD_BYTES} bytes, got {len(data)}"
                raise PublishRefused(f"publish {subject}: {text}")
            future.set_result(self._hub.append(subject, data, message_id, fence))
        except BusError as error:
            future.set_exception(error)
        return future

    async def consume(self, durable: Durable, handler: Handler) -> None:
        if durable.service is not self.service:
            raise BusError(f"durable {durable.name}: it is not {self.service.value}'s")
        log, arrived = self._hub.log(durable.stream), self._hub.arrived[durable.name]
        handled = self._hub.acknowledged[durable.name]
        pending: deque[asyncio.Task[None]] = deque()
        previous: asyncio.Task[None] | None = None
        try:
            while not self._closed:
                while pending and pending[0].done():
                    pending.popleft().result()
                fresh = [
                    stored
                    for stored in log.after(handled)
                    if any(matches(pattern, stored.subject) for pattern in durable.subjects)
                ]
                if not fresh or len(pending) >= UNACKNOWLEDGED_BATCHES_MAX:
                    arrived.clear()
                    await arrived.wait()
                    continue
                batch = conflate(fresh) if durable.conflated else fresh[:BATCH_MAX]
                handled = batch[-1].sequence
                outcome = handler(batch)
                previous = asyncio.create_task(
                    self._acknowledge(durable.name, previous, outcome, handled)
                )
                previous.add_done_callback(lambda _: arrived.set())
                pending.append(previous)
                await asyncio.sleep(0)
        finally:
            for task in pending:
                task.cancel()
            await asyncio.gather(*pending, return_exceptions=True)

    async def read(self, stream: str, after: int, limit: int = 1_000) -> list[Stored]:
        self._demand_read(stream)
        return self._hub.log(stream).after(after)[:limit]

    async def last_per_subject(self, stream: str, subject_filter: str) -> list[Stored]:
        self._demand_read(stream)
        found = self._hub.log(stream).after(0)
        return conflate([stored for stored in found if matches(subject_filter, stored.subject)])

    async def get(self, bucket: str, key: str) -> KeyValue | None:
        return self._hub.value(bucket, key)

    async def put(self, bucket: str, key: str, data: bytes, *, revision: int) -> int:
        writers = {known.name: known.writers for known in BUCKETS}[bucket]
        self._demand_right(f"{bucket}/{key}", self.service in writers)
        return self._hub.put(bucket, key, data, revision)

    async def request(self, subject: str, data: bytes, timeout_s: float) -> bytes:
        clients = {request.subject: request.clients for request in REQUESTS}[subject]
        if self.service not in clients:
            raise TimeoutError(f"request {subject}: {self.service.value} has no right to it")
        try:
            async with asyncio.timeout(timeout_s):
                return await self._hub.ask(subject, data)
        except TimeoutError:
            raise
        except Exception as error:
            raise TimeoutError(f"request {subject}: no answer, {error!r} over there") from error

    async def serve(self, subject: str, answer: Answer) -> None:
        self._hub.serve(subject, answer)

    async def backlog(self, durable: Durable) -> int:
        acknowledged = self._hub.acknowledged[durable.name]
        return sum(
            any(matches(pattern, stored.subject) for pattern in durable.subjects)
            for stored in self._hub.log(durable.stream).after(acknowledged)
        )

    async def stored_bytes(self, stream: str) -> int:
        self._demand_read(stream)
        return self._hub.log(stream).size_bytes

    async def round_trip(self) -> None:
        if self._closed:
            raise TimeoutError("the bus is closed")
        await asyncio.sleep(0)

    async def verify(self) -> None:
        """Return at once: a hub is built from the topology."""

    async def close(self) -> None:
        self._closed = True
        for durable in durables_of(self.service):
            self._hub.arrived[durable.name].set()
        if not self.fatal.done():
            self.fatal.cancel()

    async def _acknowledge(
        self,
        name: str,
        previous: asyncio.Task[None] | None,
        outcome: Sequence[Awaitable[int]],
        through: int,
    ) -> None:
        """Move the durable's place once all batches up to this one are done."""
        if previous is not None:
            await previous
        for awaitable in outcome:
            await awaitable
        self._hub.acknowledged[name] = through

    def _demand_right(self, what: str, allowed: bool) -> None:
        if not allowed:
            refused = PublishRefused(
                f"{self.service.value} may not publish {what}; the topology gives it no right"
            )
            if not self.fatal.done():
                self.fatal.set_exception(refused)
            raise refused

    def _demand_read(self, stream: str) -> None:
        if stream not in streams_read_by(self.service):
            raise BusError(f"{self.service.value} may not read {stream}")
