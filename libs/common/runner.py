"""The one runner of all services: CONNECT → VERIFY → RECOVER → READY → DRAIN → STOPPED.

It owns the order of things: events reach the core one at a time, effects happen in the order
in which the core named them, and a message is acknowledged when its effects are durable.
Whatever the process can't vouch for ends it with a reason; the supervisor starts it again and
recovery is the normal way to start.
"""

import asyncio
import gc
import os
import signal
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Protocol, get_args

from libs.common.admin import AddServicer, AdminServer
from libs.common.bus import Bus, BusError, Fence, Handler, Stored
from libs.common.clock import NS_PER_S, Clock
from libs.common.config import ServiceConfig, read_secret
from libs.common.effects import (
    CancelTimer,
    Core,
    Effect,
    Event,
    Publish,
    Received,
    SetTimer,
    TimerFired,
)
from libs.common.inbox import Inbox, Refused, read_stored
from libs.common.logs import Logger, make_logger
from libs.common.messages import (
    Cause,
    Heartbeat,
    Message,
    ServiceState,
    encode,
    envelope,
)
from libs.common.metrics import Metrics, MetricsServer
from libs.common.topology import (
    ORDERS_EPOCH,
    Durable,
    Service,
    durables_of,
    stream_of_subject,
    subject_of,
)

PROBE_EVERY_S = 1.0
PROBE_TIMEOUT_S = 10.0
PROBE_LATE_S = 1.0
MEASURE_EVERY_S = 5.0
DRAIN_TIMEOUT_S = 15.0
READ_BATCH = 1_000
_FENCED_STREAM = stream_of_subject(ORDERS_EPOCH)
CLOCK_SET_NS = NS_PER_S // 10
"""A clock that moved by more than this against a steady one was set; by less it was corrected."""


class App(Protocol):
    """A service's wiring: its core, its adapters, and how it recovers."""

    @property
    def service(self) -> Service:
        """Return which service this is."""
        ...

    @property
    def core(self) -> Core:
        """Return the core that events go to."""
        ...

    @property
    def fence(self) -> int | None:
        """Return the stream sequence of our `BrokerEpoch`; None if nothing is fenced."""
        ...

    async def recover(self, context: "Context") -> None:
        """Read the streams back with effects suppressed, then reconcile the outside."""
        ...

    async def run(self, context: "Context") -> None:
        """Run the adapters until cancelled; returning or raising ends the process."""
        ...

    def perform(self, effect: Effect, after: Sequence[asyncio.Future[int]]) -> None:
        """Start one of the service's own effects without blocking.

        `after` are the publishes that precede it in the same list: an effect on the outside
        world awaits them first.
        """
        ...

    async def drain(self, context: "Context") -> None:
        """Leave the outside world tidy before the connection is let go."""
        ...

    def clock_set(self, by_ns: int) -> Event | None:
        """Return what the core is told when this machine's clock was set, None for nothing."""
        ...

    def observe(self, message: Message, metrics: Metrics) -> None:
        """Count what is about to be published."""
        ...

    def detail(self) -> str:
        """Return one line about the service's state for its heartbeat."""
        ...

    def admin_services(self) -> Sequence[AddServicer]:
        """Return what the service adds to its gRPC admin endpoint."""
        ...


class AppBase:
    """What most services have in common: no fence, no admin calls, nothing to drain."""

    fence: int | None = None

    async def drain(self, context: "Context") -> None:
        """Leave nothing behind."""

    def clock_set(self, by_ns: int) -> Event | None:
        return None

    def observe(self, message: Message, metrics: Metrics) -> None:
        """Count nothing."""

    def detail(self) -> str:
        return ""

    def admin_services(self) -> Sequence[AddServicer]:
        return ()

    def perform(self, effect: Effect, after: Sequence[asyncio.Future[int]]) -> None:
        raise AssertionError(f"no one performs {type(effect).__name__}")


class Fatal(Exception):
    """The process must end; the text says why in one line."""


