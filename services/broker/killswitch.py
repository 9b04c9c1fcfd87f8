"""The kill switch in the KV bucket `control`. What can't be read is on; so is what is absent."""

import asyncio
from collections.abc import Callable

import msgspec

from libs.common.bus import Bus, BusError, KeyValue, RevisionMismatch
from libs.common.clock import Clock
from libs.common.kill_switch import BUCKET, KillSwitchUnreadable, decode_kill_switch
from libs.common.messages import KillSwitch
from libs.common.topology import KILL_SWITCH_KEY

WRITE_TRIES = 5
READ_ONCE_S = 1.0


async def engage_once(bus: Bus, clock: Clock, reason: str, by: str) -> None:
    """Store the engagement, for who keeps no switch. Raises BusError or TimeoutError."""
    keeper = KillSwitchKeeper(
        bus, clock, lambda _: None, every_s=1.0, age_s_max=1.0, read_s_max=READ_ONCE_S
    )
    await keeper.engage(reason, by)


class KillSwitchKeeper:
    """Read the switch again and again, write it for operators, tell of each change.

    An engagement through us holds in this process from the first moment, before it is stored.
    """

    def __init__(
        self,
        bus: Bus,
        clock: Clock,
        changed: Callable[[KillSwitch], None],
        *,
        every_s: float,
        age_s_max: float,
        read_s_max: float,
    ) -> None:
        self._bus = bus
        self._clock = clock
        self._changed = changed
        self._every_s = every_s
        self._age_s_max = age_s_max
        self._read_s_max = read_s_max
        self._read_at_s = -1e9
        self._told: KillSwitch | None = None
        self._holding = 0
        self.state = self._engaged("not read yet", "broker")

    @property
    def engaged(self) -> bool:
        """Tell whether writes must stop: engaged, or not read for too long."""
        age_s = asyncio.get_running_loop().time() - self._read_at_s
        return self.state.engaged or self._holding > 0 or age_s > self._age_s_max

    async def run(self) -> None:
        """Read until cancelled."""
        while True:
            await self.read()
            await asyncio.sleep(self._every_s)

    async def read(self) -> bool:
        """Read the switch once; tell whether that worked. Too long without counts as engaged."""
        try:
            state, _ = await self._get()
        except (BusError, TimeoutError) as error:
            age_s = asyncio.get_running_loop().time() - self._read_at_s
            if age_s > self._age_s_max:
                self._tell(self._engaged(f"unreadable: {error}", "broker"))
            return False
        self._tell(state)
        return True

    async def engage(self, reason: str, by: str) -> None:
        """Engage now, then store it. Raises BusError or TimeoutError if it is not stored.

        Not stored, it still holds in this process until somebody releases it.
        """
        self._holding += 1
        state = self._engaged(reason, by)
        self._tell(state)
        await self._put(state)
        self._holding = 0
        self._tell(state)

    async def release(self, reason: str, by: str) -> None:
        """Store the release, then let go. Raises BusError or TimeoutError."""
        state = KillSwitch(engaged=False, reason=reason, by=by, at_ns=self._clock.now_ns())
        await self._put(state)
        self._holding = 0
        self._tell(state)

    def _tell(self, state: KillSwitch) -> None:
        if self._holding and not state.engaged:
            return  # an older value, while our own engagement is being stored
        self.state = state
        if self._told is None or self._told.engaged != state.engaged:
            self._told = state
            self._changed(state)

    async def _get(self) -> tuple[KillSwitch, KeyValue | None]:
        async with asyncio.timeout(self._read_s_max):
            value = await self._bus.get(BUCKET, KILL_SWITCH_KEY)
        self._read_at_s = asyncio.get_running_loop().time()
        if value is None:
            return self._engaged("never released", "broker"), None
        try:
            return decode_kill_switch(value.data), value
        except KillSwitchUnreadable as error:
            return self._engaged(str(error)[:500], "broker"), value

    async def _put(self, state: KillSwitch) -> None:
        data = msgspec.json.encode(state)
        for attempt in range(WRITE_TRIES):
            _, known = await self._get()
            try:
                async with asyncio.timeout(self._read_s_max):
                    await self._bus.put(
                        BUCKET, KILL_SWITCH_KEY, data, revision=known.revision if known else 0
                    )
            except RevisionMismatch:
                if attempt == WRITE_TRIES - 1:
                    raise
            else:
                return

    def _engaged(self, reason: str, by: str) -> KillSwitch:
        return KillSwitch(engaged=True, reason=reason, by=by, at_ns=self._clock.now_ns())
