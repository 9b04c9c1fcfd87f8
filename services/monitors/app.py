"""monitors as a process: all streams in, one look a second, results out as messages and metrics."""

import asyncio
from collections.abc import Sequence

from libs.common import kill_switch
from libs.common.bus import Bus, BusError
from libs.common.effects import Effect
from libs.common.messages import Message
from libs.common.metrics import Metrics
from libs.common.runner import MEASURE_EVERY_S, AppBase, Context
from libs.common.topology import STREAMS, Service
from services.monitors.config import MonitorsConfig
from services.monitors.core import MonitorsCore
from services.monitors.events import KillSwitchRead, ShowMonitor, Started

READ_TIMEOUT_S = 2.0
_NUMBER = {"OK": 0, "ALERT": 1, "NO_DATA": 2}


class MonitorsApp(AppBase):
    """Watch all services, feeds and orders; say OK, ALERT or NO_DATA."""

    service = Service.MONITORS

    def __init__(self, config: MonitorsConfig) -> None:
        self._config = config
        self.core = MonitorsCore(config.policy)
        self._context: Context | None = None

    async def recover(self, context: Context) -> None:
        """Fold our orders and fills: an order of unknown outcome is older than this process."""
        self._context = context
        for stream in ("ORDERS", "FILLS"):

            def fold(message: Message, sequence: int, stream: str = stream) -> None:
                self.core.fold(message, stream, sequence)

            await context.read_back(stream, fold)

    async def run(self, context: Context) -> None:
        """Read the kill switch every so often; all else comes over the bus or by the timer."""
        context.dispatch(Started(now_ns=context.now_ns()))
        context.spawn(_measure_streams(context), "measure streams")
        while True:
            engaged, detail = await read_kill_switch(context.bus)
            context.dispatch(
                KillSwitchRead(now_ns=context.now_ns(), engaged=engaged, detail=detail)
            )
            await context.clock.sleep(self._config.kill_switch_poll_s)

    def perform(self, effect: Effect, after: Sequence[asyncio.Future[int]]) -> None:
        context = self._context
        assert context is not None, "effects come after recovery"
        match effect:
            case ShowMonitor():
                show(effect, context.metrics)
            case _:
                super().perform(effect, after)

    def detail(self) -> str:
        return self.core.summary()


async def _measure_streams(context: Context) -> None:
    """Show how full the streams are, in real time: ORDERS and FILLS refuse when they are."""
    while True:
        for stream in STREAMS:
            try:
                stored = await context.bus.stored_bytes(stream.name)
            except (BusError, TimeoutError):
                continue
            context.metrics.stream_bytes.labels(stream.name).set(stored)
            context.metrics.stream_bytes_max.labels(stream.name).set(stream.max_bytes)
        await asyncio.sleep(MEASURE_EVERY_S)


async def read_kill_switch(bus: Bus) -> tuple[bool, str]:
    """Return whether it is engaged and why; absent and unreadable count as engaged."""
    try:
        switch = await kill_switch.read_kill_switch(bus, READ_TIMEOUT_S)
    except kill_switch.KillSwitchUnreadable as error:
        return True, str(error)
    state = "engaged" if switch.engaged else "released"
    return switch.engaged, f"{state} by {switch.by}: {switch.reason}"


def show(effect: ShowMonitor, metrics: Metrics) -> None:
    """Show a reading as metrics."""
    labels, reading = (effect.monitor, effect.scope), effect.reading
    metrics.monitor_state.labels(*labels).set(_NUMBER[reading.state])
    metrics.monitor_value.labels(*labels).set(_number(reading.value))
    metrics.monitor_threshold.labels(*labels).set(_number(reading.threshold))


def _number(value: float | None) -> float:
    return float("nan") if value is None else value
