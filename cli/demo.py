"""`alpha demo`: one hourly window from tick to settled ledger, and the books at its end."""

import asyncio
import contextlib
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct
from rich.console import Console
from rich.table import Table

from cli import books
from cli.admin_client import AdminError
from cli.broker_admin import release_kill_switch
from cli.errors import EXIT_INTERRUPTED
from cli.ledger_admin import get_books, write_report
from cli.plan import ACCOUNT, choose_window, make_plan, window_clock
from cli.processes import Plan
from cli.run_directory import new_demo_directory
from cli.screen import contracts, dollars, time_left
from cli.stack import Stack, StackError
from cli.view import show
from cli.watcher import Watcher
from lab.market.faults import FaultError, parse_faults
from lab.simulated import at_speed
from libs.common.clock import NS_PER_S, Clock
from libs.common.config import ConfigError
from libs.domain.eastern import eastern_datetime, utc_text

LEAD_S = 9.0
SETTLE_FROM_S = 12.0
SETTLE_LIMIT_S = 240.0
SETTLE_LIMIT_REAL_S = 60.0
"""At high speeds the limit above is short for a service that has to be started again."""
SETTLE_POLL_S = 0.5
EXIT_DISAGREE = 1


class DemoOptions(Struct, frozen=True, kw_only=True):
    """What `alpha demo` was asked for."""

    seed: int = 1
    speed: float = 10.0
    bars: tuple[Path, ...] = ()
    day: date | None = None
    hour: int | None = None
    faults: tuple[str, ...] = ()
    as_json: bool = False


class Interrupted(Exception):
    """The operator pressed Ctrl-C or the process was told to end."""


async def run_demo(options: DemoOptions, console: Console) -> int:
    """Trade one window; return the exit code: 0 only if all books agree."""
    try:
        parse_faults(options.faults)
    except FaultError as error:
        raise ConfigError(f"--fault: {error}") from None
    window = choose_window(seed=options.seed, bars=options.bars, day=options.day, hour=options.hour)
    run = new_demo_directory(datetime.now(UTC).strftime("%Y%m%dT%H%M%S"))
    clock_spec = window_clock(window, options.speed, LEAD_S, time.time_ns())
    overrides = {"index": {"faults": list(options.faults)}, **at_speed(options.speed)}
    plan = make_plan(run, window, clock_spec, overrides)
    _announce(console, plan, options)
    stack = Stack(plan)
    try:
        async with _interruptible():
            comparison, report = await _trade(stack, console, options)
    except StackError as error:
        raise StackError(f"could not start: {error}") from None
    except Interrupted:
        console.print("interrupted: cancelling and stopping …")
        console.print(f"everything of this run is in {run.root}", highlight=False, soft_wrap=True)
        return EXIT_INTERRUPTED
    finally:
        killed = await stack.stop()
        if killed:
            console.print(f"had to be killed: {', '.join(killed)}")
    _conclude(console, options, plan, comparison, report)
    return 0 if comparison.agree else EXIT_DISAGREE


def _announce(console: Console, plan: Plan, options: DemoOptions) -> None:
    target = eastern_datetime(plan.target_ns)
    console.print(
        f"kalshi-alpha demo: the window before {target:%a %Y-%m-%d %H:%M} ET at "
        f"{options.speed:g}×, seed {options.seed}",
        highlight=False,
    )
    for symbol, origin in plan.origins.items():
        console.print(f"  {symbol}: {origin}", highlight=False)
    end_ns = plan.target_ns + round(SETTLE_FROM_S * NS_PER_S)
    takes_s = (end_ns - plan.clock.build().now_ns()) / NS_PER_S / options.speed
    console.print(
        f"about {takes_s:.0f} s; prices in cents; Ctrl-C cancels everything and stops",
        highlight=False,
    )
    console.print("starting NATS, the simulated exchange and index, and six services …")


async def _trade(
    stack: Stack, console: Console, options: DemoOptions
) -> tuple[books.Comparison, Any]:
    """Bring everything up, watch until it is settled, and compare the books."""
    plan = stack.plan
    await stack.start()
    await release_kill_switch(plan.run, plan.addresses.admin, "alpha demo")
    clock = plan.clock.build()
    left = time_left(clock.now_ns(), plan.target_ns)
    console.print(
        f"all READY in {stack.ready_s:.1f} s, kill switch released at {left}; "
        f"logs in {plan.run.logs}",
        highlight=False,
        soft_wrap=True,
    )
    watcher = await Watcher.connect(plan.run, plan.addresses.nats_url, clock)
    try:
        settled = asyncio.Event()
        live = console.is_terminal and not options.as_json
        watching = asyncio.create_task(
            show(watcher, clock, console, settled, lambda: _headline(stack), live=live),
            name="view",
        )
        try:
            await _until_settled(plan, clock, watching)
            settled.set()
            await watching
        finally:
            watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watching
        return await _close_books(plan, watcher)
    finally:
        await watcher.close()


