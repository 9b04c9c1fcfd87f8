"""Clocks: all code takes one, so a trading day can run live, scaled or by hand."""

import asyncio
import time
from typing import Protocol

from msgspec import Struct

from libs.domain.eastern import NS_PER_S as NS_PER_S

LOOK_AGAIN_S = 0.5
"""Who sleeps looks at the clock this often, in real time: it may be set meanwhile."""


class Clock(Protocol):
    """Tell UTC time in integer nanoseconds since the epoch, and wait in that time."""

    def now_ns(self) -> int:
        """Return the present time."""
        ...

    def steady_ns(self) -> int:
        """Return how far this clock ran since some moment, unmoved by whoever sets it."""
        ...

    async def sleep_until(self, at_ns: int) -> None:
        """Return once `now_ns() >= at_ns`; at once if that is past."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait for that many seconds of this clock's time."""
        ...


class ClockSpec(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Say which clock every process of one run shares.

    With `rate` 1 and no anchor it is the system's own time. Otherwise the clock shows
    `virtual_anchor_ns` when the system shows `wall_anchor_ns` and runs `rate` times as fast.
    """

    rate: float = 1.0
    wall_anchor_ns: int | None = None
    virtual_anchor_ns: int | None = None

    def __post_init__(self) -> None:
        if not 0.01 <= self.rate <= 10_000:
            raise ValueError(f"clock rate: expected 0.01 to 10000, got {self.rate}")
        if (self.wall_anchor_ns is None) != (self.virtual_anchor_ns is None):
            raise ValueError("clock: expected both anchors or none")
        if self.rate != 1.0 and self.wall_anchor_ns is None:
            raise ValueError("clock: a scaled rate needs both anchors")

    def build(self) -> "Clock":
        """Return the clock that this specification describes."""
        if self.wall_anchor_ns is None or self.virtual_anchor_ns is None:
            return SystemClock()
        return ScaledClock(self.wall_anchor_ns, self.virtual_anchor_ns, self.rate)


class SystemClock:
    """The operating system's UTC time."""

    rate = 1.0

    def now_ns(self) -> int:
        return time.time_ns()

    def steady_ns(self) -> int:
        return time.monotonic_ns()

    async def sleep_until(self, at_ns: int) -> None:
        while (left_ns := at_ns - time.time_ns()) > 0:
            await asyncio.sleep(min(left_ns / NS_PER_S, LOOK_AGAIN_S))

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class ScaledClock:
    """Virtual time that runs `rate` times as fast as the system's, the same in all processes."""

    def __init__(self, wall_anchor_ns: int, virtual_anchor_ns: int, rate: float) -> None:
        self.wall_anchor_ns = wall_anchor_ns
        self.virtual_anchor_ns = virtual_anchor_ns
        self.rate = rate

    def now_ns(self) -> int:
        elapsed_ns = time.time_ns() - self.wall_anchor_ns
        return self.virtual_anchor_ns + int(elapsed_ns * self.rate)

    def steady_ns(self) -> int:
        return int(time.monotonic_ns() * self.rate)

    async def sleep_until(self, at_ns: int) -> None:
        while (left_ns := at_ns - self.now_ns()) > 0:
            await asyncio.sleep(min(left_ns / self.rate / NS_PER_S, LOOK_AGAIN_S))

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds / self.rate)


class ManualClock:
    """Time that moves only when told to; sleepers wake in order of their wake-up time."""

    rate = 1.0

    def __init__(self, start_ns: int = 0) -> None:
        self._now_ns = start_ns
        self._sleepers: list[tuple[int, int, asyncio.Future[None]]] = []
        self._count = 0

    def now_ns(self) -> int:
        return self._now_ns

    def steady_ns(self) -> int:
        return self._now_ns

    async def sleep_until(self, at_ns: int) -> None:
        if at_ns <= self._now_ns:
            return
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._count += 1
        self._sleepers.append((at_ns, self._count, woken))
        await woken

    async def sleep(self, seconds: float) -> None:
        await self.sleep_until(self._now_ns + round(seconds * NS_PER_S))

    async def advance_to(self, at_ns: int) -> None:
        """Move time forward to `at_ns`, waking each sleeper at its own time on the way."""
        assert at_ns >= self._now_ns, f"time runs forward: {at_ns} is before {self._now_ns}"
        await self._settle()
        while due := [sleeper for sleeper in self._sleepers if sleeper[0] <= at_ns]:
            sleeper = min(due)
            self._sleepers.remove(sleeper)
            self._now_ns = max(self._now_ns, sleeper[0])
            if not sleeper[2].done():
                sleeper[2].set_result(None)
            await self._settle()
        self._now_ns = at_ns

    @staticmethod
    async def _settle() -> None:
        for _ in range(10):
            await asyncio.sleep(0)
