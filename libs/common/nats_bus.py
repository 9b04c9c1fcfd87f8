"""The message bus over NATS JetStream; the pitfalls it stands against are in jetstream.md."""

import asyncio
import logging
import re
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg

from libs.common.bus import (
    BusError,
    BusMismatch,
    BusUnavailable,
    Fence,
    FenceRefused,
    Handler,
    KeyValue,
    PublishRefused,
    RevisionMismatch,
    Stored,
)
from libs.common.jetstream import (
    MIN_SERVER_VERSION,
    bucket_stream,
    differences,
    durable_config,
    key_subject,
    stream_config,
)
from libs.common.nats_config import inbox_prefix, streams_seen_by
from libs.common.nats_connection import (
    CONNECT_TIMEOUT_S,
    RECONNECT_WAIT_S,
    connect_client,
    is_refusal,
)
from libs.common.nats_consumer import DurableConsumer
from libs.common.nats_publisher import BUDGET_S, Publisher
from libs.common.nats_reader import DirectReader
from libs.common.topology import Durable, Service, durables_of, stream_named, stream_of_subject

ROUND_TRIP_TIMEOUT_S = 10.0
PING_ABANDONED_S = 3_600
CLOSE_TIMEOUT_S = 5.0
ANSWERING_MAX = 64

_log = logging.getLogger(__name__)
_VIOLATION = re.compile(r'permissions violation for (publish|subscription) to "([^"]*)"', re.I)


