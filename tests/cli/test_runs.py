"""Whose run is up: a process is ours by what it runs, never by the folder it lives in."""

import subprocess
import sys

import pytest

from cli.runs import is_supervisor

WAIT = "import signal; print(flush=True); signal.pause()"


@pytest.mark.parametrize(
    ("words", "ours"),
    [
        (["/usr/local/bin/alpha", "demo"], True),
        (["-m", "cli.supervise"], True),
        (["/srv/kalshi-alpha/notes.txt"], False),
        (["/srv/kalshi-alpha/.venv/bin/python", "-m", "pytest"], False),
    ],
)
def test_a_process_is_known_by_what_it_runs(words: list[str], ours: bool) -> None:
    process = subprocess.Popen([sys.executable, "-c", WAIT, *words], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        assert is_supervisor(process.pid) is ours
    finally:
        process.kill()
        process.communicate()
    assert not is_supervisor(process.pid)
