"""`alpha up --brokers 2`: one leads, one stands by; whatever happens to the leader, one trades."""

import json
import os
import signal
from typing import Any

import pytest

from tests.e2e.rig import Home, Run, until
from tests.e2e.test_up import as_json

pytestmark = pytest.mark.timeout(400)
TAKEOVER_S = 10 + 5 + 15
"""reliability.md 2: the lease's time to live and 5 s; the rest is for a busy machine."""


def healths(home: Home) -> dict[str, str]:
    shown = home.alpha("status", "--json")
    rows = json.loads(shown.stdout)["processes"]
    return {row["name"]: row["health"] for row in rows if row["name"].startswith("broker")}


def leads(home: Home, name: str) -> bool:
    return healths(home)[name] == "SERVING"


def trades(home: Home, run: Run) -> bool:
    """Return once a new order is accepted."""
    before = len(run.books().orders)
    return bool(until(lambda: len(run.books().orders) > before, "a new order", 60))


def no_order_twice(run: Run) -> bool:
    ids = [order.client_order_id for order in run.books().orders.values()]
    return len(ids) == len(set(ids))


async def test_two_brokers(home: Home) -> None:
    shown = home.alpha("up", "--brokers", "2", "--date", "2026-10-02", "--speed", "3", "--release")
    assert shown.returncode == 0, shown.stdout + shown.stderr
    run = Run(home.root / "up")
    status = as_json(home, "status")
    assert status["well"] is True
    first = healths(home)
    assert sorted(first.values()) == ["SERVING", "STANDBY"]
    leader = next(name for name, state in first.items() if state == "SERVING")
    other = next(name for name in first if name != leader)
    assert run.some_rest()

    a_leader_that_can_not_come_back(home, run, leader, other)
    the_switch_with_a_token_that_is_wrong(home, run)
    the_switch_without_any_broker(home, run, other)

    shown = home.alpha("down")
    assert shown.returncode == 0, shown.stdout
    assert home.nothing_runs(1)
    assert run.resting() == []
    assert no_order_twice(run)


def a_leader_that_can_not_come_back(home: Home, run: Run, leader: str, other: str) -> None:
    """Killed, it would be back at its own place sooner than its lease runs out."""
    config = run.root / "etc" / f"{leader}.yaml"
    kept = config.read_text()
    config.unlink()
    run.kill(leader)
    until(lambda: leads(home, other), f"{other} to take over", TAKEOVER_S)
    assert healths(home)[leader] in ("UNREACHABLE", "NOT_SERVING")
    assert as_json(home, "status", code=1)["well"] is False
    assert as_json(home, "kill-switch", "status")["engaged"] is False  # asks who leads
    assert trades(home, run)
    config.write_text(kept)
    until(lambda: healths(home)[leader] == "STANDBY", f"{leader} to stand by", 60)
    assert as_json(home, "status")["well"] is True


def the_switch_with_a_token_that_is_wrong(home: Home, run: Run) -> None:
    """A broker leads and trades, and won't listen: nothing may rest all the same."""
    token = run.root / "secrets" / "admin.token"
    kept = token.read_text()
    token.write_text("changed after the start")
    assert home.alpha("kill-switch", "status").returncode == 3
    answer: dict[str, Any] = as_json(home, "kill-switch", "on")
    assert (answer["broker"], answer["engaged"], answer["confirmed_zero"]) == (False, True, True)
    assert "UNAUTHENTICATED" in answer["why"]
    assert run.resting() == []
    token.write_text(kept)
    assert as_json(home, "kill-switch", "status")["engaged"] is True
    assert run.resting() == []
    assert as_json(home, "kill-switch", "off")["engaged"] is False


def the_switch_without_any_broker(home: Home, run: Run, leader: str) -> None:
    """The leader hangs and its successor can't be reached either: the switch works all the same."""
    assert run.some_rest()
    pids = [run.row(name)["pid"] for name in healths(home)]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        answer: dict[str, Any] = as_json(home, "kill-switch", "on", "--reason", "a test")
        assert (answer["broker"], answer["engaged"], answer["confirmed_zero"]) == (
            False,
            True,
            True,
        )
        assert run.resting() == []
        placed = len(run.books().orders)
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
    until(lambda: "SERVING" in healths(home).values(), f"{leader} or its successor to lead", 60)
    state = as_json(home, "kill-switch", "status")
    assert (state["engaged"], state["reason"]) == (True, "a test")
    assert run.resting() == []
    assert len(run.books().orders) == placed
