"""`alpha up`, `status`, `kill-switch`, `down`: one system in the background, operated."""

import json
from pathlib import Path
from typing import Any

import pytest

from libs.common.clock import NS_PER_S
from tests.e2e.rig import SERVICES, Home, Run, until

pytestmark = pytest.mark.timeout(300)
SPEED = 10
LATE_MS = 100
"""After so long, in real time, nothing new may be accepted once the switch is engaged."""


def as_json(home: Home, *words: str, code: int = 0) -> dict[str, Any]:
    shown = home.alpha(*words, "--json")
    assert shown.returncode == code, shown.stdout + shown.stderr
    return dict(json.loads(shown.stdout))


async def test_a_system_in_the_background(home: Home) -> None:
    both = [home.start("up", "--date", "2026-10-02", "--speed", str(SPEED)) for _ in range(2)]
    assert sorted(one.wait() for one in both) == [0, 1], [one.said + one.complained for one in both]
    late, first = sorted(both, key=lambda one: "all READY" in one.said)
    assert "all READY" in first.said
    assert "expected no other run to start" in late.said
    run = Run(home.root / "up")

    status = as_json(home, "status")
    assert status["well"] is True
    assert {row["name"]: row["restarts"] for row in status["processes"]} == dict.fromkeys(
        ("nats", "exchange", "index", *SERVICES), 0
    )
    assert {row["health"] for row in status["processes"]} == {"SERVING", "running"}
    assert as_json(home, "kill-switch", "status")["engaged"] is True
    assert run.books().orders == {}

    refused = home.alpha("reset-group", "KXINXU-26OCT02H1200")
    assert (refused.returncode, "expected one that is stopped" in refused.stderr) == (3, True)

    again = home.alpha("up")
    assert again.returncode == 1
    assert "already up" in again.stdout
    assert as_json(home, "status")["processes"][0]["pid"] == status["processes"][0]["pid"]

    await the_switch_stops_trading(home, run)
    await a_killed_service_is_seen_to_come_back(home, run)
    the_monitors_are_shown(home)
    everything_goes_down(home, run)


def the_monitors_are_shown(home: Home) -> None:
    shown = home.alpha("monitors", "--json", "--series", "kxinxu")
    rows = {(row["monitor"], row["scope"]): row for row in json.loads(shown.stdout)}
    states = {row["state"] for row in rows.values()}
    assert shown.returncode == (1 if "ALERT" in states else 4)  # there is no settled history
    assert (rows["heartbeats", "all"]["state"], rows["heartbeats", "all"]["threshold"]) == (
        "OK",
        300,
    )
    assert rows["kill_switch", "all"]["state"] == "OK"
    assert ("sigma_drift", "INXU") in rows
    assert ("sigma_drift", "NASDAQ100U") not in rows
    assert home.alpha("monitors", "--series", "NOPE").returncode == 2
    feeds = json.loads(home.alpha("freshness", "--json").stdout)
    watched = {row["feed"] for row in feeds if "state" in row}
    assert watched == {"index.ws", "kalshi.ladders", "kalshi.status", "clock"}
    assert {row["feed"] for row in feeds} > {"aaa_gas.daily", "treasury_10y.daily"}


async def the_switch_stops_trading(home: Home, run: Run) -> None:
    assert as_json(home, "kill-switch", "off")["engaged"] is False
    assert run.some_rest()
    asked_ns = run.now_ns()
    answer = as_json(home, "kill-switch", "on")
    answered_ns = run.now_ns()
    assert answer["engaged"] is answer["confirmed_zero"] is True
    assert (answer["resting"], answer["unknown"]) == (0, 0)
    assert run.resting() == []
    # Engaged at some time between question and answer: count from the earliest one known.
    switch = [line for line in log(run, "broker") if line["event"] == "kill switch"]
    engaged_ns = next(line["t_ns"] for line in reversed(switch) if line["engaged"])
    assert asked_ns < engaged_ns < answered_ns
    # Long enough for proposals and verdicts to come that would have been traded.
    until(lambda: run.now_ns() > answered_ns + 20 * NS_PER_S, "twenty seconds of the run")
    newest_ns = max(order.accepted_ns for order in run.books().orders.values())
    assert newest_ns <= engaged_ns + SPEED * LATE_MS * 1_000_000
    assert as_json(home, "kill-switch", "status")["engaged"] is True
    before = len(run.books().orders)
    assert as_json(home, "kill-switch", "off")["engaged"] is False
    assert run.some_rest()
    assert len(run.books().orders) > before


async def a_killed_service_is_seen_to_come_back(home: Home, run: Run) -> None:
    before = run.kill("pricer")
    run.came_back("pricer", before)
    await run.healthy()
    rows = {row["name"]: row for row in as_json(home, "status")["processes"]}
    assert rows["pricer"]["restarts"] == 1
    assert rows["pricer"]["health"] == "SERVING"
    assert {row["restarts"] for name, row in rows.items() if name != "pricer"} == {0}


def everything_goes_down(home: Home, run: Run) -> None:
    assert as_json(home, "down") == {"down": True, "still_running": []}
    assert home.nothing_runs(1)
    assert run.resting() == []
    assert run.books().orders
    assert as_json(home, "status", code=3) == {"running": False}
    assert home.alpha("down").returncode == 0


def log(run: Run, name: str) -> list[dict[str, Any]]:
    """Return a service's log lines."""
    path: Path = run.root / "log" / f"{name}.log"
    return [json.loads(line) for line in path.read_text().splitlines() if line.startswith("{")]
