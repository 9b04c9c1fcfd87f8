"""Whose run is up: a process is ours by what it runs, never by the folder it lives in."""

import subprocess
import sys
from pathlib import Path

import pytest

from cli.run_directory import claim_up
from cli.runs import is_supervisor
from cli.up import given_up

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


def test_one_run_at_a_time_until_its_last_process_has_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALPHA_HOME", str(tmp_path))
    lock = claim_up()
    assert lock is not None
    assert claim_up() is None
    words = [sys.executable, "-c", WAIT]
    child = subprocess.Popen(words, stdout=subprocess.PIPE, pass_fds=(lock.fileno(),))
    try:
        assert child.stdout is not None
        child.stdout.readline()
        lock.close()  # its supervisor was killed
        assert claim_up() is None
    finally:
        child.kill()
        child.communicate()
    again = claim_up()
    assert again is not None
    again.close()


def test_what_is_not_started_again_says_why_and_what_to_do() -> None:
    names = {"feeds": None, "broker": "died 8 times: full"}
    rows = [{"name": name, "gave_up": why} for name, why in names.items()]
    (line,) = given_up(rows)
    assert line.startswith("broker is not started again: died 8 times: full; ")
    assert "`alpha down` and `alpha up`" in line
