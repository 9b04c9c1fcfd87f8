"""The short form of the simulation: some seeds, the kept ones, and every broken broker.

In a process of its own, where the order of sets of strings is fixed: the same seed, the same run.
"""

import json
import subprocess
import sys

import pytest

from tests.sim.mutants import MUTANTS

pytestmark = pytest.mark.timeout(330)

KEPT_SEEDS = (137, 7099, 7227, 7266, 7845, 7997, 22610, 23045, 60716)
"""Seeds that failed once; docs/proof.md says what they found."""


def simulate(tmp_path, *words):
    """Run `python -m tests.sim` and return what it wrote as JSON."""
    result = tmp_path / "result.json"
    ended = subprocess.run(
        [sys.executable, "-m", "tests.sim", *words, "--json", str(result)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert result.exists(), ended.stderr
    return json.loads(result.read_text()), ended


def test_seeds_hold_every_invariant(tmp_path):
    result, ended = simulate(tmp_path, "--seeds", "100", "--also", *map(str, KEPT_SEEDS))
    assert result["failures"] == [], ended.stdout
    assert ended.returncode == 0
    assert result["orders"] > 1_000
    assert result["fills"] > 500


def test_the_same_seed_is_the_same_run(tmp_path):
    words = ("--seeds", "6", "--first", "20")
    first, second = (simulate(tmp_path, *words, "--jobs", jobs)[0] for jobs in ("1", "2"))
    for result in (first, second):
        del result["seconds"]
    assert first == second


def test_every_broken_broker_is_caught(tmp_path):
    result, ended = simulate(tmp_path, "--mutants")
    assert set(result) == {mutant.__name__ for mutant in MUTANTS}
    free = [name for name, found in result.items() if not found["why"]]
    assert not free, ended.stdout
