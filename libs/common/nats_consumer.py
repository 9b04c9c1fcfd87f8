"""Pull a durable's messages in batches (NATS ADR-37), in order, each once per process.

Deliveries can be lost in a dying connection; the server sends them again only after the
acknowledgement wait, behind newer ones. So after a start, a reconnect, a silence or a hole in
the delivery numbers, what is missing is read from the stream itself, and what the durable
delivers later of it is only acknowledged.
"""

import asyncio
import json
from collections import deque
from collections.abc import Awaitable, Sequence
from typing import Any

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg

from libs.common.bus import (
    BusError,
    BusMismatch,
    BusUnavailable,
    Handler,
    Stored,
    conflate,
)
from libs.common.jetstream import API, CODE_CONSUMER_NOT_FOUND, NS_PER_S, matches
from libs.common.nats_publisher import run_now
from libs.common.nats_reader import DirectReader
from libs.common.topology import Durable

WINDOW = 1_024
"""How many messages are on their way or waiting here at most."""
BATCH_MAX = 512
READ_BACK_BATCH = 1_000
UNACKNOWLEDGED_BATCHES_MAX = 16
PULL_EXPIRES_S = 30
IDLE_HEARTBEAT_S = 2
SILENCE_MAX_S = 2.5 * IDLE_HEARTBEAT_S
REPULL_WAIT_S = 0.1

_ACK_TOKENS = 9  # $JS.ACK.<stream>.<durable>.<tries>.<sequence>.<delivery>.<time>.<pending>


class _Delivered:
    """A message as the durable delivered it."""

    __slots__ = ("reply", "stored")

    def __init__(self, stored: Stored, reply: str) -> None:
        self.stored = stored
        self.reply = reply


