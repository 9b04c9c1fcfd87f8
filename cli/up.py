"""`alpha up`, `alpha down`, `alpha status`."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import msgspec
import psutil
from msgspec.structs import replace
from rich.console import Console
from rich.table import Table

from cli.alerting import LOGIN_FILE, USER
from cli.calendar_ends import tell_ends
from cli.decisions import risk_state, show_decisions
from cli.errors import EXIT_INTERRUPTED, OperatingError
from cli.health import all_ready, health_of
from cli.outside import Given, prepare
from cli.processes import ROOT
from cli.run_directory import RunDirectory, claim_up
from cli.runs import RunningRun, running, running_or_say
from cli.supervise import EXIT_USAGE, UpOptions
from cli.supervisor import last_line
from libs.common.config import ConfigError

UP_TIMEOUT_S = 120.0
"""Longer than the supervisor's own limit: it tells why, and leaves nothing half-started."""
DOWN_TIMEOUT_S = 45.0
EXIT_DEGRADED = 1
EXIT_NOT_RUNNING = 3


def up(options: UpOptions, given: Given, console: Console, *, as_json: bool) -> int:
    """Start everything in the background; return 0 once all services are READY.

    With `as_json` the state goes to standard output; the console is the other one.

    Raises ConfigError with all that the mode still needs, before anything is started.
    """
    if (known := running()) is not None:
        console.print(
            f"already up: process {known.supervisor_pid}, {known.run.root}; "
            "see `alpha status`, end it with `alpha down`",
            soft_wrap=True,
        )
        return EXIT_DEGRADED
    outside = prepare(options.mode, given, time.time_ns())
    if outside and (options.day or options.hour or options.bars or options.speed):
        raise ConfigError("--date, --hour, --bars, --speed: expected with the simulated exchange")
    options = replace(options, outside=outside)
    run = RunDirectory.create(options.run_root)
    if (lock := claim_up()) is None:
        found = _still_there(run)
        console.print(f"expected no other run to start or end just now, {found}", soft_wrap=True)
        return EXIT_DEGRADED
    run.state_file.unlink(missing_ok=True)
    log_file = run.logs / "supervisor.log"
    with lock, log_file.open("wb") as log:
        process = subprocess.Popen(  # noqa: S603 - our own program
            [
                sys.executable,
                *("-m", "cli.supervise", "--lock", str(lock.fileno())),
                *("--options", msgspec.json.encode(options).decode()),
            ],
            cwd=ROOT,
            env={**os.environ, "ALPHA_HOME": str(run.root.parent)},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            pass_fds=(lock.fileno(),),
        )
    try:
        with console.status("starting …"):
            ready_s = _until_ready(process, run, log_file)
    except KeyboardInterrupt:
        return _interrupted(process, console)
    if ready_s is None:
        console.print(f"not READY within {UP_TIMEOUT_S:.0f} s; see {run.logs}", soft_wrap=True)
        return EXIT_DEGRADED
    console.print(f"all READY in {ready_s:.1f} s", highlight=False)
    tell_ends(console, date.fromisoformat(options.day) if options.day else None)
    code = status(Console() if as_json else console, as_json=as_json)
    if not options.release:
        console.print("the kill switch is on: `alpha kill-switch off` lets it trade")
    return code


def _until_ready(
    process: subprocess.Popen[bytes], run: RunDirectory, log_file: Path
) -> float | None:
    """Return after how many seconds all was READY, None if it was not in time.

    Raises ConfigError or OperatingError with the supervisor's last words when that ended.
    """
    began = time.monotonic()
    while (waited_s := time.monotonic() - began) < UP_TIMEOUT_S:
        if process.poll() is not None:
            why = last_line(log_file) or f"it ended at once; see {log_file}"
            raise ConfigError(why) if process.returncode == EXIT_USAGE else OperatingError(why)
        state = run.read_state()
        if state is not None and all_ready(_health(state)):
            return waited_s
        time.sleep(0.1)
    return None


