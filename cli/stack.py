"""Bring a planned run up and down: bus, simulators, services, under one supervisor."""

import asyncio
import contextlib
import os
import time
from collections.abc import Callable, Sequence
from typing import Any

from cli.errors import OperatingError
from cli.health import all_ready, health_of
from cli.processes import ROOT, Plan, is_broker
from cli.supervisor import Child, Supervisor, last_line
from libs.common.bus import BusError
from libs.common.nats_bus import NatsBus
from libs.common.provision import provision
from libs.common.topology import Service
from services.broker.killswitch import engage_once

START_TIMEOUT_S = 90.0
"""For a machine with much else to do; what dies is told at once. Usual are ten seconds."""
POLL_S = 0.1
STATE_EVERY_S = 1.0


class StackError(OperatingError):
    """The system could not be brought up; one line that says what and where to look."""


class Stack:
    """All processes of one run. Use `start`, then `stop` whatever happened."""

    def __init__(self, plan: Plan, hold: Sequence[int] = ()) -> None:
        """Plan only; `hold` are open files that every process keeps until it ends."""
        self.plan = plan
        environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("COV_", "PYTEST_"))
        }
        environment.update(PYTHONUNBUFFERED="1", PYTHONPATH=str(ROOT))
        # One thread a process: six services on few cores gain nothing from numpy's pools.
        environment.update(OPENBLAS_NUM_THREADS="1", OMP_NUM_THREADS="1")
        self.supervisor = Supervisor(ROOT, environment, hold)
        self._writer: asyncio.Task[None] | None = None
        self.ready_s = 0.0

    async def start(self) -> None:
        """Start everything and return when all services are READY; raise `StackError`."""
        began = time.monotonic()
        try:
            self._writer = asyncio.create_task(self._write_state(), name="state file")
            for spec in self.plan.infrastructure:
                await self.supervisor.start(spec)
            await self._provision()
            if self.plan.outside:
                await self._engage_kill_switch()
            for spec in self.plan.services:
                await self.supervisor.start(spec)
            await self._until("services to be READY", self._all_ready)
            for spec in self.plan.alerting:
                await self.supervisor.start(spec)
        except (BusError, OSError, TimeoutError) as error:
            raise StackError(str(error)) from error
        self.ready_s = time.monotonic() - began

    async def stop(self) -> list[str]:
        """End all processes, newest first; return the names of those that had to be killed."""
        if self._writer is not None:
            self._writer.cancel()
            await asyncio.gather(self._writer, return_exceptions=True)
        killed = await self.supervisor.stop([spec.name for spec in self.plan.alerting])
        # The broker goes first: it cancels what rests while everybody it needs is still there.
        # All brokers together: one that stands by must not take over from one that is leaving.
        names = [spec.name for spec in self.plan.services]
        others = [name for name in names if not is_broker(name)]
        killed += await self.supervisor.stop([name for name in names if is_broker(name)])
        killed += await self.supervisor.stop(others)
        killed += await self.supervisor.stop()
        self.plan.run.state_file.unlink(missing_ok=True)
        return killed

    async def health(self) -> dict[str, str]:
        """Return the health of each service's process, by name."""
        return await health_of(self.plan.addresses.admin)

    def failures(self) -> list[str]:
        """Return a line for each process that is gone for good."""
        return [
            f"{child.spec.name}: {child.gave_up} (log: {child.spec.log_file})"
            for child in self.supervisor.children
            if child.gave_up
        ]

    def restarts(self) -> dict[str, int]:
        """Return how often each process was started again."""
        return {
            child.spec.name: child.restarts for child in self.supervisor.children if child.restarts
        }

    async def _provision(self) -> None:
        password = self.plan.run.token(f"nats-{Service.PROVISION}.password").read_text()
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            try:
                await provision(self.plan.addresses.nats_url, password)
                return
            except BusError:
                self._raise_failures()
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(POLL_S)

    async def _engage_kill_switch(self) -> None:
        """Begin engaged, whatever the run before left in the store."""
        password = self.plan.run.token(f"nats-{Service.BROKER}.password").read_text()
        bus = await NatsBus.connect(self.plan.addresses.nats_url, Service.BROKER, password)
        try:
            await engage_once(bus, self.plan.clock.build(), "start", "alpha up")
        finally:
            await bus.close()

    async def _all_ready(self) -> bool:
        return all_ready(await self.health())

    async def _until(self, what: str, done: Callable[[], Any]) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while not await done():
            self._raise_failures()
            if time.monotonic() > deadline:
                found = (await self.health()).items()
                slow = [name for name, state in found if state not in ("SERVING", "STANDBY")]
                hints = "; ".join(f"{name}: {self._hint(name)}" for name in slow)
                raise StackError(
                    f"expected {what} within {START_TIMEOUT_S:.0f} s, found not ready: {hints}"
                )
            await asyncio.sleep(POLL_S)

    def _hint(self, name: str) -> str:
        return last_line(self.supervisor.child(name).spec.log_file)[:300] or "no output"

    def _raise_failures(self) -> None:
        restarting = [child for child in self.supervisor.children if child.restarts >= 3]
        if failures := self.failures():
            raise StackError("; ".join(failures))
        if restarting:
            child = restarting[0]
            raise StackError(
                f"{child.spec.name} keeps dying: {last_line(child.spec.log_file)[:300]} "
                f"(log: {child.spec.log_file})"
            )

    async def _write_state(self) -> None:
        while True:
            with contextlib.suppress(OSError):
                self.plan.run.write_state(self.state())
            await asyncio.sleep(STATE_EVERY_S)

    def state(self) -> dict[str, Any]:
        """Return what `alpha status` and `alpha down` need to know."""
        return {
            "supervisor_pid": os.getpid(),
            "target_ns": self.plan.target_ns,
            "clock": {
                "rate": self.plan.clock.rate,
                "wall_anchor_ns": self.plan.clock.wall_anchor_ns,
                "virtual_anchor_ns": self.plan.clock.virtual_anchor_ns,
            },
            "nats_url": self.plan.addresses.nats_url,
            "admin": self.plan.addresses.admin,
            "metrics": self.plan.addresses.metrics,
            "alerting": self.plan.alerting_urls,
            "processes": [_process_state(child) for child in self.supervisor.children],
        }


def _process_state(child: Child) -> dict[str, Any]:
    return {
        "name": child.spec.name,
        "pid": child.pid,
        "restarts": child.restarts,
        "gave_up": child.gave_up,
        "log": str(child.spec.log_file),
    }
