"""Find the run that is up on this machine: `alpha up`'s, or a demo under way."""

from pathlib import Path
from typing import Any

import psutil
from msgspec import Struct
from rich.console import Console

from cli.run_directory import RunDirectory, home
from libs.common.topology import Service


class RunningRun(Struct, frozen=True):
    """A run directory whose supervisor lives, and what that wrote last."""

    run: RunDirectory
    state: dict[str, Any]

    @property
    def supervisor_pid(self) -> int:
        """Return the process that keeps the run alive."""
        return int(self.state["supervisor_pid"])

    def admin_port(self, service: str) -> int:
        """Return where a service's gRPC admin endpoint listens."""
        return int(self.state["admin"][service])


def up_directory() -> RunDirectory:
    """Return the directory of `alpha up` against the simulated exchange."""
    return RunDirectory(home().resolve() / "up")


def running() -> RunningRun | None:
    """Return the run that is up now, `alpha up`'s before a demo; None when nothing runs."""
    live = [RunDirectory(path) for path in home().resolve().glob("live-*")]
    demos = sorted((home().resolve() / "demo").glob("*/state.json"), reverse=True)
    for run in (*live, up_directory(), *(RunDirectory(path.parent) for path in demos)):
        state = run.read_state()
        if state is not None and is_supervisor(int(state.get("supervisor_pid", 0))):
            return RunningRun(run, state)
    return None


def running_or_say(*, as_json: bool) -> RunningRun | None:
    """Return the run that is up now; None, and say so, when nothing runs.

    People hear it on standard error; a script that asked for JSON gets an object.
    """
    known = running()
    if known is None:
        if as_json:
            Console().print_json(data={"running": False})
        else:
            Console(stderr=True).print("nothing is up; start it with `alpha up`")
    return known


def last_live() -> RunDirectory | None:
    """Return the folder of the newest run on an outside exchange, up or not; None without one."""
    files = list(home().resolve().glob(f"live-*/etc/{Service.BROKER}.yaml"))
    newest = max(files, key=lambda path: path.stat().st_mtime_ns, default=None)
    return None if newest is None else RunDirectory(newest.parents[1])


def is_supervisor(pid: int) -> bool:
    """Return whether this process is one of ours that supervises a run.

    The number may long be another process's, and that one may merely live in a folder of ours:
    it must not be taken for a run, `alpha down` would end it.
    """
    try:
        command = psutil.Process(pid).cmdline()
    except (psutil.Error, ValueError):
        return False
    return any(Path(part).name.startswith("alpha") or part.startswith("cli.") for part in command)
