"""Fixtures of the end-to-end tests: a home per test, and one finished demo that many look at."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.rig import Home, Run, Running

SPEED = "20"


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    """A home of runs; what the test leaves running is ended."""
    one = Home(tmp_path / "home")
    yield one
    one.clear()


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Running, Run]]:
    """A synthetic demo that ran undisturbed to its end."""
    one = Home(tmp_path_factory.mktemp("finished") / "home")
    running = one.start("demo", "--speed", SPEED, "--json")
    run = running.run
    running.wait()
    yield running, run
    one.clear()
