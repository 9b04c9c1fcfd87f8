"""The short form of the chaos runs: SIGKILL at each of the seven points, once."""

import pytest

from tests.chaos.__main__ import MUTANTS, run_one
from tests.chaos.broker_process import POINTS

pytestmark = pytest.mark.timeout(110)


async def test_a_kill_at_each_point_loses_and_doubles_nothing():
    result = await run_one("1", seed=1, kills=len(POINTS))
    assert result["violations"] == [], result.get("log")
    assert result["orders"] > 0
    assert sum(result["faults"].values()) == len(POINTS)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["6", "9", "11", "12", "13"])
async def test_a_short_scenario(name):
    result = await run_one(name, seed=1, kills=0)
    assert result["violations"] == [], result.get("log")


@pytest.mark.slow
@pytest.mark.parametrize(("mutant", "name"), MUTANTS.items())
async def test_a_broken_broker_is_caught(mutant, name):
    assert (await run_one(name, seed=1, kills=0, mutant=mutant))["violations"]
