"""The bus of a driven run over NATS: each service publishes and reads as its own user.

One message at a time, acknowledged before the next: what the order of things is, the schedule
says. So it proves what the server and the encoding do to the messages, not how fast they are.
"""

import asyncio
import threading
from collections.abc import Coroutine, Mapping
from typing import Any, TypeVar

from libs.common.bus import BusError, Fence
from libs.common.messages import Message, decode
from libs.common.nats_bus import NatsBus
from libs.common.topology import Service

ANSWER_S = 30.0
Result = TypeVar("Result")


class NatsCarrier:
    """A connection per service, on a loop of its own in another thread."""

    def __init__(self, url: str, passwords: Mapping[Service, str]) -> None:
        """Connect. Raises BusError."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="nats", daemon=True)
        self._thread.start()
        self._buses: dict[Service, NatsBus] = {}
        try:
            for service, password in passwords.items():
                self._buses[service] = self._wait(NatsBus.connect(url, service, password))
        except BusError:
            self.close()
            raise

    def publish(
        self, service: Service, subject: str, data: bytes, message_id: str, fence: Fence | None
    ) -> int:
        async def stored() -> int:
            bus = self._buses[service]
            return await bus.publish(subject, data, message_id=message_id, fence=fence)

        return self._wait(stored())

    def fetch(self, reader: Service, stream: str, sequence: int, message: Message) -> Message:
        del message
        (stored,) = self._wait(self._buses[reader].read(stream, sequence - 1, 1))
        if stored.sequence != sequence:
            raise BusError(f"{stream}: expected message {sequence}, found {stored.sequence}")
        return decode(stored.data)

    def close(self) -> None:
        """Close every connection and end the thread."""
        for bus in self._buses.values():
            self._wait(bus.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _wait(self, work: Coroutine[Any, Any, Result]) -> Result:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(ANSWER_S)
