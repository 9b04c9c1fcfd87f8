"""The process behind `alpha up`: keep a run alive until SIGTERM.

`python -m cli.supervise --options JSON`; `alpha up` starts it and watches it come up.
"""

import argparse
import asyncio
import signal
import sys
import time
from datetime import date
from pathlib import Path

import msgspec
from msgspec import Struct

from cli.alerting import with_alerting
from cli.broker_admin import release_kill_switch
from cli.outside import Outside, make_outside_plan
from cli.plan import choose_window, make_plan, next_window, window_clock
from cli.processes import Plan
from cli.run_directory import RunDirectory
from cli.runs import up_directory
from cli.stack import Stack, StackError
from lab.simulated import at_speed
from libs.common.clock import ClockSpec
from libs.common.config import ConfigError
from services.broker.modes import Mode

LEAD_S = 9.0
EXIT_USAGE = 2
EXIT_START = 3


class UpOptions(Struct, frozen=True, kw_only=True):
    """What `alpha up` was asked for; without a day the run follows the wall clock."""

    seed: int = 1
    speed: float | None = None
    bars: tuple[str, ...] = ()
    day: str | None = None
    hour: int | None = None
    release: bool = False
    brokers: int = 1
    mode: Mode = "sim"
    outside: Outside | None = None
    with_prometheus: bool = False

    @property
    def run_root(self) -> Path:
        """Return the folder of the run."""
        return self.outside.run_root if self.outside is not None else up_directory().root


def plan_of(options: UpOptions, run: RunDirectory, wall_ns: int) -> Plan:
    """Return the plan of an `alpha up`; raise ConfigError."""
    if options.outside is not None:
        return make_outside_plan(run, options.outside, options.mode, options.brokers, wall_ns)
    bars = tuple(Path(name) for name in options.bars)
    virtual = bool(options.day or bars or options.speed)
    if virtual:
        day = date.fromisoformat(options.day) if options.day else None
        window = choose_window(seed=options.seed, bars=bars, day=day, hour=options.hour)
        clock = window_clock(window, options.speed or 1.0, LEAD_S, wall_ns)
    else:
        window = next_window(options.seed, wall_ns)
        clock = ClockSpec()
    overrides = {"broker": {"mode": options.mode}, **at_speed(clock.rate)}
    return make_plan(run, window, clock, overrides, options.brokers)


async def _supervise(options: UpOptions, lock: int) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    run = RunDirectory.create(options.run_root)
    wall_ns = time.time_ns()
    plan = plan_of(options, run, wall_ns)
    if options.with_prometheus:
        plan = with_alerting(plan)
    if not plan.outside:
        run.set_aside(str(wall_ns))
    stack = Stack(plan, hold=(lock,))
    stopped = asyncio.create_task(stop.wait(), name="stop")
    starting = asyncio.create_task(_start(stack, release=options.release), name="start")
    try:
        await asyncio.wait((starting, stopped), return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            starting.result()
            await stopped
    except StackError as error:
        print(f"could not start: {error}", file=sys.stderr)
        return EXIT_START
    finally:
        for task in (starting, stopped):
            task.cancel()
        await asyncio.gather(starting, stopped, return_exceptions=True)
        await stack.stop()
    return 0


async def _start(stack: Stack, *, release: bool) -> None:
    await stack.start()
    if release:
        await release_kill_switch(stack.plan.run, stack.plan.addresses.admin, "alpha up")


def main() -> int:
    """Supervise until told to stop; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m cli.supervise", description=__doc__)
    parser.add_argument("--options", required=True, help="UpOptions as JSON")
    parser.add_argument("--lock", type=int, required=True, help="the open file of `claim_up`")
    arguments = parser.parse_args()
    try:
        options = msgspec.json.decode(arguments.options, type=UpOptions)
        return asyncio.run(_supervise(options, arguments.lock))
    except (ConfigError, ValueError) as error:
        print(f"could not start: {error}", file=sys.stderr)
        return EXIT_USAGE


if __name__ == "__main__":
    sys.exit(main())
