"""The broker as production builds it, but for a clock that can be set and one point at which it
kills itself: `python -m tests.chaos.broker_process --config FILE`.

`CHAOS_POINT` names the point, `CHAOS_COUNT` how often it is passed before; `CHAOS_CLOCK` is a file
that holds the seconds by which this process's clock is wrong; `CHAOS_MUTANT` names a way of
tests/sim/mutants.py in which the broker is broken.
"""

import asyncio
import os
import signal
from contextlib import nullcontext
from pathlib import Path

from libs.common.clock import NS_PER_S
from libs.common.main import run_service
from libs.common.messages import OrderIntent, OrderUpdate, decode
from services.broker.app import BrokerApp
from services.broker.config import BrokerConfig
from tests.sim.mutants import MUTANTS

POINTS = (
    "before_intent",
    "after_intent_ack",
    "mid_http",
    "after_accept",
    "before_publishing_accept",
    "after_publishing_accept",
    "before_ack",
)
"""The seven of reliability.md, scenario 1."""
PAUSE = "paused_before_send"
"""Here it stops itself (SIGSTOP) instead: the gate is passed, the request signed and not sent."""
CLOCK_EVERY_S = 0.05
MID_HTTP_S = 0.0005


class Points:
    """Count the passes of the chosen point, and die of the right one."""

    def __init__(self):
        self.chosen = os.environ.get("CHAOS_POINT", "")
        self.left = int(os.environ.get("CHAOS_COUNT", "0"))

    def due(self, point):
        """Tell whether this pass of a point is the last thing to happen."""
        if point != self.chosen:
            return False
        self.left -= 1
        return self.left < 0

    def pass_by(self, point):
        if self.due(point):
            os.kill(os.getpid(), signal.SIGKILL)


class WrongClock:
    """The run's clock and an error that is read from a file again and again."""

    def __init__(self, clock, path):
        self._clock = clock
        self._path = path
        self._offset_ns = 0
        self.rate = clock.rate

    def read(self):
        self._offset_ns = round(float(self._path.read_text() or 0) * NS_PER_S)

    def now_ns(self):
        return self._clock.now_ns() + self._offset_ns

    def steady_ns(self):
        return self._clock.steady_ns()

    async def sleep_until(self, at_ns):
        while (left_ns := at_ns - self.now_ns()) > 0:
            await asyncio.sleep(min(left_ns / self.rate / NS_PER_S, 0.5))

    async def sleep(self, seconds):
        await self._clock.sleep(seconds)


class PointedBus:
    """The bus, with points around the publishes and the acknowledgement of verdicts."""

    def __init__(self, bus, points):
        self._bus = bus
        self._points = points

    def __getattr__(self, name):
        return getattr(self._bus, name)

    def publish(self, subject, data, *, message_id, fence=None):
        message = decode(data)
        placing = isinstance(message, OrderIntent) and message.action == "place"
        accepted = isinstance(message, OrderUpdate) and message.state == "resting"
        if placing:
            self._points.pass_by("before_intent")
        elif accepted:
            self._points.pass_by("before_publishing_accept")
        future = self._bus.publish(subject, data, message_id=message_id, fence=fence)
        if placing:
            future.add_done_callback(lambda _: self._points.pass_by("after_intent_ack"))
        elif accepted:
            future.add_done_callback(lambda _: self._points.pass_by("after_publishing_accept"))
        return future

    async def consume(self, durable, handler):
        if durable.stream != "VERDICTS":
            return await self._bus.consume(durable, handler)

        async def last(waits):
            done = [await one for one in waits]
            self._points.pass_by("before_ack")
            return done[-1] if done else 0

        return await self._bus.consume(durable, lambda batch: [last(handler(batch))])


class PointedTransport:
    """The transport, with points in the middle of a create and after the exchange took it."""

    def __init__(self, transport, points):
        self._transport = transport
        self._points = points

    async def send(self, method, url, headers, body):
        if not (method == "POST" and url.endswith("/events/orders")):
            return await self._transport.send(method, url, headers, body)
        if self._points.due(PAUSE):
            os.kill(os.getpid(), signal.SIGSTOP)
        if self._points.due("mid_http"):
            asyncio.get_running_loop().call_later(MID_HTTP_S, os.kill, os.getpid(), signal.SIGKILL)
        answer = await self._transport.send(method, url, headers, body)
        self._points.pass_by("after_accept")
        return answer

    async def close(self):
        await self._transport.close()


class PointedBroker(BrokerApp):
    """The real app; only its ports have points in them."""

    def __init__(self, config):
        super().__init__(config)
        self._points = Points()

    async def recover(self, context):
        context.bus = PointedBus(context.bus, self._points)
        if path := os.environ.get("CHAOS_CLOCK"):
            context.clock = WrongClock(context.clock, Path(path))
            context.clock.read()
            context.spawn(self._read_clock(context.clock), "clock")
        await super().recover(context)

    async def _read_clock(self, clock):
        while True:
            clock.read()
            await asyncio.sleep(CLOCK_EVERY_S)

    def make_transport(self):
        return PointedTransport(super().make_transport(), self._points)


def main():
    mutant = {one.__name__: one for one in MUTANTS}.get(os.environ.get("CHAOS_MUTANT", ""))
    with mutant() if mutant else nullcontext():
        return run_service(BrokerConfig, PointedBroker)


if __name__ == "__main__":
    raise SystemExit(main())
