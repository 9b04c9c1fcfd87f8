"""NATS as a process sees it, in virtual time: what JetStream and our client allow, and no more.

One connection of a process keeps its order both ways. It can be slow, cut (what is under way is
lost; the publisher sends all that is unacknowledged again, in order, with the same ids), deaf to
acknowledgements, or stalled: then messages arrive that their publisher has long given up (ghosts).
`MemoryHub` is the server: fence, duplicates, limits, buckets.
"""

import asyncio

from libs.common.bus import (
    BusError,
    BusUnavailable,
    FenceRefused,
    PublishRefused,
    PublishUnknown,
    conflate,
)
from libs.common.jetstream import matches
from libs.common.messages import decode
from libs.common.topology import ORDERS_EPOCH, Service
from tests.sim.loop import ProcessKilled
from tests.sim.points import point_of

BUDGET_S = 10.0
SILENCE_S = 2.0
READ_BUDGET_S = 10.0
BATCH_MAX = 64
APART_S = 1e-6


class Link:
    """The connection of one process; faults are set on it from outside."""

    def __init__(self, world, dice):
        self._loop = world.loop
        self._dice = dice
        self.slow_s = 0.0
        self.is_cut = False
        self.is_mute = False
        self.stalled_until_s = 0.0
        self._last = {"there": 0.0, "back": 0.0}
        self.number = 0
        self.restored = asyncio.Event()
        self.restored.set()

    def cut(self):
        """Lose the connection and all that is on its way."""
        self.is_cut = True
        self.number += 1
        self.restored.clear()

    def restore(self):
        """Let the client connect again, and end every other trouble."""
        self.slow_s = self.stalled_until_s = 0.0
        self.is_mute = self.is_cut = False
        self.restored.set()

    def delay_s(self, way):
        """Return how long one message takes now; it never overtakes another one."""
        now_s = self._loop.time()
        takes_s = 0.0003 + self._dice.random() * 0.002 + self.slow_s * self._dice.random()
        arrives_s = max(now_s + takes_s, self._last[way] + APART_S, self.stalled_until_s)
        self._last[way] = arrives_s
        return arrives_s - now_s


class _Entry:
    """A publish that is not acknowledged yet."""

    __slots__ = (
        "data",
        "fence",
        "future",
        "give_up_s",
        "message",
        "message_id",
        "subject",
        "tries",
    )

    def __init__(self, subject, data, message_id, fence, future, give_up_s):
        self.subject, self.data, self.message_id = subject, data, message_id
        self.fence, self.future, self.give_up_s = fence, future, give_up_s
        self.message = decode(data) if not subject.startswith("$") else None
        self.tries = 0


