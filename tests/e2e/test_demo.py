"""`alpha demo` from start to end: exit code, books, report, secrets, real data."""

import json
from pathlib import Path

import pytest

from tests.e2e.conftest import SPEED
from tests.e2e.rig import SERVICES, Home, Run, Running, assert_good_books, report_of
from tests.shared_data import shared_file

pytestmark = pytest.mark.timeout(300)
BARS = "index/windows/I_SPX_2024-08-05_noon.parquet"


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
    """The ledger's rows are asked for by reporting's tests; here its files are searched too."""
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


def test_real_bars(home: Home) -> None:
    bars = shared_file(BARS)
    running = home.start("demo", "--bars", str(bars), "--speed", SPEED, "--json")
    run = running.run
    assert running.wait() == 0, running.complained
    result, markdown, report = report_of(running.said)
    assert_good_books(running.said)
    assert result["exchange"]["orders"] >= 1
    assert report["provenance"] == ["replay"]
    assert "2024-08-05 12:00" in markdown
    symbols = {row[2] for row in report["sections"]["events"]["rows"]}
    assert symbols == {"I:SPX", "I:NDX"}
    config = (run.root / "etc" / "index.yaml").read_text()
    assert "I_SPX_2024-08-05_noon" in config
    assert "I:NDX" in running.complained
    assert home.nothing_runs(5)
