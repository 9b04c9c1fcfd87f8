"""Ctrl-C, SIGTERM and SIGKILL in the middle: nothing rests, nothing runs, the next run works."""

import signal

import pytest

from tests.e2e.conftest import SPEED
from tests.e2e.rig import Home, Run, until

pytestmark = pytest.mark.timeout(300)
INTERRUPTED = 130


def test_ctrl_c_cancels_and_stops_and_the_next_run_works(home: Home) -> None:
    first = home.start("demo", "--speed", SPEED)
    run = first.run
    assert run.some_rest()
    first.process.send_signal(signal.SIGINT)
    assert first.wait(60) == INTERRUPTED, first.said
    assert home.nothing_runs(5)
    assert run.books().orders
    assert run.resting() == []
    assert "interrupted" in first.said
    assert "Traceback" not in first.said + first.complained

    second = home.start("demo", "--speed", SPEED, "--json")
    run = second.run
    assert run.some_rest()
    second.process.kill()  # nobody is left to stop the others: the system tells them
    second.wait(10)
    # What rested is the exchange's to expire: the simulated one ended with the rest.
    assert home.nothing_runs(60)


def test_sigterm_while_it_starts(home: Home) -> None:
    running = home.start("demo", "--speed", SPEED)
    run = running.run
    until(lambda: run.row("feeds")["pid"], "the first service")
    running.process.terminate()
    assert running.wait(60) == INTERRUPTED, running.said
    assert home.nothing_runs(5)
    assert run.books().orders == {}
    assert "Traceback" not in running.said + running.complained


def test_ctrl_c_while_it_comes_up(home: Home) -> None:
    running = home.start("up")
    run = Run(home.root / "up")
    until(lambda: run.state() and run.row("feeds")["pid"], "the first service")
    running.process.send_signal(signal.SIGINT)
    assert running.wait(60) == INTERRUPTED, running.said
    assert home.nothing_runs(5)
    assert "nothing is left" in running.said
    assert "Traceback" not in running.said + running.complained


@pytest.mark.slow
def test_sigterm_in_the_middle(home: Home) -> None:
    running = home.start("demo", "--speed", SPEED, "--json")
    run = running.run
    assert run.some_rest()
    running.process.terminate()
    assert running.wait(60) == INTERRUPTED
    assert home.nothing_runs(5)
    assert run.resting() == []
    assert running.said == ""


@pytest.mark.slow
def test_ctrl_c_again_and_again_changes_nothing(home: Home) -> None:
    running = home.start("demo", "--speed", SPEED)
    run = running.run
    assert run.some_rest()
    while running.process.poll() is None:
        running.process.send_signal(signal.SIGINT)
    assert running.wait() == INTERRUPTED
    assert home.nothing_runs(5)
    assert run.resting() == []