def _interrupted(process: subprocess.Popen[bytes], console: Console) -> int:
    """Stop what was starting: who takes back a command wants nothing left of it."""
    process.terminate()
    try:
        with console.status("stopping …"):
            process.wait(DOWN_TIMEOUT_S)
        console.print("interrupted: stopped again, nothing is left")
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        console.print("interrupted; it is still stopping, see `alpha status`")
    return EXIT_INTERRUPTED


def _still_there(run: RunDirectory) -> str:
    """Say which processes hold the lock, as far as the run's last state tells, and what to do."""
    rows = (run.read_state() or {}).get("processes", ())
    left = [f"{row['name']} {row['pid']}" for row in rows if row["pid"] and _lives(row["pid"])]
    return (
        f"found {', '.join(left) or 'one'}; try again in half a minute, see `alpha status`, "
        "and kill what is left of it then"
    )


def _lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def down(console: Console, *, as_json: bool) -> int:
    """End the run; return 0 when nothing of it is left."""
    left = _end(console)
    if as_json:
        Console().print_json(data={"down": not left, "still_running": left})
    return EXIT_DEGRADED if left else 0


def _end(console: Console) -> list[int]:
    """End the run and say so; return the processes that are left."""
    known = running()
    if known is None:
        console.print("nothing is up")
        return []
    pids = [known.supervisor_pid, *(row["pid"] for row in known.state["processes"] if row["pid"])]
    processes = [psutil.Process(pid) for pid in pids if psutil.pid_exists(pid)]
    os.kill(known.supervisor_pid, signal.SIGTERM)
    with console.status("cancelling orders and stopping …"):
        _, alive = psutil.wait_procs(processes, timeout=DOWN_TIMEOUT_S)
    left = [process.pid for process in alive]
    console.print(f"still running: {', '.join(map(str, left))}" if left else "down")
    return left


def status(console: Console, *, as_json: bool) -> int:
    """Show every process; return 0 when all are well, 1 when not, 3 when nothing is up."""
    known = running_or_say(as_json=as_json)
    if known is None:
        return EXIT_NOT_RUNNING
    health = _health(known.state)
    rows = _rows(known, health)
    well = all_ready(health) and all(row["health"] != "gone" for row in rows)
    if as_json:
        decided = risk_state(known)
        data = {"running": True, "well": well, "processes": rows, "risk": decided}
        console.print_json(data=data)
        return 0 if well else EXIT_DEGRADED
    console.print(str(known.run.root), highlight=False, soft_wrap=True)
    table = Table()
    for heading in ("process", "pid", "health", "restarts", "memory", "log"):
        table.add_column(heading, overflow="fold")
    for row in rows:
        memory = f"{row['memory_mb']:.0f} MB" if row["memory_mb"] else "–"
        table.add_row(
            row["name"],
            str(row["pid"] or "–"),
            row["health"],
            str(row["restarts"]),
            memory,
            os.path.relpath(row["log"], known.run.root),
        )
    console.print(table)
    for name, url in known.state.get("alerting", {}).items():
        where = f"{name} {url}, user {USER}, password in {known.run.secrets / LOGIN_FILE}"
        console.print(where, highlight=False, soft_wrap=True)
    for line in given_up(rows):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    show_decisions(console, risk_state(known))
    return 0 if well else EXIT_DEGRADED


def given_up(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a line for each process that the supervisor does not start any more: why, what now."""
    return [
        f"{row['name']} is not started again: {row['gave_up'][:300]}; when that is mended, "
        "`alpha down` and `alpha up`"
        for row in rows
        if row["gave_up"]
    ]


def _rows(known: RunningRun, health: dict[str, str]) -> list[dict[str, Any]]:
    rows = []
    for row in known.state["processes"]:
        alive = row["pid"] is not None and psutil.pid_exists(row["pid"])
        shown = health.get(row["name"], "running" if alive else "gone")
        rows.append({**row, "health": shown, "memory_mb": _memory_mb(row["pid"])})
    return rows


def _memory_mb(pid: int | None) -> float | None:
    try:
        return float(psutil.Process(pid).memory_info().rss / 1e6) if pid else None
    except psutil.Error:
        return None


def _health(state: dict[str, Any]) -> dict[str, str]:
    return asyncio.run(health_of(state["admin"]))
