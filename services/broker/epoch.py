"""The broker's epoch: which broker is the newest. Its message in ORDERS is the fence of each write.

The server stores what is fenced only while the newest message on the epoch's subject is the one
that the writer names. ORDERS keeps a message for so many days and no longer, and with the epoch's
message the fence would go: so a broker says its epoch again long before, fenced as any other of
its writes, on the message before. Who was deposed is refused then as well, and so is who slept
until its message had aged out: no two messages have one sequence, so at most one broker passes at
any instant.
"""

import asyncio
import contextlib
from typing import Protocol

from libs.common.bus import BusError, Fence, Stored
from libs.common.inbox import Refused, read_stored
from libs.common.messages import BrokerEpoch, Message, OrderIntent, derived_id, encode
from libs.common.runner import Context
from libs.common.topology import ORDERS_EPOCH, Service, subject_of


class Fenced(Protocol):
    """Whose writes carry the fence."""

    fence: int | None


class Epoch:
    """Take the epoch, say it again and again, notice a newer one."""

    def __init__(self, context: Context, app: Fenced, account: str, instance: str) -> None:
        self._context = context
        self._app = app
        self._account = account
        self._instance = instance
        self.number = 0

    async def take(self) -> None:
        """Write the next epoch by compare-and-set. Raises FenceRefused: another was faster."""
        known = await self._context.bus.last_per_subject("ORDERS", ORDERS_EPOCH)
        self.number = await self._last(known[-1] if known else None) + 1
        self._app.fence = await self._say(known[-1].sequence if known else 0)

    async def keep(self, every_s: float) -> None:
        """Say the epoch again before its message ages out, until another broker's is newer.

        In real time, as the server counts ages. Raises FenceRefused.
        """
        while True:
            await asyncio.sleep(every_s)
            await self._context.move_fence(self._renew)

    async def _renew(self) -> None:
        assert self._app.fence is not None, "an epoch is taken before it is kept"
        self._app.fence = await self._say(self._app.fence)

    async def is_over(self, read_s_max: float) -> bool:
        """Ask NATS whether another broker's epoch is newer. Unreadable is no.

        The newest message may be our own and not acknowledged yet.
        """
        newest: list[Stored] = []
        with contextlib.suppress(BusError, TimeoutError):
            async with asyncio.timeout(read_s_max):
                newest = await self._context.bus.last_per_subject("ORDERS", ORDERS_EPOCH)
        if not newest or newest[-1].sequence == self._app.fence:
            return False
        message = self._read(newest[-1])
        return message is None or message.epoch != self.number or message.broker != self._instance

    async def _say(self, after: int) -> int:
        """Store our epoch's message if the newest one is still that at `after`."""
        now_ns = self._context.now_ns()
        message_id = derived_id("epoch", self._instance, self.number, now_ns)
        message = BrokerEpoch(
            id=message_id,
            ts_event_ns=now_ns,
            ts_pub_ns=now_ns,
            cause_id="",
            correlation_id=message_id,
            source=Service.BROKER,
            epoch=self.number,
            broker=self._instance,
            account=self._account,
        )
        fence = Fence(ORDERS_EPOCH, after)
        return await self._context.bus.publish(
            subject_of(message), encode(message), message_id=message_id, fence=fence
        )

    def _read(self, stored: Stored) -> BrokerEpoch | None:
        """Return the epoch that a message tells, None for garbage."""
        with contextlib.suppress(Refused):
            message = read_stored(stored, self._context.now_ns())
            assert isinstance(message, BrokerEpoch), "its subject carries epochs alone"
            return message
        return None

    async def _last(self, newest: Stored | None) -> int:
        """Return the highest epoch; from the whole log when the newest message tells none.

        Whatever lies on the fence's subject moves the fence, garbage too: it must not keep a broker
        from starting. And what told the epoch may have aged out before the intents under it.
        """
        if newest is not None and (known := self._read(newest)) is not None:
            return known.epoch
        epochs = [0]

        def note(message: Message, _: int) -> None:
            if isinstance(message, BrokerEpoch | OrderIntent):
                epochs.append(message.epoch)

        await self._context.read_back("ORDERS", note)
        if newest is not None:
            self._context.log.error("no epoch where the newest should be", epoch=max(epochs))
        return max(epochs)
