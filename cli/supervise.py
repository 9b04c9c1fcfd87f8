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

from cli.broker_admin import release_kill_switch
from cli.plan import Plan, choose_window, make_plan, next_window, window_clock
from cli.run_directory import RunDirectory
from cli.runs import up_directory
from cli.stack import Stack, StackError
from libs.common.clock import ClockSpec
from libs.common.config import ConfigError

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


def plan_of(options: UpOptions, run: RunDirectory, wall_ns: int) -> Plan:
    """Return the plan of an `alpha up`; raise ConfigError."""
    bars = tuple(Path(name) for name in options.bars)
    virtual = bool(options.day or bars or options.speed)
    if virtual:
        day = date.fromisoformat(options.day) if options.day else None
        window = choose_window(seed=options.seed, bars=bars, day=day, hour=options.hour)
        clock = window_clock(window, options.speed or 1.0, LEAD_S, wall_ns)
    else:
        window = next_window(options.seed, wall_ns)
        clock = ClockSpec()
    return make_plan(run, window, clock, {}, options.brokers)


async def _supervise(options: UpOptions) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    run = RunDirectory.create(up_directory().root)
    wall_ns = time.time_ns()
    plan = plan_of(options, run, wall_ns)
    run.set_aside(str(wall_ns))
    stack = Stack(plan)
    try:
        await stack.start()
        if options.release:
            await release_kill_switch(run, stack.plan.addresses.admin, "alpha up")
        await stop.wait()
    except StackError as error:
        print(f"could not start: {error}", file=sys.stderr)
        return EXIT_START
    finally:
        await stack.stop()
    return 0


def main() -> int:
    """Supervise until told to stop; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m cli.supervise", description=__doc__)
    parser.add_argument("--options", required=True, help="UpOptions as JSON")
    arguments = parser.parse_args()
    try:
        options = msgspec.json.decode(arguments.options, type=UpOptions)
        return asyncio.run(_supervise(options))
    except (ConfigError, ValueError) as error:
        print(f"could not start: {error}", file=sys.stderr)
        return EXIT_USAGE


if __name__ == "__main__":
    sys.exit(main())
