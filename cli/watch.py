"""`alpha watch` and `alpha report`: look at the run that is up."""

import asyncio
import contextlib
import os
from typing import Any

import msgspec
from rich.console import Console

from cli.ledger_admin import write_report
from cli.runs import RunningRun, running_or_say
from cli.view import show
from cli.watcher import Watcher
from libs.common.clock import ClockSpec

EXIT_NOT_RUNNING = 3


def watch(console: Console) -> int:
    """Show the run until Ctrl-C; return 3 when nothing is up."""
    known = running_or_say(as_json=False)
    if known is None:
        return EXIT_NOT_RUNNING
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_watch(known, console))
    return 0


def report(console: Console, session: str, *, as_json: bool) -> int:
    """Write the session report of the run that is up; return 0, 1 if its books disagree, or 3."""
    known = running_or_say(as_json=as_json)
    if known is None:
        return EXIT_NOT_RUNNING
    with console.status("adding up the session …"):
        answer = asyncio.run(write_report(known.run, known.admin_port("reporting"), session))
    paths: dict[str, Any] = {
        "markdown": answer.markdown_path,
        "json": answer.json_path,
        "books_agree": answer.books_agree,
        "problems": list(answer.problems),
    }
    if as_json:
        console.print_json(data=paths)
    else:
        for name in ("markdown", "json"):
            console.print(os.path.relpath(paths[name]), highlight=False, soft_wrap=True)
        for problem in answer.problems:
            console.print(f"[red]problem:[/red] {problem}", highlight=False)
    return 0 if answer.books_agree else 1


async def _watch(known: RunningRun, console: Console) -> None:
    clock = msgspec.convert(known.state["clock"], ClockSpec).build()
    watcher = await Watcher.connect(known.run, known.state["nats_url"], clock)
    try:
        over = asyncio.Event()
        await show(watcher, clock, console, over, lambda: "", live=console.is_terminal)
    finally:
        await watcher.close()