class SimBus:
    """A process's handle on the simulated server; see `libs.common.bus.Bus`."""

    def __init__(self, world, process, service, link):
        self.world = world
        self.process = process
        self.service = service
        self.link = link
        self.fatal = world.loop.create_future()
        self._lanes = {}
        self._closed = False
        self._watching = False

    # Publishing

    def publish(self, subject, data, *, message_id, fence=None):
        if not self.process.alive:
            raise ProcessKilled(subject)
        if self._closed:
            raise BusUnavailable(f"publish {subject}: the bus is closed")
        loop = self.world.loop
        future = loop.create_future()
        future.add_done_callback(lambda done: done.cancelled() or done.exception())
        give_up_s = loop.time() + BUDGET_S
        entry = _Entry(subject, data, message_id, fence, future, give_up_s)
        if point := self._point(entry):
            self.world.at(f"{point}.unsent")
        lane = self._lanes.setdefault(subject.split(".", 1)[0], [])
        lane.append(entry)
        self._send(lane, entry)
        if not self._watching:
            self._watching = True
            loop.call_later(SILENCE_S, self._watch)
        return future

    def _point(self, entry):
        return point_of(entry.message) if self.service in (Service.BROKER, Service.RISK) else ""

    def _send(self, lane, entry):
        if self.link.is_cut:
            return
        entry.tries += 1
        delay_s = self.link.delay_s("there")
        self.world.loop.outside(delay_s, self._arrive, lane, entry, self.link.number)

    def _arrive(self, lane, entry, number):
        """Be the server: store or refuse, then answer."""
        if number != self.link.number:
            return
        try:
            outcome = self.world.store(entry.subject, entry.data, entry.message_id, entry.fence)
        except BusError as error:
            outcome = error
        if point := self._point(entry):
            self.world.kill_at(f"{point}.stored", self.process)
        if not self.link.is_mute:
            delay_s = self.link.delay_s("back")
            self.world.loop.outside(delay_s, self._answer, lane, entry, outcome, self.link.number)

    def _answer(self, lane, entry, outcome, number):
        if number != self.link.number or entry not in lane or self.link.is_mute:
            return
        lane.remove(entry)
        if isinstance(outcome, FenceRefused) and entry.tries > 1:
            outcome = self.world.stored_as(entry.subject, entry.message_id) or outcome
        if isinstance(outcome, int) and (point := self._point(entry)):
            self.world.kill_at(f"{point}.acked", self.process)
        self._settle(entry, outcome)

    def _settle(self, entry, outcome):
        if entry.future.done():
            return
        if isinstance(outcome, int):
            entry.future.set_result(outcome)
        else:
            entry.future.set_exception(outcome)

    def _watch(self):
        """Give up on what is over its budget, send again what got no answer."""
        now_s = self.world.loop.time()
        for lane in self._lanes.values():
            if lane and lane[0].give_up_s <= now_s:
                for entry in lane:
                    self._settle(entry, PublishUnknown(f"publish {entry.subject}: no answer"))
                lane.clear()
            for entry in lane:
                self._send(lane, entry)
        self._watching = any(self._lanes.values())
        if self._watching:
            self.world.loop.call_later(SILENCE_S, self._watch)

    def resume(self):
        """Send all that is unacknowledged: the connection is back."""
        for lane in self._lanes.values():
            for entry in lane:
                self._send(lane, entry)

    # Reading

    async def _round(self):
        """Go to the server and back, when the connection allows."""
        try:
            async with asyncio.timeout(READ_BUDGET_S):
                while True:
                    await self.link.restored.wait()
                    number = self.link.number
                    await asyncio.sleep(self.link.delay_s("there") + self.link.delay_s("back"))
                    if number == self.link.number and not self.link.is_mute:
                        return
                    await asyncio.sleep(0.1)
        except TimeoutError:
            raise BusUnavailable("given up after 10 s without an answer") from None

    async def read(self, stream, after, limit=1_000):
        await self._round()
        found = self.world.hub.log(stream).after(after)[:limit]
        self.world.at("log.read")
        return found

    async def last_per_subject(self, stream, subject_filter):
        await self._round()
        if subject_filter == ORDERS_EPOCH and self.world.epoch_aged:
            return []
        found = self.world.hub.log(stream).after(0)
        return conflate([stored for stored in found if matches(subject_filter, stored.subject)])

    async def get(self, bucket, key):
        await self._round()
        return self.world.hub.value(bucket, key)

    async def put(self, bucket, key, data, *, revision):
        """Write a key; the answer may be lost although it was written."""
        await self.link.restored.wait()
        number = self.link.number
        await asyncio.sleep(self.link.delay_s("there"))
        if number != self.link.number:
            await self._lost(f"put {bucket}/{key}")
        written = self.world.put(bucket, key, data, revision)
        if bucket == "lease":
            self.world.at("lease.written")
        await asyncio.sleep(self.link.delay_s("back"))
        if number != self.link.number or self.link.is_mute:
            await self._lost(f"put {bucket}/{key}")
        return written

    async def _lost(self, what):
        await asyncio.sleep(BUDGET_S)
        raise PublishUnknown(f"{what}: no answer in {BUDGET_S:g} s")

    async def backlog(self, durable):
        return 0

    async def stored_bytes(self, stream):
        return 0

    async def round_trip(self):
        await self._round()

    async def request(self, subject, data, timeout_s):
        raise TimeoutError(f"request {subject}: nobody asks in the simulation")

    async def serve(self, subject, answer):
        del subject, answer

    async def verify(self):
        await self._round()

    async def close(self):
        self._closed = True
        if not self.fatal.done():
            self.fatal.cancel()

    # Durables

    async def consume(self, durable, handler):
        """Deliver in order, each once within this call; what is not acknowledged comes again."""
        world, log = self.world, self.world.hub.log(durable.stream)
        handled = world.acknowledged.get(durable.name, 0)
        failures = []
        bell = None
        previous = None

        def done(task):
            if not task.cancelled() and (error := task.exception()) is not None:
                failures.append(error)
                if bell is not None and not bell.done():
                    bell.set_result(None)

        while True:
            for failure in failures:
                raise failure
            await self.link.restored.wait()
            number = self.link.number
            fresh = [
                stored
                for stored in log.after(handled)
                if any(matches(pattern, stored.subject) for pattern in durable.subjects)
            ]
            if not fresh:
                bell = world.news(durable.stream)
                await bell
                continue
            await asyncio.sleep(self.link.delay_s("back"))
            if number != self.link.number or self.link.is_mute:
                await asyncio.sleep(0.2)
                continue
            batch = conflate(fresh) if durable.conflated else fresh[:BATCH_MAX]
            handled = batch[-1].sequence
            self._note(durable, batch)
            acknowledging = self._acknowledge(durable, previous, handler(batch), handled, number)
            previous = asyncio.create_task(acknowledging)
            previous.add_done_callback(done)
            await asyncio.sleep(0)

    def _note(self, durable, batch):
        for stored in batch:
            self.world.given(self.process, durable.stream, stored)
        if durable.stream == "VERDICTS" and self.service is Service.BROKER:
            self.world.at("verdict.given")
        if durable.stream == "PROPOSALS" and self.service is Service.RISK:
            self.world.at("proposal.given")

    async def _acknowledge(self, durable, previous, outcome, through, number):
        if previous is not None:
            await previous
        for awaitable in outcome:
            await awaitable
        verdict = durable.stream == "VERDICTS" and self.service is Service.BROKER
        if verdict:
            self.world.at("verdict.done")
        if durable.stream == "PROPOSALS" and self.service is Service.RISK:
            self.world.at("proposal.done")
        await asyncio.sleep(self.link.delay_s("there"))
        if number == self.link.number:  # else the acknowledgement was lost: it comes again
            known = self.world.acknowledged.get(durable.name, 0)
            self.world.acknowledged[durable.name] = max(known, through)
        if verdict:
            self.world.at("verdict.acknowledged")


__all__ = ["Link", "PublishRefused", "SimBus"]
