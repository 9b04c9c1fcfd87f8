"""Read streams back without a consumer: batched direct gets (NATS ADR-31)."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg

from libs.common.bus import BusError, BusUnavailable, KeyValue, Stored
from libs.common.jetstream import API, bucket_stream, key_subject

TRY_TIMEOUT_S = 3.0
BUDGET_S = 10.0
RETRY_WAIT_S = 0.1
BATCH_BYTES_MAX = 8 << 20
SCAN_BATCH = 1_000

_END = "204"
_NOT_FOUND = "404"
_TOO_MANY = "413"
_NO_RESPONDERS = "503"


Refusal = Callable[[str], BusError]
"""Make the error for a subject that the server does not let us use."""


class _Again(Exception):
    """The connection went away under the question."""


class _TooManySubjects(Exception):
    """More subjects than one answer may hold; the stream has to be walked."""


class _Answer:
    """What has come so far for one request; it must come in one piece and in order."""

    def __init__(self, subject: str, single: bool) -> None:
        self.subject = subject
        self.single = single
        self.messages: list[Msg] = []
        self.done: asyncio.Future[Msg] = asyncio.get_running_loop().create_future()

    def add(self, message: Msg) -> None:
        if self.done.done():
            return
        if message.headers is not None and "Status" in message.headers:
            self.done.set_result(message)
            return
        self.messages.append(message)
        if self.single:
            self.done.set_result(message)

    def fail(self, error: Exception) -> None:
        if not self.done.done():
            self.done.set_exception(error)

    def whole(self) -> bool:
        """Say whether no message between the first and the end is missing."""
        previous = 0
        for message in self.messages:
            if int(_header(message, "Nats-Last-Sequence", "0")) != previous:
                return False
            previous = _sequence(message)
        end = self.done.result()
        return int(_header(end, "Nats-Last-Sequence", str(previous))) == previous


class DirectReader:
    """Ask for stored messages and wait for the batch."""

    def __init__(self, client: Client, inbox: str) -> None:
        self._client = client
        self._inbox = inbox
        self._count = 0
        self._answers: dict[int, _Answer] = {}

    async def start(self) -> None:
        """Listen for answers."""
        await self._client.subscribe(f"{self._inbox}.*", cb=self._on_message)

    def refuse(self, subject: str, reason: Refusal) -> None:
        """Fail what waits on a subject (in small letters) that we may not ask."""
        for answer in self._answers.values():
            if answer.subject.lower() == subject:
                answer.fail(reason(answer.subject))

    def ask_again(self) -> None:
        """Send all questions again: the answers died with the connection."""
        for answer in self._answers.values():
            answer.fail(_Again())

    def fail_all(self) -> None:
        """Give up on everything: nobody will hear the answers."""
        for answer in self._answers.values():
            answer.fail(BusUnavailable(f"{answer.subject}: the connection was closed"))

    async def info(self, subject: str) -> dict[str, Any]:
        """Return the answer of a JetStream information request."""
        messages, end = await self._ask(f"{API}.{subject}", b"", single=True)
        if not messages:
            raise BusError(f"{subject}: expected an answer, got {end.headers}")
        answer: dict[str, Any] = json.loads(messages[0].data)
        return answer

    async def read(self, stream: str, after: int, limit: int) -> list[Stored]:
        """Return up to `limit` messages above `after`, fewer only at the stream's end."""
        found = await self._walk(stream, {}, after, limit)
        return [_stored(message) for message in found]

    async def last_per_subject(self, stream: str, subject_filters: list[str]) -> list[Stored]:
        """Return the newest message of each matching subject, in sequence order."""
        try:
            messages = await self._multi_last(stream, subject_filters)
        except _TooManySubjects:
            newest: dict[str, Msg] = {}
            for subject_filter in subject_filters:
                body = {"next_by_subj": subject_filter}
                for message in await self._walk(stream, body, 0, None):
                    newest[_header(message, "Nats-Subject")] = message
            messages = sorted(newest.values(), key=_sequence)
        return [_stored(message) for message in messages]

    async def find(self, stream: str, subject: str, message_id: str, after: int) -> int | None:
        """Return the sequence above `after` that holds a message id, None if none does."""
        for message in await self._walk(stream, {"next_by_subj": subject}, after, None):
            if _header(message, "Nats-Msg-Id", "") == message_id:
                return _sequence(message)
        return None

    async def get(self, bucket: str, key: str) -> KeyValue | None:
        """Return a key's value, None if it has none."""
        subject = f"{API}.DIRECT.GET.{bucket_stream(bucket)}.{key_subject(bucket, key)}"
        messages, end = await self._ask(subject, b"", single=True)
        if not messages:
            _expect(end, _NOT_FOUND)
            return None
        if _header(messages[0], "KV-Operation", "") in ("DEL", "PURGE"):
            return None
        return KeyValue(messages[0].data, _sequence(messages[0]))

    async def _walk(
        self, stream: str, body: dict[str, Any], after: int, limit: int | None
    ) -> list[Msg]:
        found: list[Msg] = []
        while limit is None or len(found) < limit:
            batch = SCAN_BATCH if limit is None else min(limit - len(found), SCAN_BATCH)
            ask = body | {"seq": after + 1, "batch": batch, "max_bytes": BATCH_BYTES_MAX}
            messages, end = await self._ask_stream(stream, ask)
            if _header(end, "Status") == _NOT_FOUND:
                break
            _expect(end, _END)
            found += messages
            if not messages or int(_header(end, "Nats-Num-Pending", "0")) == 0:
                break
            after = _sequence(messages[-1])
        return found

    async def _multi_last(self, stream: str, subject_filters: list[str]) -> list[Msg]:
        found: list[Msg] = []
        body: dict[str, Any] = {"multi_last": subject_filters, "max_bytes": BATCH_BYTES_MAX}
        while True:
            messages, end = await self._ask_stream(stream, body)
            status = _header(end, "Status")
            if status == _TOO_MANY:
                raise _TooManySubjects
            if status == _NOT_FOUND:
                return found
            _expect(end, _END)
            found += messages
            if not messages or int(_header(end, "Nats-Num-Pending", "0")) == 0:
                return found
            body["seq"] = _sequence(messages[-1]) + 1
            body["up_to_seq"] = int(_header(end, "Nats-UpTo-Sequence"))

    async def _ask_stream(self, stream: str, body: dict[str, Any]) -> tuple[list[Msg], Msg]:
        return await self._ask(f"{API}.DIRECT.GET.{stream}", json.dumps(body).encode())

    async def _ask(
        self, subject: str, body: bytes, *, single: bool = False
    ) -> tuple[list[Msg], Msg]:
        """Return the messages and what ended them; reading twice does no harm, so try again."""
        loop = asyncio.get_running_loop()
        give_up_s = loop.time() + BUDGET_S
        why = "not asked"
        while loop.time() < give_up_s:
            self._count += 1
            number = self._count
            answer = self._answers[number] = _Answer(subject, single)
            try:
                await self._client.publish(subject, body, reply=f"{self._inbox}.{number}")
                # Not wait_for: on 3.11 it forgets a cancellation that comes with the answer.
                async with asyncio.timeout(TRY_TIMEOUT_S):
                    end = await asyncio.shield(answer.done)
                status = (end.headers or {}).get("Status")
                if status != _NO_RESPONDERS and (single or answer.whole()):
                    return answer.messages, end
                why = "nobody answers" if status == _NO_RESPONDERS else "parts were missing"
            except TimeoutError:
                why = f"no answer in {TRY_TIMEOUT_S:g} s"
                continue
            except _Again:
                why = "the connection was lost"
            except nats.errors.Error as error:
                if self._client.is_closed:
                    raise BusUnavailable(f"{subject}: the connection is closed") from error
                why = "not connected"
            finally:
                del self._answers[number]
            await asyncio.sleep(RETRY_WAIT_S)
        raise BusUnavailable(f"{subject}: {why}, given up after {BUDGET_S:g} s")

    async def _on_message(self, message: Msg) -> None:
        answer = self._answers.get(int(message.subject.rpartition(".")[2]))
        if answer is not None:
            answer.add(message)


def _expect(end: Msg, status: str) -> None:
    if _header(end, "Status") != status:
        raise BusError(f"direct get: expected status {status}, got {end.headers}")


def _stored(message: Msg) -> Stored:
    return Stored(_header(message, "Nats-Subject"), _sequence(message), message.data)


def _sequence(message: Msg) -> int:
    return int(_header(message, "Nats-Sequence"))


def _header(message: Msg, name: str, default: str | None = None) -> str:
    value = (message.headers or {}).get(name, default)
    if value is None:
        raise BusError(f"direct get: expected header {name}, got {message.headers}")
    return value
