"""Intervals over days, coverage and the uniformity test against what arithmetic gives."""

import numpy as np
import pytest
from scipy.stats import kstest

from lab.index.metrics import DayDraws, coverage, difference_of, gain_of, uniformity

DAY = np.repeat(np.arange(10), 6)
DRAWS = DayDraws.of(tuple(map(str, range(10))))


def test_a_gain_is_one_less_the_ratio_of_sums():
    mine, theirs = np.full(60, 0.9), np.ones(60)
    assert gain_of(mine, theirs, DAY, DRAWS) == (pytest.approx(0.1), (0.1, 0.1))


def test_an_interval_covers_what_differs_between_days_alone():
    """All luck is the day's: the standard error is that of 10 days, not of 60 cases."""
    rng = np.random.default_rng(1)
    luck = np.repeat(rng.standard_normal(10), 6)
    point, interval = difference_of(luck, np.zeros(60), DAY, DRAWS)
    days = luck[::6]
    assert point == pytest.approx(days.mean())
    error = days.std() / np.sqrt(10)
    assert interval[1] - interval[0] == pytest.approx(2 * 1.96 * error, rel=0.1)


def test_coverage_counts_the_central_interval():
    assert coverage(np.array([0.05, 0.1, 0.5, 0.9, 0.95]), 80) == pytest.approx(0.6)


def test_the_naive_test_is_kolmogorovs():
    pit = np.random.default_rng(2).uniform(size=60) ** 1.3
    found = uniformity(pit, DAY)
    known = kstest(pit, "uniform", method="exact")
    assert found.ks == pytest.approx(known.statistic, abs=1e-6)
    assert found.p_independent == pytest.approx(known.pvalue, abs=0.01)
    assert sum(found.histogram) == pytest.approx(1.0)


def test_the_test_by_days_keeps_its_size_where_the_naive_one_does_not():
    """A day's cases share one uniform draw: uniform all the same, and 5 % may be rejected."""
    rng = np.random.default_rng(3)
    day = np.repeat(np.arange(40), 15)
    found = [
        uniformity(np.clip(np.repeat(rng.uniform(size=40), 15), 0, 1), day) for _ in range(200)
    ]
    assert np.mean([row.p_by_days < 0.05 for row in found]) < 0.12
    assert np.mean([row.p_independent < 0.05 for row in found]) > 0.5


def test_what_is_not_uniform_is_rejected():
    rng = np.random.default_rng(4)
    narrow = 0.5 + 0.3 * (rng.uniform(size=600) - 0.5)
    found = uniformity(narrow, np.repeat(np.arange(40), 15))
    assert found.p_by_days < 1e-6


def test_few_days_give_no_test_by_days():
    assert uniformity(np.linspace(0, 1, 30), np.repeat(np.arange(3), 10)).p_by_days is None
