"""The supervisor, with real processes."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import psutil
import pytest

from cli.supervisor import RESTARTS_MAX, ProcessSpec, Supervisor, last_line

FOREVER = "import signal; signal.pause()"
STUBBORN = """
import signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("up", flush=True)
while True:
    signal.pause()
"""


@pytest.fixture
async def supervisor(tmp_path: Path) -> AsyncIterator[Supervisor]:
    one = Supervisor(tmp_path, dict(os.environ))
    yield one
    await one.stop()


def spec(tmp_path: Path, name: str, code: str, *, restart: bool = True) -> ProcessSpec:
    return ProcessSpec(
        name=name,
        arguments=(sys.executable, "-c", code),
        log_file=tmp_path / f"{name}.log",
        restart=restart,
    )


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.01)


async def test_what_is_killed_comes_back(supervisor: Supervisor, tmp_path: Path) -> None:
    child = await supervisor.start(spec(tmp_path, "one", FOREVER))
    first = child.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    await until(lambda: child.pid not in (None, first))
    assert child.restarts == 1


async def test_what_keeps_dying_is_given_up_with_its_last_words(
    supervisor: Supervisor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cli.supervisor.BACKOFF_S", (0.0,))
    child = await supervisor.start(spec(tmp_path, "one", "raise SystemExit('no nats there')"))
    await until(lambda: child.gave_up)
    assert child.restarts == RESTARTS_MAX
    assert "no nats there" in str(child.gave_up)


async def test_what_must_not_restart_stays_down(supervisor: Supervisor, tmp_path: Path) -> None:
    child = await supervisor.start(spec(tmp_path, "one", "raise SystemExit(3)", restart=False))
    await until(lambda: child.gave_up)
    assert (child.restarts, child.pid) == (0, None)


async def test_stop_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cli.supervisor.STOP_TIMEOUT_S", 0.2)
    supervisor = Supervisor(tmp_path, dict(os.environ))
    good = await supervisor.start(spec(tmp_path, "good", FOREVER))
    stubborn = await supervisor.start(spec(tmp_path, "stubborn", STUBBORN))
    await until(lambda: last_line(tmp_path / "stubborn.log") == "up")
    pids = [good.pid, stubborn.pid]
    assert await supervisor.stop() == ["stubborn"]
    assert not any(psutil.pid_exists(pid) for pid in pids if pid)
    assert good.restarts == stubborn.restarts == 0


async def test_a_start_that_is_interrupted_leaves_nothing(tmp_path: Path) -> None:
    supervisor = Supervisor(tmp_path, dict(os.environ))
    starting = asyncio.create_task(supervisor.start(spec(tmp_path, "one", FOREVER)))
    await asyncio.sleep(0)
    starting.cancel()
    await asyncio.gather(starting, return_exceptions=True)
    assert await supervisor.stop() == []
    mine = psutil.Process().children()
    assert not [child for child in mine if FOREVER in " ".join(child.cmdline())]


async def test_a_program_that_is_not_there_is_an_error(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    missing = ProcessSpec(name="x", arguments=("/no/such",), log_file=tmp_path / "x.log")
    with pytest.raises(OSError, match="no/such"):
        await supervisor.start(missing)
