"""Start processes, start again what dies, end them all in order; nothing is left behind."""

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct

BACKOFF_S = (0.1, 0.5, 1.0, 2.0, 5.0)
RESTARTS_MAX = 8
RESTART_WINDOW_S = 60.0
STOP_TIMEOUT_S = 20.0
ASK_AGAIN_S = 0.1
_PR_SET_PDEATHSIG = 1


class ProcessSpec(Struct, frozen=True, kw_only=True):
    """One process to keep alive."""

    name: str
    arguments: tuple[str, ...]
    log_file: Path
    restart: bool = True


class Child:
    """A process under supervision and what became of it."""

    def __init__(self, spec: ProcessSpec) -> None:
        self.spec = spec
        self.process: asyncio.subprocess.Process | None = None
        self.restarts = 0
        self.gave_up: str | None = None
        self.stopping = asyncio.Event()
        self.launched: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.recent: deque[float] = deque(maxlen=RESTARTS_MAX)

    @property
    def pid(self) -> int | None:
        """Return the process id while it runs."""
        if self.process is None or self.process.returncode is not None:
            return None
        return self.process.pid


def _die_with_parent() -> None:
    """Ask Linux to end this process when its supervisor is killed."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


class Supervisor:
    """Keep a set of processes alive until told to stop."""

    def __init__(
        self, working_directory: Path, environment: dict[str, str], hold: Sequence[int] = ()
    ) -> None:
        self._directory = working_directory
        self._environment = environment
        self._hold = hold
        self._children: dict[str, Child] = {}
        self._watchers: dict[str, asyncio.Task[None]] = {}

    @property
    def children(self) -> Sequence[Child]:
        """Return all processes in the order in which they were started."""
        return tuple(self._children.values())

    def child(self, name: str) -> Child:
        """Return one process by name."""
        return self._children[name]

    async def start(self, spec: ProcessSpec) -> Child:
        """Start a process and watch over it."""
        assert spec.name not in self._children, f"{spec.name} runs already"
        child = Child(spec)
        self._children[spec.name] = child
        watch = asyncio.create_task(self._watch(child), name=f"watch {spec.name}")
        self._watchers[spec.name] = watch
        await asyncio.shield(child.launched)
        return child

    async def stop(self, names: Sequence[str] | None = None) -> list[str]:
        """End processes together (all by default); return those that had to be killed."""
        chosen = [child for child in self.children if names is None or child.spec.name in names]
        for child in chosen:
            child.stopping.set()
        killed = await asyncio.gather(*(self._end(child) for child in chosen))
        return [child.spec.name for child, had_to in zip(chosen, killed, strict=True) if had_to]

    async def _launch(self, child: Child) -> None:
        with child.spec.log_file.open("ab") as log:
            child.process = await asyncio.create_subprocess_exec(
                *child.spec.arguments,
                cwd=self._directory,
                env=self._environment,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for us; we end them in order
                preexec_fn=_die_with_parent,
                pass_fds=self._hold,
            )

    async def _watch(self, child: Child) -> None:
        """Start the process, and again when it ends, until it is to stop or it dies too often.

        Never cancelled: a launch under way would leave a process that nobody knows.
        """
        try:
            await self._launch(child)
        except OSError as error:
            child.gave_up = f"could not be started: {error}"
            child.launched.set_exception(error)
            return
        child.launched.set_result(None)
        while True:
            assert child.process is not None, "a watched process was launched"
            code = await child.process.wait()
            if child.stopping.is_set():
                return
            why = last_line(child.spec.log_file) or f"exit code {code}"
            if not child.spec.restart:
                child.gave_up = why
                return
            now = time.monotonic()
            recent = [at for at in child.recent if now - at < RESTART_WINDOW_S]
            if len(recent) >= RESTARTS_MAX:
                child.gave_up = f"died {len(recent)} times in {RESTART_WINDOW_S:.0f} s: {why}"
                return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(BACKOFF_S[min(len(recent), len(BACKOFF_S) - 1)]):
                    await child.stopping.wait()
                    return
            child.recent.append(now)
            child.restarts += 1
            await self._launch(child)

    async def _end(self, child: Child) -> bool:
        """Ask a process to end and wait; return whether it had to be killed."""
        watcher = self._watchers[child.spec.name]
        deadline = time.monotonic() + STOP_TIMEOUT_S
        asked: int | None = None
        while time.monotonic() < deadline:
            if child.process is not None and (pid := child.pid) not in (None, asked):
                asked = pid
                with contextlib.suppress(ProcessLookupError):
                    child.process.terminate()
            await asyncio.wait({watcher}, timeout=ASK_AGAIN_S)
            if watcher.done():
                return False
        if child.process is not None:
            with contextlib.suppress(ProcessLookupError):
                child.process.kill()
        await watcher
        return True


def last_line(path: Path, tail_bytes: int = 4_096) -> str:
    """Return the last line of a log file, empty when there is none."""
    try:
        with path.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - tail_bytes))
            lines = file.read().decode("utf-8", "replace").strip().splitlines()
    except OSError:
        return ""
    return lines[-1] if lines else ""
