"""`alpha export` from a system that is up, and `alpha replay` of what it wrote."""

import json
from typing import Any

import pytest

from tests.e2e.rig import Home, Run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
DAY = "2026-10-02"


def as_json(home: Home, *words: str) -> dict[str, Any]:
    shown = home.alpha(*words, "--json", timeout_s=300.0)
    assert shown.returncode == 0, shown.stdout + shown.stderr
    return dict(json.loads(shown.stdout))


@pytest.mark.parametrize("source", ["streams", "raw"])
def test_what_a_system_holds_is_exported_while_it_runs_and_replayed(
    home: Home, source: str
) -> None:
    up = home.start("up", "--date", DAY, "--speed", "10", "--release")
    assert up.wait() == 0, up.said + up.complained
    run = Run(home.root / "up")
    assert run.some_rest()
    capture = str(home.root / "day.cap")
    words = ("--raw",) if source == "raw" else ()
    exported = as_json(home, "export", "--day", DAY, "--out", capture, *words)
    assert as_json(home, "status")["well"] is True  # it trades on meanwhile
    assert as_json(home, "down")["down"] is True
    assert sum(exported["records"].values()) > 100
    assert exported["unreadable"] == {}
    first, again = (as_json(home, "replay", capture) for _ in range(2))
    assert first["effects_digest"] == again["effects_digest"]
    assert first["inputs"] == again["inputs"] > 100
    assert first["effects"] > first["inputs"] / 10  # the cores decided something
    assert home.nothing_runs(15.0)
