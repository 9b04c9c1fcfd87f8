"""`alpha export`: make a capture from the streams of a run, up or not."""

import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from time import monotonic
from typing import Any

import msgspec
from rich.console import Console

from cli.errors import OperatingError
from cli.processes import write_nats
from cli.run_directory import RunDirectory
from cli.runs import is_supervisor, running
from lab.capture.errors import CaptureError
from lab.capture.export import Exported, NothingToExport, export, export_raw
from libs.common.bus import BusError
from libs.common.config import ConfigError
from libs.common.nats_bus import NatsBus
from libs.common.nats_server import NatsServerError, start_nats_server
from libs.common.topology import STREAMS, Service

TOLD_EVERY_S = 2.0


def export_day(
    names: list[str] | None,
    day: date,
    out: Path,
    folder: Path | None,
    console: Console,
    *,
    as_json: bool,
) -> None:
    """Export streams, or the raw copies when `names` is None; raise in one line."""
    known = [stream.name for stream in STREAMS]
    if wrong := sorted(set(names or ()) - set(known)):
        raise ConfigError(f"--stream: expected {', '.join(known)}, given {', '.join(wrong)}")
    run = _run(folder)
    try:
        with _server(run) as url:
            found = asyncio.run(_export(run, url, names, day, out))
    except CaptureError as error:
        raise ConfigError(f"--out: {error}") from None
    except NothingToExport as error:
        raise OperatingError(str(error)) from None
    except (BusError, NatsServerError) as error:
        raise OperatingError(f"{run.root}: {error}") from None
    size_bytes = out.stat().st_size
    if as_json:
        values: dict[str, Any] = msgspec.to_builtins(found)
        console.print_json(data=values | {"file": str(out), "bytes": size_bytes})
        return
    counts = ", ".join(f"{name} {count}" for name, count in found.records.items())
    console.print(f"{out}: {counts}; {size_bytes / 1e6:.1f} MB", highlight=False, soft_wrap=True)
    for what, counted in (("unreadable", found.unreadable), ("other days", found.other_days)):
        for name, count in counted.items():
            console.print(f"left out, {what}: {name} {count}", highlight=False)


async def _export(
    run: RunDirectory, url: str, names: list[str] | None, day: date, out: Path
) -> Exported:
    password = run.token(f"nats-{Service.CONSOLE}.password").read_text(encoding="utf-8")
    bus = await NatsBus.connect(url, Service.CONSOLE, password)
    told_s = monotonic()

    def progress(count: int) -> None:
        nonlocal told_s
        if monotonic() - told_s >= TOLD_EVERY_S:
            told_s = monotonic()
            print(f"{count} records so far", file=sys.stderr)

    try:
        if names is None:
            return await export_raw(bus.read, run.root / "raw", day, out, progress)
        return await export(bus.read, names, day, out, progress)
    finally:
        await bus.close()


def _run(folder: Path | None) -> RunDirectory:
    if folder is None:
        known = running()
        if known is None:
            raise OperatingError(
                "nothing is up; start it with `alpha up`, or name a run: --run DIR"
            )
        return known.run
    run = RunDirectory(folder.resolve())
    if not (run.root / "nats").is_dir():
        raise ConfigError(f"--run: expected a run's folder, found no nats/ in {folder}")
    return run


@contextmanager
def _server(run: RunDirectory) -> Iterator[str]:
    """Yield where the run's streams are served; a run that is down gets a server for a moment."""
    state = run.read_state()
    if state is not None and is_supervisor(int(state.get("supervisor_pid", 0))):
        yield str(state["nats_url"])
        return
    server = start_nats_server(write_nats(run, 0), run.configs)
    try:
        yield server.url
    finally:
        server.stop()