class DurableConsumer:
    """One durable, consumed by one handler until cancelled, stopped or failed."""

    def __init__(
        self, client: Client, inbox: str, durable: Durable, handler: Handler, reader: DirectReader
    ) -> None:
        self._client = client
        self._inbox = inbox
        self._durable = durable
        self._place = f"{durable.stream}.{durable.name}"
        self._handler = handler
        self._reader = reader
        self._loop = asyncio.get_running_loop()
        self._wake = asyncio.Event()
        self._buffer: deque[_Delivered] = deque()
        self._requested = 0
        self._generation = 0
        self._heard_s = self._loop.time()
        self._repull_s = 0.0
        self._expected_delivery: int | None = None
        self._behind = True
        self._handled_through = 0
        self._last_handled: Stored | None = None
        self._unacknowledged: deque[tuple[Sequence[Awaitable[int]], Sequence[str]]] = deque()
        self._more_to_acknowledge = asyncio.Event()
        self._stopped = False

    def stop(self) -> None:
        """Let `run` return."""
        self._stopped = True
        self._wake.set()

    def on_reconnected(self) -> None:
        """Pull anew: the requests and what was on its way died with the connection."""
        self._start_over()

    async def run(self) -> None:
        """Deliver until cancelled or stopped; raise what the handler or its futures raise."""
        try:
            await self._run()
        except BusUnavailable:
            if not self._stopped:
                raise

    async def _run(self) -> None:
        self._handled_through = await self._acknowledged_through()
        if self._stopped:
            return
        subscription = await self._client.subscribe(f"{self._inbox}.*", cb=self._on_message)
        acknowledging = asyncio.create_task(self._acknowledge())
        acknowledging.add_done_callback(lambda _: self._wake.set())
        try:
            while not self._stopped:
                if acknowledging.done():
                    acknowledging.result()
                self._refill()
                if len(self._unacknowledged) >= UNACKNOWLEDGED_BATCHES_MAX:
                    await self._woken()
                elif self._behind:
                    await self._catch_up()
                elif self._buffer:
                    self._deliver_buffered()
                    await asyncio.sleep(0)
                else:
                    await self._woken()
        finally:
            acknowledging.cancel()
            await asyncio.gather(acknowledging, return_exceptions=True)
            if not self._client.is_closed and not self._client.is_draining:
                await subscription.unsubscribe()

    async def _woken(self) -> None:
        """Wait for something to do; pull anew when even the heartbeats have stopped."""
        self._wake.clear()
        try:
            # Not wait_for: on 3.11 it forgets a cancellation that comes with the wake-up.
            async with asyncio.timeout(IDLE_HEARTBEAT_S / 2):
                await self._wake.wait()
        except TimeoutError:
            if self._loop.time() - self._heard_s > SILENCE_MAX_S:
                self._start_over()

    def _start_over(self) -> None:
        self._generation += 1
        self._requested = 0
        self._heard_s = self._loop.time()
        self._expected_delivery = None
        self._behind = True
        self._wake.set()

    def _refill(self) -> None:
        """Ask for more once half of the window is used up."""
        waiting = self._requested + len(self._buffer)
        if waiting > WINDOW // 2 or self._loop.time() < self._repull_s:
            return
        batch = WINDOW - waiting
        body = {
            "batch": batch,
            "expires": PULL_EXPIRES_S * NS_PER_S,
            "idle_heartbeat": IDLE_HEARTBEAT_S * NS_PER_S,
        }
        if self._send(
            f"{API}.CONSUMER.MSG.NEXT.{self._place}",
            json.dumps(body).encode(),
            f"{self._inbox}.{self._generation}",
        ):
            self._requested += batch
        else:
            self._repull_s = self._loop.time() + REPULL_WAIT_S

    async def _on_message(self, message: Msg) -> None:
        self._heard_s = self._loop.time()
        if not message.reply.startswith("$JS.ACK."):
            self._on_status(message)
            return
        tokens = message.reply.split(".")
        assert len(tokens) == _ACK_TOKENS, f"expected {_ACK_TOKENS} tokens in {message.reply}"
        sequence, delivery = int(tokens[5]), int(tokens[6])
        if self._expected_delivery not in (None, delivery):
            self._behind = True
        self._expected_delivery = delivery + 1
        self._requested = max(0, self._requested - 1)
        stored = Stored(message.subject, sequence, message.data)
        self._buffer.append(_Delivered(stored, message.reply))
        self._wake.set()

    def _on_status(self, message: Msg) -> None:
        headers = message.headers or {}
        status = headers.get("Status")
        if status == "100" or message.subject.rpartition(".")[2] != str(self._generation):
            return
        description = headers.get("Description", "")
        if status == "409" and "Consumer Deleted" in description:
            self._unacknowledged.append(([_failed(self._gone())], ()))
            self._more_to_acknowledge.set()
            return
        if status in ("408", "409") and "Nats-Pending-Messages" in headers:
            pending = int(headers["Nats-Pending-Messages"])
            self._requested = max(0, self._requested - pending)
        else:
            self._requested = 0
        if status == "503":  # nobody answers for this durable: is it still there?
            self._behind = True
        if status != "408":  # not merely over its time: no leader, no server yet
            self._repull_s = self._loop.time() + REPULL_WAIT_S
            self._loop.call_later(REPULL_WAIT_S, self._wake.set)
        self._wake.set()

    async def _catch_up(self) -> None:
        """Hand over what the stream holds beyond the last handled message."""
        self._behind = False
        try:
            await self._info()  # the word that it was deleted may have been lost
            await self._check_history()
            missed, through = await self._missed()
        except BusUnavailable:
            if self._client.is_closed:
                raise
            self._behind = True  # gone again meanwhile; the runner's probe limits how long
            return
        self._hand_over(missed, (), through)

    async def _missed(self) -> tuple[list[Stored], int]:
        """Return what is ours above the last handled message, and how far that goes."""
        durable, after = self._durable, self._handled_through
        if durable.conflated:
            newest = await self._reader.last_per_subject(durable.stream, list(durable.subjects))
            missed = [stored for stored in newest if stored.sequence > after]
            return missed, max([after, *(stored.sequence for stored in missed)])
        found = await self._reader.read(durable.stream, after, READ_BACK_BATCH)
        if len(found) == READ_BACK_BATCH:
            self._behind = True
        missed = [s for s in found if any(matches(p, s.subject) for p in durable.subjects)]
        return missed, found[-1].sequence if found else after

    async def _check_history(self) -> None:
        """Notice a stream that went back: a crash lost what it had not yet written.

        Sequences are then given a second time. Where only the newest counts, start over with
        it; where each message counts, an acknowledged one is lost and nobody may go on.
        """
        last = self._last_handled
        if last is None or self._handled_through != last.sequence:
            return
        found = await self._reader.read(self._durable.stream, last.sequence - 1, 1)
        if found and found[0] == last:
            return
        if not self._durable.conflated:
            if found and found[0].sequence > last.sequence:
                return  # its time was up
            raise BusMismatch(
                f"stream {self._durable.stream}: expected message {last.sequence} as it was"
                " handled before, it is gone or another; restore the stream before going on"
            )
        self._handled_through = 0
        self._last_handled = None

    def _deliver_buffered(self) -> None:
        count = min(len(self._buffer), BATCH_MAX)
        batch = [self._buffer.popleft() for _ in range(count)]
        fresh = {
            delivered.stored.sequence: delivered.stored
            for delivered in batch
            if delivered.stored.sequence > self._handled_through
        }
        if self._durable.conflated:  # acknowledging the last one acknowledges all before it
            newest = max(batch, key=lambda delivered: delivered.stored.sequence)
            replies = [newest.reply]
        else:
            replies = [delivered.reply for delivered in batch]
        self._hand_over(
            [fresh[sequence] for sequence in sorted(fresh)], replies, max(fresh, default=0)
        )

    def _hand_over(self, messages: list[Stored], replies: Sequence[str], through: int) -> None:
        outcome: Sequence[Awaitable[int]] = ()
        if messages:
            self._last_handled = messages[-1]
            outcome = self._handler(conflate(messages) if self._durable.conflated else messages)
        self._handled_through = max(through, self._handled_through)
        if outcome or replies:
            self._unacknowledged.append((outcome, replies))
            self._more_to_acknowledge.set()

    async def _acknowledge(self) -> None:
        """Acknowledge batch after batch, each once what its handler returned is done."""
        while True:
            if not self._unacknowledged:
                self._more_to_acknowledge.clear()
                await self._more_to_acknowledge.wait()
            outcome, replies = self._unacknowledged[0]
            for awaitable in outcome:
                await awaitable
            for reply in replies:
                self._send(reply, b"")
            self._unacknowledged.popleft()
            self._wake.set()

    def _send(self, subject: str, data: bytes, reply: str = "") -> bool:
        """Send without an answer; what is lost with the connection comes again."""
        try:
            run_now(self._client.publish(subject, data, reply=reply))
        except nats.errors.Error:
            return False
        return True

    async def _acknowledged_through(self) -> int:
        """Return the stream sequence up to which this durable has acknowledged everything."""
        info = await self._info()
        if "error" in info:
            raise BusError(f"durable {self._durable.name}: {info['error']}")
        return int(info["ack_floor"]["stream_seq"])

    async def _info(self) -> dict[str, Any]:
        """Return what the server says of this durable; raise BusMismatch if it has none."""
        info = await self._reader.info(f"CONSUMER.INFO.{self._place}")
        if info.get("error", {}).get("err_code") == CODE_CONSUMER_NOT_FOUND:
            raise self._gone()
        return info

    def _gone(self) -> BusMismatch:
        return BusMismatch(
            f"durable {self._durable.name}: expected it on stream {self._durable.stream},"
            " it is not there; run provision"
        )


def _failed(error: BusError) -> asyncio.Future[int]:
    future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    future.set_exception(error)
    return future