class NatsBus:
    """A service's connection; build it with `NatsBus.connect`.

    `fatal` gets the error that makes the connection useless: closed by the other side,
    refused rights, dropped messages. The process is to end then, and to start anew.
    """

    def __init__(self, service: Service, budget_s: float) -> None:
        self.service = service
        self.fatal: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.fatal.add_done_callback(lambda future: future.cancelled() or future.exception())
        self._inbox = f"{inbox_prefix(service)}.{uuid.uuid4().hex}"
        self._consumers: set[DurableConsumer] = set()
        self._consumer_count = 0
        self._answering: set[asyncio.Task[None]] = set()
        self._pings: set[asyncio.Task[None]] = set()
        self._closing = True  # nothing is fatal before the first connection
        self._client = Client()
        self._reader = DirectReader(self._client, f"{self._inbox}.read")
        self._publisher = Publisher(
            self._client, f"{self._inbox}.publish", self._find_stored, budget_s=budget_s
        )

    @classmethod
    async def connect(
        cls,
        url: str,
        service: Service,
        password: str,
        *,
        budget_s: float = BUDGET_S,
        timeout_s: float = CONNECT_TIMEOUT_S,
    ) -> "NatsBus":
        """Return a connected bus; raise BusUnavailable. `url` may list servers with commas.

        `budget_s` is how long a publish is retried before it counts as unknown, `timeout_s`
        how long the first connection may take.
        """
        bus = cls(service, budget_s)
        await connect_client(
            url,
            service,
            password,
            client=bus._client,
            on_error=bus._on_error,
            on_disconnected=bus._on_disconnected,
            on_reconnected=bus._on_reconnected,
            on_closed=bus._on_closed,
            timeout_s=timeout_s,
        )
        bus._closing = False
        await bus._reader.start()
        await bus._publisher.start()
        return bus

    @property
    def in_flight(self) -> int:
        """Return how many publishes are not acknowledged yet."""
        return self._publisher.in_flight

    @property
    def connected(self) -> bool:
        """Say whether the connection stands at the moment."""
        return self._client.is_connected

    def publish(
        self, subject: str, data: bytes, *, message_id: str, fence: Fence | None = None
    ) -> asyncio.Future[int]:
        """Send now, in call order; see `Bus.publish`."""
        return self._publisher.publish(subject, data, message_id, fence)

    async def consume(self, durable: Durable, handler: Handler) -> None:
        """Deliver the durable's messages until cancelled or closed; see `Bus.consume`."""
        if durable.service is not self.service:
            raise BusError(f"durable {durable.name}: it is not {self.service.value}'s")
        self._consumer_count += 1
        inbox = f"{self._inbox}.pull{self._consumer_count}"
        consumer = DurableConsumer(self._client, inbox, durable, handler, self._reader)
        self._consumers.add(consumer)
        try:
            await consumer.run()
        finally:
            self._consumers.discard(consumer)

    async def read(self, stream: str, after: int, limit: int = 1_000) -> list[Stored]:
        """Return up to `limit` messages with a sequence above `after`, in order."""
        return await self._reader.read(stream, after, limit)

    async def last_per_subject(self, stream: str, subject_filter: str) -> list[Stored]:
        """Return the newest message of each subject that matches, in sequence order."""
        return await self._reader.last_per_subject(stream, [subject_filter])

    async def get(self, bucket: str, key: str) -> KeyValue | None:
        """Return the value of a key, None if it has none; may be stale on a replica."""
        return await self._reader.get(bucket, key)

    async def put(self, bucket: str, key: str, data: bytes, *, revision: int) -> int:
        """Write a key by compare-and-set; see `Bus.put`."""
        subject = key_subject(bucket, key)
        fence = Fence(subject, revision)
        message_id = uuid.uuid4().hex
        try:
            return await self.publish(subject, data, message_id=message_id, fence=fence)
        except FenceRefused as error:
            raise RevisionMismatch(
                f"{bucket}/{key}: expected revision {revision}, somebody wrote it since"
            ) from error

    async def request(self, subject: str, data: bytes, timeout_s: float) -> bytes:
        """Ask and return the answer; raise TimeoutError when none comes."""
        try:
            return (await self._client.request(subject, data, timeout=timeout_s)).data
        except nats.errors.Error as error:
            raise TimeoutError(
                f"request {subject}: expected an answer within {timeout_s:g} s, got {error!r}"
            ) from error

    async def serve(self, subject: str, answer: Callable[[bytes], Awaitable[bytes]]) -> None:
        """Answer requests on a subject from now on."""

        async def reply_to(message: Msg) -> None:
            try:
                await self._client.publish(message.reply, await answer(message.data))
            except nats.errors.Error as error:
                _log.warning("no answer sent on %s: %r", subject, error)

        async def take(message: Msg) -> None:
            if not message.reply or len(self._answering) >= ANSWERING_MAX:
                return  # who asks hears nothing, and asks again
            task = asyncio.create_task(reply_to(message))
            self._answering.add(task)
            task.add_done_callback(self._on_answered)

        await self._client.subscribe(subject, cb=take)
        await self.round_trip()

    async def backlog(self, durable: Durable) -> int:
        """Return how many messages of the durable are not acknowledged yet."""
        place = f"CONSUMER.INFO.{durable.stream}.{durable.name}"
        info = await self._info(place)
        return int(info["num_pending"]) + int(info["num_ack_pending"])

    async def stored_bytes(self, stream: str) -> int:
        """Return how much a stream holds."""
        return int((await self._info(f"STREAM.INFO.{stream}"))["state"]["bytes"])

    async def round_trip(self) -> None:
        """Return when the server has answered a ping; raise TimeoutError otherwise."""
        async with asyncio.timeout(ROUND_TRIP_TIMEOUT_S):
            await asyncio.sleep(0)  # what nats-py has buffered goes out before its ping
            while not self._client.is_closed:
                if self._client.is_connected:
                    # Never cancelled while connected: a late pong to a cancelled ping would
                    # end nats-py's read loop.
                    ping = asyncio.create_task(self._client.flush(PING_ABANDONED_S))
                    self._pings.add(ping)
                    ping.add_done_callback(self._pings.discard)
                    await asyncio.wait((ping,))
                    if not ping.cancelled() and ping.exception() is None:
                        return
                await asyncio.sleep(RECONNECT_WAIT_S)
        raise TimeoutError("NATS: the connection is closed")

    async def verify(self) -> None:
        """Raise BusMismatch unless the server, streams and durables are the topology's."""
        version = self._client.connected_server_version
        wrong: list[str] = []
        if (version.major, version.minor) < MIN_SERVER_VERSION:
            wanted = ".".join(map(str, MIN_SERVER_VERSION))
            wrong.append(f"nats-server: expected {wanted} or newer, found {version}")
        for name in streams_seen_by(self.service):
            found = await self._config(f"STREAM.INFO.{name}", f"stream {name}", wrong)
            if found:
                replicas = found.get("num_replicas", 1)
                expected = stream_config(stream_named(name), replicas)
                wrong += differences(f"stream {name}", expected, found)
        for durable in durables_of(self.service):
            place = f"{durable.stream}.{durable.name}"
            found = await self._config(f"CONSUMER.INFO.{place}", f"durable {durable.name}", wrong)
            if found:
                wrong += differences(f"durable {durable.name}", durable_config(durable), found)
        if wrong:
            raise BusMismatch("; ".join(wrong) + "; run provision")

    async def close(self) -> None:
        """Send what is waiting, then let go of the connection."""
        if self._closing:
            return
        self._closing = True
        for consumer in self._consumers:
            consumer.stop()
        if self._client.is_connected:
            await self._publisher.settled(CLOSE_TIMEOUT_S)
        self._publisher.fail_all()
        self._reader.fail_all()
        await self._client.close()
        for task in self._answering | self._pings:
            task.cancel()
        if not self.fatal.done():
            self.fatal.cancel()

    async def _config(self, subject: str, what: str, wrong: list[str]) -> dict[str, Any]:
        body = await self._reader.info(subject)
        if "error" in body:
            wrong.append(f"{what}: {body['error'].get('description')}")
            return {}
        config: dict[str, Any] = body["config"]
        return config

    async def _info(self, subject: str) -> dict[str, Any]:
        body = await self._reader.info(subject)
        if "error" in body:
            raise BusError(f"{subject}: {body['error'].get('description', body['error'])}")
        return body

    async def _find_stored(self, subject: str, message_id: str, after: int) -> int | None:
        if subject.startswith("$KV."):
            stream = bucket_stream(subject.split(".")[1])
        else:
            stream = stream_of_subject(subject)
        return await self._reader.find(stream, subject, message_id, after)

    def _fail(self, error: BusError) -> None:
        if not self.fatal.done() and not self._closing:
            _log.error("%s", error)
            self.fatal.set_exception(error)

    def _on_error(self, error: Exception) -> None:
        violation = _VIOLATION.search(str(error))
        if violation is not None:
            kind, subject = violation[1].lower(), violation[2].lower()  # as nats-py tells it

            def refused(subject: str) -> PublishRefused:
                return PublishRefused(
                    f"NATS refused {self.service.value} the {kind} to {subject};"
                    " the topology gives this service no right to it"
                )

            self._publisher.refuse(subject, refused)
            self._reader.refuse(subject, refused)
            self._fail(refused(subject))
        elif isinstance(error, nats.errors.SlowConsumerError):
            self._fail(BusError(f"NATS: messages were dropped unread on {error.subject}"))
        elif is_refusal(error):
            self._fail(BusUnavailable(f"NATS refuses user {self.service.value!r} now: {error}"))
        elif isinstance(error, nats.errors.Error | OSError | TimeoutError):
            _log.warning("NATS: %r", error)
        else:  # nats-py reports here what our own callbacks raise
            self._fail(BusError(f"a callback of the bus failed: {error!r}"))

    def _on_disconnected(self) -> None:
        self._publisher.hold()
        self._reader.ask_again()
        for ping in self._pings:
            ping.cancel()
        # What nats-py has buffered would be sent after the reconnect, when its publisher may
        # long have given up: a ghost. The publisher sends what is still wanted itself.
        self._client._pending.clear()
        self._client._pending_data_size = 0

    def _on_reconnected(self) -> None:
        self._publisher.resume()
        for consumer in self._consumers:
            consumer.on_reconnected()

    def _on_closed(self) -> None:
        self._fail(BusUnavailable("NATS: the connection was closed"))

    def _on_answered(self, task: asyncio.Task[None]) -> None:
        self._answering.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("a request could not be answered: %r", error)
