"""An event loop in virtual time, whose tasks belong to processes that can be killed or stopped.

Nothing waits: when no callback is ready, the clock jumps to the next timer. Callbacks run in the
order in which they became ready, so a run is a function of its seed. Every task and timer that a
simulated process starts carries the process in its context: of a killed process nothing runs any
more, no `finally` and no `except`, as after SIGKILL; of a stopped one nothing runs until it wakes.
"""

import asyncio
import heapq
from contextvars import ContextVar, copy_context

from libs.common.clock import LOOK_AGAIN_S, NS_PER_S

SAME_TIME_S = 1e-9


class ProcessKilled(BaseException):
    """Unwinds the stack of a process that was killed in the middle of a call."""


class Process:
    """One simulated process: alive or not, stopped or not, with a clock that may be off."""

    def __init__(self, name):
        self.name = name
        self.alive = True
        self.stopped = False
        self.held = []
        self.offset_ns = 0


CURRENT: ContextVar[Process | None] = ContextVar("process", default=None)


class _NoSelector:
    """Stands where asyncio expects sockets; there are none."""

    def select(self, timeout):
        del timeout
        return []


class VirtualLoop(asyncio.BaseEventLoop):
    """Run callbacks in virtual time."""

    def __init__(self):
        super().__init__()
        self._selector = _NoSelector()
        self._now_s = 0.0
        self._timers = []
        self._order = 0
        self.errors = []
        self.turns = 0
        self.set_exception_handler(self._on_error)

    def time(self):
        return self._now_s

    def _process_events(self, events):
        del events

    def _write_to_self(self):
        pass

    def call_at(self, when, callback, *args, context=None):
        """Schedule; callbacks of one time run in the order in which they were scheduled."""
        timer = asyncio.TimerHandle(when, callback, args, self, context)
        timer._scheduled = True
        self._order += 1
        heapq.heappush(self._timers, (when, self._order, timer))
        return timer

    def _timer_handle_cancelled(self, handle):
        del handle

    def _run_once(self):
        ready, timers = self._ready, self._timers
        if not ready and not self._stopping:
            while timers[0][2]._cancelled:
                heapq.heappop(timers)
            self._now_s = max(self._now_s, timers[0][0])
        end_s = self._now_s + SAME_TIME_S
        while timers and timers[0][0] <= end_s:
            ready.append(heapq.heappop(timers)[2])
        self.turns += 1
        for _ in range(len(ready)):
            handle = ready.popleft()
            if handle._cancelled:
                continue
            process = handle._context.get(CURRENT)
            if process is not None and (process.stopped or not process.alive):
                if process.alive:
                    process.held.append(handle)
                continue
            handle._run()

    def _on_error(self, loop, context):
        del loop
        error = context.get("exception")
        left_by_the_dead = context["message"].endswith(("it is pending!", "never retrieved"))
        if not isinstance(error, ProcessKilled) and not left_by_the_dead:
            self.errors.append(error or AssertionError(context.get("message")))

    def start_in(self, process, coroutine, name):
        """Start a coroutine as a part of a process."""
        context = copy_context()
        context.run(CURRENT.set, process)
        return self.create_task(coroutine, name=name, context=context)

    def outside(self, seconds, callback, *arguments):
        """Call back later on behalf of the world, whoever asks and whatever becomes of it."""
        context = copy_context()
        context.run(CURRENT.set, None)
        return self.call_later(seconds, callback, *arguments, context=context)

    def wake(self, process):
        """Let a stopped process go on: what was due meanwhile runs now."""
        process.stopped = False
        self._ready.extend(process.held)
        process.held = []


class SimClock:
    """The run's clock as one process sees it: true time plus the process's own error."""

    rate = 1.0

    def __init__(self, loop, start_ns, process):
        self._loop = loop
        self._start_ns = start_ns
        self._process = process

    def now_ns(self):
        return self.steady_ns() + self._process.offset_ns

    def steady_ns(self):
        return self._start_ns + round(self._loop.time() * NS_PER_S)

    async def sleep_until(self, at_ns):
        while (left_ns := at_ns - self.now_ns()) > 0:
            await asyncio.sleep(min(left_ns / NS_PER_S, LOOK_AGAIN_S))

    async def sleep(self, seconds):
        await asyncio.sleep(seconds)
