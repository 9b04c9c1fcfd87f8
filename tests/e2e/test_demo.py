"""`alpha demo` from start to end: exit code, books, report, secrets, real data."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.e2e.rig import (
    BARS,
    PYTHON,
    SERVICES,
    Home,
    Run,
    Running,
    assert_good_books,
    assert_replayed,
    report_of,
)
from tests.shared_data import shared_file

pytestmark = pytest.mark.timeout(300)


def test_books_agree(finished: tuple[Running, Run]) -> None:
    running, run = finished
    assert running.wait() == 0, running.complained
    result = assert_good_books(running.said)
    assert result["exchange"]["fills"] >= 1
    assert result["exchange"]["contracts_e2"] >= result["exchange"]["fills"]
    assert run.resting() == []
    assert "Traceback" not in running.complained
    markdown, report = report_of(running.said)[1:]
    assert "[SYNTHETIC]" in markdown
    assert report["provenance"] == ["synthetic"]


def test_nothing_is_left_running(finished: tuple[Running, Run]) -> None:
    running, run = finished
    assert running.home.nothing_runs(5)
    assert run.state() is None


def test_no_service_died_or_failed(finished: tuple[Running, Run]) -> None:
    logs = {path.name: path.read_text() for path in (finished[1].root / "log").iterdir()}
    assert len(logs) == 9
    for name, text in logs.items():
        assert "Traceback" not in text, name
        assert '"level": "error"' not in text, name
    for name in SERVICES:
        assert logs[f"{name}.log"].count('"state": "READY"') == 1, name


def test_no_secret_outside_the_secrets_folder(finished: tuple[Running, Run]) -> None:
    running, run = finished
    secrets = run.secrets()
    assert {"admin.token", "index.key", "exchange-key.pem", "nats-broker.password"} <= set(secrets)
    assert all(len(secret) > 20 for secret in secrets.values())
    places: list[Path] = [*run.files(), *running.home.root.glob("command-*")]
    searched = {path.parent.name for path in places}
    assert {"etc", "log", "raw", "reports"} <= searched
    found = [
        (name, str(path))
        for path in places
        for name, secret in secrets.items()
        if secret.encode() in path.read_bytes()
    ]
    assert found == []


def test_no_secret_in_the_ledger(finished: tuple[Running, Run], tmp_path: Path) -> None:
    """Its files are compressed: the rows are read, from a copy, in a process of their own."""
    run = finished[1]
    shutil.copytree(run.root / "ledger" / "data", tmp_path / "data", symlinks=True)
    code = (
        "import sys; from chdb.session import Session; "
        "print(Session(sys.argv[1]).query('SELECT * FROM messages', 'JSONEachRow'))"
    )
    read = subprocess.run(
        [PYTHON, "-c", code, str(tmp_path / "data")], capture_output=True, text=True, check=True
    )
    rows = read.stdout.splitlines()
    assert len(rows) > 1_000
    found = [name for name, secret in run.secrets().items() if secret in read.stdout]
    assert found == []


def test_secrets_are_closed_to_others(finished: tuple[Running, Run]) -> None:
    secrets = finished[1].root / "secrets"
    assert secrets.stat().st_mode & 0o077 == 0
    assert [path for path in secrets.iterdir() if path.stat().st_mode & 0o077] == []


def test_raw_copies_hold_frames_and_no_auth(finished: tuple[Running, Run]) -> None:
    raw = {path.name: path.read_text() for path in (finished[1].root / "raw").iterdir()}
    assert len(raw) == 2
    index = next(text for name, text in raw.items() if name.startswith("index"))
    assert '"action"' not in index
    frames = [json.loads(line)["raw"] for line in index.splitlines()]
    assert any("I:SPX" in frame for frame in frames)


@pytest.mark.slow
def test_real_bars(home: Home) -> None:
    """Undisturbed; make test has it with kills (test_kill.py)."""
    running = home.start("demo", "--bars", str(shared_file(BARS)), "--json")
    run = running.run
    assert running.wait() == 0, running.complained
    result = assert_good_books(running.said)
    assert result["exchange"]["fills"] >= 1
    assert_replayed(running, run)
    assert home.nothing_runs(5)