def _headline(stack: Stack) -> str:
    parts = [f"{name} restarted {count}×" for name, count in stack.restarts().items()]
    return ", ".join(parts + stack.failures())


async def _until_settled(plan: Plan, clock: Clock, watching: "asyncio.Task[None]") -> None:
    """Wait for the target, then until everything traded is settled or the limit is reached."""
    target_ns = plan.target_ns
    from_ns = target_ns + round(SETTLE_FROM_S * NS_PER_S)
    waiting = asyncio.create_task(clock.sleep_until(from_ns))
    done, _ = await asyncio.wait((waiting, watching), return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if watching in done:
        watching.result()
    until_ns = target_ns + round(SETTLE_LIMIT_S * NS_PER_S)
    until_s = time.monotonic() + SETTLE_LIMIT_REAL_S
    while clock.now_ns() < until_ns or time.monotonic() < until_s:
        with contextlib.suppress(AdminError):
            if (await _ledger_books(plan)).markets_unsettled == 0:
                return
        await asyncio.sleep(SETTLE_POLL_S)


async def _close_books(plan: Plan, watcher: Watcher) -> tuple[books.Comparison, Any]:
    messages = [*await watcher.all_of("ORDERS"), *await watcher.all_of("FILLS")]
    answer = await _ledger_books(plan)
    comparison = books.compare(
        books.exchange_books(plan.run.truth_log, ACCOUNT, plan.target_ns),
        books.stream_books(messages),
        books.ledger_books(answer),
    )
    session = utc_text(plan.target_ns)[:10]
    report = await write_report(plan.run, plan.addresses.admin["reporting"], session)
    return comparison, report


async def _ledger_books(plan: Plan) -> Any:
    return await get_books(plan.run, plan.addresses.admin["reporting"])


def _conclude(
    console: Console,
    options: DemoOptions,
    plan: Plan,
    comparison: books.Comparison,
    report: Any,
) -> None:
    if options.as_json:
        values = msgspec.to_builtins(comparison)
        values |= {"agree": comparison.agree, "report": report.markdown_path}
        Console().print_json(data=values)
        return
    table = Table(title="the books", title_justify="left")
    for heading in ("", "exchange's own log", "ORDERS and FILLS", "ledger"):
        table.add_column(heading, justify="left" if not heading else "right")
    three = (comparison.exchange, comparison.streams, comparison.ledger)
    table.add_row("orders accepted", *(str(one.orders) for one in three))
    table.add_row("fills", *(str(one.fills) for one in three))
    table.add_row("contracts", *(contracts(one.contracts_e2) for one in three))
    table.add_row("price × contracts", *(dollars(one.gross_e6) for one in three))
    table.add_row("fees", *(dollars(-one.fees_e6) for one in three))
    table.add_row("settled P&L after fees", *(dollars(one.pnl_e6) for one in three))
    console.print(table)
    console.print(f"resting after T−2 s: {comparison.resting_after_t2}", highlight=False)
    if not comparison.exchange.orders:
        console.print("[yellow]nothing was traded: the books agree on nothing[/yellow]")
    for problem in comparison.problems:
        console.print(f"[red]differs:[/red] {problem}", highlight=False)
    console.print(f"report: {report.markdown_path}", highlight=False, soft_wrap=True)
    console.print(
        f"{comparison.headline}; everything of this run is in {plan.run.root}", soft_wrap=True
    )


@asynccontextmanager
async def _interruptible() -> AsyncIterator[None]:
    """Turn SIGINT, SIGTERM and a closed terminal into `Interrupted`, where the body waits."""
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    assert task is not None, "a demo runs in a task"
    asked: list[int] = []

    def ask(number: int) -> None:
        asked.append(number)
        if len(asked) == 1:
            task.cancel()

    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup wants it to go on
        numbers.append(signal.SIGHUP)
    for number in numbers:
        loop.add_signal_handler(number, ask, number)
    try:
        yield
    except asyncio.CancelledError:
        if not asked:
            raise
        task.uncancel()
        raise Interrupted from None
    finally:
        # A second Ctrl-C while things are being stopped changes nothing.
        for number in numbers:
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_IGN)