class _Held:
    """A message that waits while the fence moves, and the promise of its sequence."""

    def __init__(self, message: Message, subject: str, fenced: bool) -> None:
        self.message = message
        self.subject = subject
        self.fenced = fenced
        self.stored: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.stored.add_done_callback(lambda done: done.cancelled() or done.exception())

    def follow(self, sent: asyncio.Future[int]) -> None:
        """Keep the promise with what becomes of the message, now that it is sent."""
        sent.add_done_callback(self._settle)

    def _settle(self, sent: asyncio.Future[int]) -> None:
        if self.stored.done():
            return
        if sent.cancelled():
            self.stored.cancel()
        elif (error := sent.exception()) is not None:
            self.stored.set_exception(error)
        else:
            self.stored.set_result(sent.result())


class Context:
    """What a service's shell works with; made by the runner."""

    def __init__(self, app: App, bus: Bus, clock: Clock, config: ServiceConfig) -> None:
        self.app = app
        self.bus = bus
        self.clock = clock
        self.config = config
        self.log: Logger = make_logger(config.service, clock, config.log_level)
        self.metrics = Metrics()
        self.fatal: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        # Two reasons may come at once; the second one is no complaint of asyncio's.
        self.fatal.add_done_callback(lambda done: done.cancelled() or done.exception())
        self._tasks: set[asyncio.Task[Any]] = set()
        self._timers: dict[str, asyncio.Task[Any]] = {}
        self._core_failed = False
        self._ahead_ns = clock.now_ns() - clock.steady_ns()
        self._fenced: set[asyncio.Future[int]] = set()
        self._held: list[_Held] | None = None
        self.standing_by = False
        self.tell_standby: Callable[[bool], Awaitable[None]] | None = None

    async def stand_by(self, waiting: bool) -> None:
        """Say whether another process does this service's work and we wait to take it over.

        Meanwhile its heartbeats are the service's; ours would hide them.
        """
        self.standing_by = waiting
        self.metrics.standing_by.set(waiting)
        if self.tell_standby is not None:
            await self.tell_standby(waiting)

    def now_ns(self) -> int:
        """Return the present time of the run's clock."""
        return self.clock.now_ns()

    def fail(self, reason: str) -> None:
        """End the process with this reason."""
        if not self.fatal.done():
            self.fatal.set_exception(Fatal(reason))

    def fail_with(self, cause: "asyncio.Future[Any]") -> None:
        """End the process because of what a future ended with, if it ended with an error."""
        if not cause.cancelled() and (error := cause.exception()):
            self.fail(f"{type(error).__name__}: {error}")

    def dispatch(self, event: Event) -> list[asyncio.Future[int]]:
        """Let the core handle an event and perform its effects, in order.

        Returns the publishes that are under way.
        """
        if self._core_failed:
            return []
        if (by_ns := self._set_by_ns()) and (told := self.app.clock_set(by_ns)) is not None:
            self.dispatch(told)
        started = time.perf_counter()
        try:
            effects = self.app.core.handle(event)
        except Exception as error:
            self._core_failed = True
            self.log.error("core failed", event_type=type(event).__name__, exc_info=error)
            self.fail(f"core failed: {type(error).__name__}: {error}")
            return []
        self.metrics.handle_s.observe(time.perf_counter() - started)
        return self._perform(effects)

    def _set_by_ns(self) -> int:
        """Return by how much the clock was set since the last event, 0 if it only ran."""
        before_ns, now_ns, after_ns = (
            self.clock.steady_ns(),
            self.clock.now_ns(),
            self.clock.steady_ns(),
        )
        if after_ns - before_ns > CLOCK_SET_NS // 2:
            return 0  # we were interrupted between the two clocks: the next event tells
        by_ns, self._ahead_ns = now_ns - after_ns - self._ahead_ns, now_ns - after_ns
        return by_ns if abs(by_ns) > CLOCK_SET_NS else 0

    def demand_sound(self) -> None:
        """Raise `Fatal` once the core has failed: what it did not handle is not acknowledged."""
        if self._core_failed:
            raise Fatal("the core failed; what came after is delivered again to the next process")

    def _perform(self, effects: Sequence[Effect]) -> list[asyncio.Future[int]]:
        published: list[asyncio.Future[int]] = []
        for effect in effects:
            if isinstance(effect, Publish):
                published.append(self.publish(effect.message, fenced=effect.fenced))
            elif isinstance(effect, SetTimer):
                self._set_timer(effect)
            elif isinstance(effect, CancelTimer):
                self._drop_timer(effect.key)
            else:
                self.app.perform(effect, tuple(published))
        return published

    def publish(self, message: Message, *, fenced: bool = False) -> asyncio.Future[int]:
        """Send a message on its subject; a failure to store it ends the process."""
        self.app.observe(message, self.metrics)
        subject = subject_of(message)
        if self._held is not None and stream_of_subject(subject) == _FENCED_STREAM:
            held = _Held(message, subject, fenced)
            self._held.append(held)
            return held.stored
        return self._send(message, subject, fenced)

    async def move_fence(self, move: Callable[[], Awaitable[None]]) -> None:
        """Let `move` change the app's fence while nothing that names the old one is under way.

        What is to be stored in the fence's stream meanwhile is sent after it, in order.
        """
        assert self._held is None, "one moves the fence at a time"
        self._held = []
        try:
            if self._fenced:
                await asyncio.wait(self._fenced)
            await move()
        finally:  # the server refuses what is fenced if that went wrong; all else has to be stored
            waiting, self._held = self._held, None
            for held in waiting:
                held.follow(self._send(held.message, held.subject, held.fenced))

    def _send(self, message: Message, subject: str, fenced: bool) -> asyncio.Future[int]:
        fence = None
        if fenced:
            assert self.app.fence is not None, "a fenced message needs an epoch"
            fence = Fence(ORDERS_EPOCH, self.app.fence)
        sent = time.perf_counter()
        try:
            future = self.bus.publish(subject, encode(message), message_id=message.id, fence=fence)
        except BusError as error:  # what follows it, a cancel say, must happen all the same
            future = asyncio.get_running_loop().create_future()
            future.set_exception(error)

        def acknowledged(done: asyncio.Future[int]) -> None:
            if done.cancelled():
                return
            if error := done.exception():
                self.fail(f"publish on {subject} failed: {type(error).__name__}: {error}")
            else:
                self.metrics.publish_ack_s.observe(time.perf_counter() - sent)

        future.add_done_callback(acknowledged)
        if fenced:
            self._fenced.add(future)
            future.add_done_callback(self._fenced.discard)
        self.metrics.published_total.labels(stream_of_subject(subject)).inc()
        return future

    def spawn(self, coroutine: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        """Run a coroutine beside the service; if it raises, the process ends."""
        task = asyncio.create_task(coroutine, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    async def read_back(
        self, stream: str, fold: Callable[[Message, int], None], after: int = 0
    ) -> int:
        """Fold all stored messages of a stream in order; return the last sequence seen.

        What was refused when it first came (undecodable, misplaced, future-dated) is counted
        and passed over.
        """
        last = after
        while batch := await self.bus.read(stream, last, READ_BATCH):
            for stored in batch:
                last = stored.sequence
                try:
                    message = read_stored(stored, self.clock.now_ns())
                except Refused as refused:
                    self.metrics.bad_total.labels(stream, refused.reason).inc()
                    continue
                fold(message, stored.sequence)
        return last

    async def cancel_all(self) -> None:
        """Cancel timers and spawned tasks and wait for them."""
        tasks = [*self._tasks, *self._timers.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        self._judge(task)

    def _judge(self, task: asyncio.Task[Any]) -> None:
        """End the process if a task ended with an error."""
        if not task.cancelled() and (error := task.exception()):
            if not isinstance(error, (BusError, Fatal)):
                self.log.error("task failed", task=task.get_name(), exc_info=error)
            self.fail(f"{task.get_name()}: {type(error).__name__}: {error}")

    def _set_timer(self, effect: SetTimer) -> None:
        self._drop_timer(effect.key)

        async def fire() -> None:
            await self.clock.sleep_until(effect.at_ns)
            self._timers.pop(effect.key, None)
            self.dispatch(
                TimerFired(now_ns=self.clock.now_ns(), key=effect.key, at_ns=effect.at_ns)
            )

        timer = asyncio.create_task(fire(), name=f"timer {effect.key}")
        timer.add_done_callback(self._judge)
        self._timers[effect.key] = timer

    def _drop_timer(self, key: str) -> None:
        if task := self._timers.pop(key, None):
            task.cancel()


class Runner:
    """Take one service through its states until it is told to stop or can't go on."""

    def __init__(self, app: App, bus: Bus, clock: Clock, config: ServiceConfig) -> None:
        self.context = Context(app, bus, clock, config)
        self._app = app
        self._state: ServiceState = "CONNECT"
        self._since_ns = clock.now_ns()
        for state in get_args(ServiceState):
            self.context.metrics.state.labels(state).set(state == self._state)
        self._stop = asyncio.Event()
        self._beats = 0
        self._loop_lag_ns = 0
        self._instance = config.instance or f"{config.service}-{os.getpid()}"

    def stop(self) -> None:
        """Ask for an orderly end."""
        self._stop.set()

    async def run(self) -> None:
        """Run until `stop`; raise `Fatal` or `BusError` when it can't go on."""
        context, config = self.context, self.context.config
        token = read_secret(config.admin_token_file, "admin_token_file")
        admin = AdminServer(config.host, config.admin_port, token, self._app.admin_services())
        metrics = MetricsServer(context.metrics, config.host, config.metrics_port, token)
        await admin.start()
        context.tell_standby = admin.set_standby
        orderly = False
        try:
            await self._until_stopped(self._live(admin))
            orderly = True
        finally:
            await admin.set_serving(False)
            await self._drain()
            await context.cancel_all()
            if orderly:  # whoever watches can tell this from a death
                self._enter("STOPPED")
            metrics.close()
            await admin.close()
            await context.bus.close()

    async def _live(self, admin: AdminServer) -> None:
        context = self.context
        context.spawn(self._beat(), "heartbeat")
        context.spawn(self._probe(), "probe")
        self._enter("VERIFY")
        await context.bus.verify()
        self._enter("RECOVER")
        await self._app.recover(context)
        for durable in durables_of(self._app.service):
            inbox = Inbox(context.metrics, context.log, context.clock)
            handler = self._handler(inbox)
            if durable.conflated:
                await self._prime(durable, handler)
            context.spawn(context.bus.consume(durable, handler), f"consume {durable.name}")
        # What is here now stays: later collections need not walk it, which would hold up a tick.
        gc.collect()
        gc.freeze()
        context.spawn(self._measure(), "measure")
        self._enter("READY")
        await admin.set_serving(True)
        await self._app.run(context)
        raise Fatal("the service's adapters ended by themselves")

    async def _prime(self, durable: Durable, handler: Handler) -> None:
        """Give the core the newest message of each subject, acknowledged in an earlier life or not.

        What is sent once per change, a ladder's definition say, would else be missing after a
        restart.
        """
        for subject_filter in durable.subjects:
            newest = await self.context.bus.last_per_subject(durable.stream, subject_filter)
            await asyncio.gather(*handler(newest))

    def _handler(self, inbox: Inbox) -> Handler:
        context = self.context

        def handle(batch: Sequence[Stored]) -> Sequence[Awaitable[int]]:
            pending: list[Awaitable[int]] = []
            for stored in batch:
                message, letter = inbox.open(stored, self._app.service)
                if letter is not None:
                    pending.append(context.publish(letter))
                if message is None:
                    continue
                received = Received(
                    now_ns=context.now_ns(),
                    message=message,
                    stream=stream_of_subject(stored.subject),
                    sequence=stored.sequence,
                )
                pending.extend(context.dispatch(received))
                context.demand_sound()
            return pending

        return handle

    async def _until_stopped(self, work: Coroutine[Any, Any, None]) -> None:
        live = asyncio.create_task(work, name="service")
        stopped = asyncio.create_task(self._stop.wait(), name="stop")
        try:
            done, _ = await asyncio.wait(
                (live, stopped, self.context.fatal), return_when=asyncio.FIRST_COMPLETED
            )
            for finished in done - {stopped}:
                finished.result()
        finally:
            stopped.cancel()
            live.cancel()
            await asyncio.gather(live, stopped, return_exceptions=True)

    async def _drain(self) -> None:
        """Leave in good order if that can be; nothing here hides why the service ends."""
        try:
            self._enter("DRAIN")
            async with asyncio.timeout(DRAIN_TIMEOUT_S):
                await self._app.drain(self.context)
        except TimeoutError:
            self.context.log.error("drain took too long", limit_s=DRAIN_TIMEOUT_S)
        except Exception as error:  # it is told, and the way out goes on
            self.context.log.error("drain failed", exc_info=error)

    def _enter(self, state: ServiceState) -> None:
        self.context.metrics.state.labels(self._state).set(0)
        self._state = state
        self._since_ns = self.context.now_ns()
        self.context.metrics.state.labels(state).set(1)
        self.context.log.info("state", state=state)
        if state in ("READY", "DRAIN", "STOPPED"):
            self._send_heartbeat()

    async def _beat(self) -> None:
        while True:
            await self.context.clock.sleep(self.context.config.heartbeat_s)
            self._send_heartbeat()
            self._loop_lag_ns = 0

    def _send_heartbeat(self) -> None:
        if self.context.standing_by:
            return
        now_ns = self.context.now_ns()
        self._beats += 1
        cause = Cause.first("heartbeat", f"{self._instance}|{now_ns}|{self._beats}", now_ns)
        self.context.publish(
            Heartbeat(
                **envelope(cause, self._app.service),
                service=self._app.service,
                instance=self._instance,
                state=self._state,
                since_ns=self._since_ns,
                loop_lag_ns=self._loop_lag_ns,
                detail=self._app.detail(),
            )
        )

    async def _probe(self) -> None:
        """Live means a round trip to NATS and a loop that turns; both in real time."""
        while True:
            began_s = time.monotonic()
            await asyncio.sleep(PROBE_EVERY_S)
            lag_s = max(0.0, time.monotonic() - began_s - PROBE_EVERY_S)
            self._loop_lag_ns = max(self._loop_lag_ns, round(lag_s * NS_PER_S))
            metrics = self.context.metrics
            metrics.loop_lag_s.set(lag_s)
            late = asyncio.get_running_loop().call_later(PROBE_LATE_S, metrics.bus_connected.set, 0)
            try:
                async with asyncio.timeout(PROBE_TIMEOUT_S):
                    await self.context.bus.round_trip()
            except TimeoutError:
                raise Fatal(f"no answer from NATS within {PROBE_TIMEOUT_S:.0f} s") from None
            finally:
                late.cancel()
            metrics.bus_connected.set(1)

    async def _measure(self) -> None:
        """Show how far our durables are behind, in real time; NATS away is for the probe."""
        bus, metrics = self.context.bus, self.context.metrics
        while True:
            for durable in durables_of(self._app.service):
                try:
                    backlog = await bus.backlog(durable)
                except (BusError, TimeoutError):
                    continue
                metrics.durable_pending.labels(durable.name).set(backlog)
            await asyncio.sleep(MEASURE_EVERY_S)


def install_signals(runner: Runner) -> None:
    """Let SIGTERM and SIGINT ask the runner for an orderly end."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, runner.stop)
