"""Wires: what goes in first comes out first, and the same seed takes the same time."""

import random

import pytest

from lab.drive.latency import Latency, Line

MS = 1_000_000


def test_a_line_without_jitter_takes_its_time():
    line = Line(0.003, 0.0, random.Random(1))
    assert [line.arrival_ns(now) for now in (0, MS)] == [3 * MS, 4 * MS]


def test_nothing_overtakes_and_the_seed_repeats_it():
    def arrivals(seed):
        line = Line(0.003, 0.5, random.Random(seed))
        return [line.arrival_ns(now * MS // 10) for now in range(500)]

    first = arrivals(7)
    assert first == sorted(first)
    assert first == arrivals(7) != arrivals(8)
    took = [at - now * MS // 10 for now, at in enumerate(first)]
    assert min(took) >= 3 * MS
    assert max(took) <= 3 * MS + 15 * MS + 50 * MS  # at most ten means, behind one such


def test_a_negative_time_is_refused_by_name():
    with pytest.raises(ValueError, match="request_s: expected 0 to 10"):
        Latency(request_s=-0.1)
