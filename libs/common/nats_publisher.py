"""Publish to JetStream: sent in call order, retried within a budget, told apart when unknown.

Messages of one stream share a lane. Any trouble in a lane (no answer, no leader, a lost
connection) holds it back and then sends all that is unacknowledged again in call order, with
the same message ids: what had been stored is recognised by the server, and order is kept.
Giving up on one is giving up on all that follow it: a stream never holds what came after a hole.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import msgspec
import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg

from libs.common.bus import (
    BusError,
    BusUnavailable,
    Fence,
    FenceRefused,
    PublishRefused,
    PublishUnknown,
)
from libs.common.jetstream import CODE_WRONG_LAST_SEQUENCE, CODES_TRANSIENT
from libs.common.nats_reader import Refusal

BUDGET_S = 10.0
IN_FLIGHT_MAX = 10_000
TRY_TIMEOUT_S = 2.0
TICK_S = 0.05
BACKOFF_MIN_S = 0.1
BACKOFF_MAX_S = 1.0
NO_RESPONDERS = "503"

_log = logging.getLogger(__name__)

FindStored = Callable[[str, str, int], Awaitable[int | None]]
"""Look for (subject, message id, after this sequence) in its stream; None if it is not there."""


class _ApiError(msgspec.Struct):
    code: int
    err_code: int
    description: str = ""


class _Acknowledgement(msgspec.Struct):
    stream: str = ""
    seq: int = 0
    duplicate: bool = False
    error: _ApiError | None = None


_acknowledgements = msgspec.json.Decoder(_Acknowledgement)


class _Entry:
    """A message that is not acknowledged yet."""

    __slots__ = (
        "data",
        "fence",
        "future",
        "give_up_s",
        "headers",
        "message_id",
        "subject",
        "tries",
    )

    def __init__(
        self,
        subject: str,
        data: bytes,
        message_id: str,
        fence: Fence | None,
        future: asyncio.Future[int],
        give_up_s: float,
    ) -> None:
        self.subject = subject
        self.data = data
        self.message_id = message_id
        self.fence = fence
        self.future = future
        self.give_up_s = give_up_s
        self.tries = 0
        self.headers = {"Nats-Msg-Id": message_id}
        if fence is not None:
            self.headers["Nats-Expected-Last-Subject-Sequence"] = str(fence.sequence)
            self.headers["Nats-Expected-Last-Subject-Sequence-Subject"] = fence.subject


class _Lane:
    """The unacknowledged messages of one stream, in call order."""

    __slots__ = ("backoff_s", "entries", "held", "progress_s", "resend_s")

    def __init__(self) -> None:
        self.entries: dict[int, _Entry] = {}
        self.held = False
        self.resend_s = 0.0
        self.backoff_s = BACKOFF_MIN_S
        self.progress_s = 0.0


class Publisher:
    """Send messages and match the server's acknowledgements to them."""

    def __init__(
        self, client: Client, inbox: str, find_stored: FindStored, *, budget_s: float = BUDGET_S
    ) -> None:
        self._client = client
        self._inbox = inbox
        self._find_stored = find_stored
        self._budget_s = budget_s
        self._loop = asyncio.get_running_loop()
        self._lanes: dict[str, _Lane] = {}
        self._lane_of: dict[int, _Lane] = {}
        self._count = 0
        self._ticking = False
        self._lookups: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listen for acknowledgements."""
        await self._client.subscribe(f"{self._inbox}.*", cb=self._on_answer)

    @property
    def in_flight(self) -> int:
        """Return how many messages are not acknowledged yet."""
        return len(self._lane_of) + len(self._lookups)

    def publish(
        self, subject: str, data: bytes, message_id: str, fence: Fence | None
    ) -> asyncio.Future[int]:
        """Send now, or once the lane is free again; see `Bus.publish`."""
        if self._client.is_closed:
            raise BusUnavailable(f"publish {subject}: the connection to NATS is closed")
        if self.in_flight >= IN_FLIGHT_MAX:
            raise PublishRefused(
                f"publish {subject}: expected under {IN_FLIGHT_MAX} unacknowledged messages;"
                " the server does not keep up, send less"
            )
        future: asyncio.Future[int] = self._loop.create_future()
        future.add_done_callback(_retrieve)
        now_s = self._loop.time()
        entry = _Entry(subject, data, message_id, fence, future, now_s + self._budget_s)
        head = subject.split(".", 1)[0]
        lane = self._lanes.get(head)
        if lane is None:
            lane = self._lanes[head] = _Lane()
        if not lane.entries:
            lane.progress_s = now_s
        self._count += 1
        lane.entries[self._count] = entry
        self._lane_of[self._count] = lane
        if not lane.held:
            self._send(lane, self._count, entry)
        if not self._ticking:
            self._ticking = True
            self._loop.call_later(TICK_S, self._tick)
        return future

    def hold(self) -> None:
        """Stop sending: the connection is gone."""
        for lane in self._lanes.values():
            lane.held = True
            lane.resend_s = float("inf")

    def resume(self) -> None:
        """Send again all that is unacknowledged: the connection is back."""
        for lane in self._lanes.values():
            self._resend(lane)

    def refuse(self, subject: str, reason: Refusal) -> None:
        """Fail what waits on a subject (in small letters) that we may not publish on."""
        for lane in self._lanes.values():
            for number, entry in list(lane.entries.items()):
                if entry.subject.lower() == subject:
                    self._finish(lane, number, reason(entry.subject))

    def fail_all(self) -> None:
        """Give up on everything: nobody will hear the answers."""
        for lane in self._lanes.values():
            for number, entry in list(lane.entries.items()):
                self._finish(lane, number, _unknown(entry, "the connection was closed"))
        for task in self._lookups:
            task.cancel()

    async def settled(self, timeout_s: float) -> None:
        """Return once nothing is in flight, or after `timeout_s`."""
        futures = [entry.future for lane in self._lanes.values() for entry in lane.entries.values()]
        waiting: list[asyncio.Future[Any]] = [*futures, *self._lookups]
        if waiting:
            await asyncio.wait(waiting, timeout=timeout_s)

    def _send(self, lane: _Lane, number: int, entry: _Entry) -> None:
        entry.tries += 1
        sending = self._client.publish(
            entry.subject, entry.data, reply=f"{self._inbox}.{number}", headers=entry.headers
        )
        try:
            run_now(sending)
        except nats.errors.MaxPayloadError:
            text = f"expected at most {self._client.max_payload} bytes, got {len(entry.data)}"
            self._finish(lane, number, PublishRefused(f"publish {entry.subject}: {text}"))
        except nats.errors.Error:  # not connected: `resume` will send it
            lane.held = True
            lane.resend_s = float("inf")

    def _resend(self, lane: _Lane) -> None:
        lane.held = False
        lane.progress_s = self._loop.time()
        for number, entry in list(lane.entries.items()):
            self._send(lane, number, entry)
            if lane.held:
                return

    def _retry_later(self, lane: _Lane) -> None:
        if not lane.held:
            lane.held = True
            lane.resend_s = self._loop.time() + lane.backoff_s
            lane.backoff_s = min(2 * lane.backoff_s, BACKOFF_MAX_S)

    def _tick(self) -> None:
        """Give up on what is over its budget; send again what got no answer."""
        now_s = self._loop.time()
        for lane in self._lanes.values():
            first = next(iter(lane.entries.values()), None)
            if first is None:
                continue
            if first.give_up_s <= now_s:  # what follows it must not be stored without it
                for number, entry in list(lane.entries.items()):
                    why = f"no answer in {self._budget_s:g} s, or to one before it"
                    self._finish(lane, number, _unknown(entry, why))
                continue
            silent = not lane.held and now_s - lane.progress_s > TRY_TIMEOUT_S
            if silent or (lane.held and lane.resend_s <= now_s):
                self._resend(lane)
        self._ticking = bool(self._lane_of)
        if self._ticking:
            self._loop.call_later(TICK_S, self._tick)

    async def _on_answer(self, message: Msg) -> None:
        number = int(message.subject.rpartition(".")[2])
        lane = self._lane_of.get(number)
        if lane is None:
            return  # a second answer, to a retry, or one that came too late
        if message.headers and message.headers.get("Status") == NO_RESPONDERS:
            self._retry_later(lane)
            return
        answer = _acknowledgements.decode(message.data)
        lane.progress_s = self._loop.time()
        error = answer.error
        if error is None:
            lane.backoff_s = BACKOFF_MIN_S
            self._finish(lane, number, answer.seq)
        elif error.err_code in CODES_TRANSIENT:
            self._retry_later(lane)
        elif error.err_code == CODE_WRONG_LAST_SEQUENCE:
            self._on_fenced(lane, number, error.description)
        else:
            subject = lane.entries[number].subject
            text = f"publish {subject}: the server refused: {error.description} ({error.err_code})"
            self._finish(lane, number, PublishRefused(text))

    def _on_fenced(self, lane: _Lane, number: int, description: str) -> None:
        """Tell a real refusal from one that our own first try provoked.

        The server looks at the fence before it looks for a duplicate. When a first try was
        stored and its acknowledgement lost, and then the fence moved, the second try is
        refused though the message is there.
        """
        entry = lane.entries[number]
        text = f"publish {entry.subject}: {description}, expected {entry.fence}"
        if entry.tries == 1 or entry.fence is None:
            self._finish(lane, number, FenceRefused(text))
            return
        del lane.entries[number], self._lane_of[number]
        task = self._loop.create_task(self._look_up(entry, entry.fence, text))
        self._lookups.add(task)
        task.add_done_callback(self._lookups.discard)

    async def _look_up(self, entry: _Entry, fence: Fence, text: str) -> None:
        try:
            async with asyncio.timeout(self._budget_s):
                found = await self._find_stored(entry.subject, entry.message_id, fence.sequence)
        except (TimeoutError, BusError, asyncio.CancelledError) as error:
            _settle(entry.future, _unknown(entry, f"refused on a retry, then: {error!r}"))
        else:
            _settle(entry.future, FenceRefused(text) if found is None else found)

    def _finish(self, lane: _Lane, number: int, outcome: int | BusError) -> None:
        entry = lane.entries.pop(number)
        del self._lane_of[number]
        _settle(entry.future, outcome)


def run_now(sending: Coroutine[Any, Any, None]) -> None:
    """Run a publish of nats-py to its end, here and now.

    With `pending_size=0` it never waits: it appends to the client's buffer and wakes the
    flusher. Should it wait after all, the message counts as sent without an answer.
    """
    try:
        sending.send(None)
    except StopIteration:
        return
    sending.close()
    _log.warning("a publish had to wait and was left to its retry")


def _unknown(entry: _Entry, why: str) -> PublishUnknown:
    return PublishUnknown(
        f"publish {entry.subject} ({entry.message_id}): {why} after {entry.tries} tries;"
        " it may be stored or not"
    )


def _settle(future: asyncio.Future[int], outcome: int | BusError) -> None:
    if future.done():
        return  # whoever asked has stopped waiting
    if isinstance(outcome, int):
        future.set_result(outcome)
    else:
        future.set_exception(outcome)


def _retrieve(future: asyncio.Future[int]) -> None:
    """Look at a failure even if nobody else does: not every publisher waits for the answer."""
    if not future.cancelled() and (error := future.exception()) is not None:
        _log.debug("%s", error)
