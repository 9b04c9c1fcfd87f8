"""`kill -9` in the middle of a demo: the run still ends by itself, with books that agree."""

import random

import pytest

from tests.e2e.rig import BARS, SERVICES, Home, Running, assert_good_books, assert_replayed
from tests.shared_data import SHARED_DATA

SPEED = "15"
pytestmark = pytest.mark.timeout(400)
EVERYTHING = (*SERVICES, "nats")
LAST_KILL_S = 60.0
"""No kill in the last minute of the run's clock: all are to be back for T−2 s and settlement."""


def ends_well(running: Running) -> None:
    assert running.wait() == 0, running.said + running.complained
    assert_good_books(running.said)
    assert running.home.nothing_runs(5)


async def test_killed_one_after_another(home: Home) -> None:
    """The bus last: without it all others end too, and come back by themselves.

    On real minute bars when they are at hand: nothing else differs.
    """
    bars = SHARED_DATA / BARS
    words = ["--bars", str(bars)] if bars.exists() else []
    running = home.start("demo", "--speed", SPEED, "--json", *words)
    run = running.run
    assert run.some_rest()
    for victim in ("broker", "reporting", "feeds", "nats"):
        before = run.kill(victim)
        assert run.came_back(victim, before)["restarts"] == before + 1
        if victim in ("broker", "feeds"):
            await run.healthy(victim)
    ends_well(running)
    if words:
        assert_replayed(running, run)


@pytest.mark.slow
@pytest.mark.parametrize("victim", EVERYTHING)
async def test_each_one_killed(home: Home, victim: str) -> None:
    running = home.start("demo", "--speed", SPEED, "--json")
    run = running.run
    assert run.some_rest()
    before = run.kill(victim)
    assert run.came_back(victim, before)["restarts"] == before + 1
    await run.healthy()
    ends_well(running)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
async def test_killed_at_random(home: Home, seed: int) -> None:
    """Which one dies next, and how much later, is drawn from the seed."""
    draw = random.Random(seed)
    running = home.start("demo", "--speed", "10", "--seed", str(seed), "--json")
    run = running.run
    assert run.some_rest()
    while True:
        at_s = run.before_target_s() - draw.uniform(20.0, 90.0)
        if at_s < LAST_KILL_S:
            break
        while run.before_target_s() > at_s:
            pass
        victim = draw.choice(EVERYTHING)
        before = run.kill(victim)
        run.came_back(victim, before)
    ends_well(running)
