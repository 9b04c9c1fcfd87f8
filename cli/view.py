"""Show a session as it goes: a live screen on a terminal, plain lines elsewhere."""

import asyncio
import contextlib
from collections.abc import Callable

from rich.console import Console
from rich.live import Live

from cli.screen import draw, plain_lines
from cli.watcher import Watcher
from libs.common.clock import Clock

DRAW_EVERY_S = 0.25
PLAIN_EVERY_S = 5.0


async def show(
    watcher: Watcher,
    clock: Clock,
    console: Console,
    over: asyncio.Event,
    headline: Callable[[], str],
    *,
    live: bool,
) -> None:
    """Show the session until `over` is set, and its last state once more."""
    if live:
        await _live(watcher, clock, console, over, headline)
    else:
        await _plain(watcher, clock, console, over, headline)


async def _live(
    watcher: Watcher,
    clock: Clock,
    console: Console,
    over: asyncio.Event,
    headline: Callable[[], str],
) -> None:
    with Live(console=console, auto_refresh=False, transient=False) as screen:
        last = False
        while not last:
            last = over.is_set()
            await watcher.catch_up()
            width, height = console.size
            drawn = draw(watcher.view, clock.now_ns(), headline(), width=width, height=height)
            screen.update(drawn, refresh=True)
            await _pause(over, DRAW_EVERY_S)


async def _plain(
    watcher: Watcher,
    clock: Clock,
    console: Console,
    over: asyncio.Event,
    headline: Callable[[], str],
) -> None:
    last = False
    while not last:
        last = over.is_set()
        await watcher.catch_up()
        for line in plain_lines(watcher.view, clock.now_ns()):
            console.print(line, highlight=False, markup=False, soft_wrap=True)
        if text := headline():
            console.print(text, highlight=False)
        await _pause(over, PLAIN_EVERY_S)


async def _pause(over: asyncio.Event, limit_s: float) -> None:
    """Wait for the next look, or less when it is over."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(limit_s):
            await over.wait()
