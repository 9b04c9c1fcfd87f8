"""The broker's lease: a key with a time to live that says who is alive. Liveness only.

Safety is the fence on every write (`BrokerEpoch`): two brokers may think that they hold the
lease, but only the one whose epoch is the newest can publish an intent.
"""

import asyncio
from collections.abc import Awaitable, Callable

import msgspec
from msgspec import Struct

from libs.common.bus import Bus, BusError, RevisionMismatch
from libs.common.logs import Logger
from libs.common.topology import LEASE_KEY

BUCKET = "lease"
HELD_SHARE = 0.8
"""For so much of its time to live after a renewal the lease is surely ours."""


class Holder(Struct, frozen=True):
    """Who holds the lease. `place` is the same for a process and its successor after a restart."""

    place: str
    instance: str


class LeaseLost(Exception):
    """Another broker holds the lease, or we could not renew it in time."""


class Lease:
    """Take the lease, renew it, notice its loss."""

    def __init__(
        self, bus: Bus, log: Logger, holder: Holder, *, ttl_s: float, every_s: float
    ) -> None:
        self._bus = bus
        self._log = log
        self._data = msgspec.json.encode(holder)
        self._holder = holder
        self._ttl_s = ttl_s
        self._every_s = every_s
        self._revision = 0
        self._renewed_s = -1e9

    @property
    def held(self) -> bool:
        """Tell whether the lease is surely ours now: renewed well within its time to live."""
        return asyncio.get_running_loop().time() - self._renewed_s < HELD_SHARE * self._ttl_s

    async def take(self, stand_by: Callable[[bool], Awaitable[None]]) -> None:
        """Wait until the lease is free, or was our predecessor's in this very place, and take it.

        A predecessor on our admin port is dead, or we could not have opened it. `stand_by` is
        told when we begin to wait for another broker, and when that is over.
        """
        told = ""
        while True:
            known = await self._bus.get(BUCKET, LEASE_KEY)
            owner = _read(known.data) if known else None
            if owner is None or owner.place == self._holder.place:
                started_s = asyncio.get_running_loop().time()
                try:
                    self._revision = await self._bus.put(
                        BUCKET, LEASE_KEY, self._data, revision=known.revision if known else 0
                    )
                except RevisionMismatch:
                    continue
                self._renewed_s = started_s
                await stand_by(False)
                return
            if told != owner.instance:
                told = owner.instance
                self._log.info("standing by", lease_of=owner.instance)
                await stand_by(True)
            await asyncio.sleep(self._every_s / 2)

    async def keep(self, doubtful: Callable[[str], None]) -> None:
        """Renew until the lease is lost, then raise LeaseLost.

        `doubtful` is called when a renewal fails, while the lease may still be ours.
        """
        while True:
            await asyncio.sleep(self._every_s)
            started_s = asyncio.get_running_loop().time()
            try:
                async with asyncio.timeout(self._every_s):
                    self._revision = await self._bus.put(
                        BUCKET, LEASE_KEY, self._data, revision=self._revision
                    )
            except RevisionMismatch:
                if not await self._is_ours():
                    raise LeaseLost("another broker took the lease") from None
            except (BusError, TimeoutError) as error:
                if not self.held:
                    raise LeaseLost(f"the lease could not be renewed: {error}") from None
                doubtful(f"lease not renewed: {error}")
            else:
                self._renewed_s = started_s

    async def _is_ours(self) -> bool:
        """Tell whether the key still names us: an answer may have been lost, or it ran out."""
        known = await self._bus.get(BUCKET, LEASE_KEY)
        if known is None:
            self._revision = 0
            return self.held
        self._revision = known.revision
        return known.data == self._data


def _read(data: bytes) -> Holder:
    try:
        return msgspec.json.decode(data, type=Holder)
    except msgspec.DecodeError:
        return Holder("", "unreadable")
