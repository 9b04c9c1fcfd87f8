"""The index model: what it knows when, what widens and narrows it, and what its fit finds."""

from datetime import date
from itertools import pairwise
from math import exp, sqrt

import numpy as np
import pytest
from msgspec.structs import replace

from libs.domain.eastern import eastern_ns
from libs.domain.macro_days import MacroEvent
from libs.domain.strikes import Rung, StrikeType, rung_edges
from libs.domain.windows import TargetPassedError, WindowError
from services.pricer.models import mixture
from services.pricer.models.contract import Belief, IndexInputs, TradingDay, target_of
from services.pricer.models.history import FitError, History
from services.pricer.models.session import BINS, overlaps, variance_between
from services.pricer.models.volatility import log_evidence, nodes_of, stationary, transition
from tests.lab.index.walks import SIGMA, history, sessions_from, walk
from tests.services.pricer.builders import MINUTE, TARGET, S
from tests.services.pricer.builders import mixture as calibrated

TARGET_NOON = target_of("INXU", TARGET)
DAY = TARGET_NOON.day


def inputs(target=TARGET_NOON, belief=None, level=5220.0) -> IndexInputs:
    return IndexInputs(level_e4=round(level * 10_000), target=target, belief=belief)


def sigma(seconds, found=None, belief=None, target=TARGET_NOON):
    at_ns = target.at_ns - round(seconds * S)
    return mixture.distribution(inputs(target, belief), found or calibrated(), at_ns).sigma


@pytest.mark.parametrize("seconds", [0, -1, -86_400])
def test_a_target_passed_is_an_error(seconds):
    with pytest.raises(TargetPassedError):
        sigma(seconds)


def test_variance_is_what_the_clock_gives_times_that_of_the_day():
    """2.5 points a minute, E exp(2x) = exp(2·0.5²·(1 + 1/9)) with the part that flickers."""
    expected = 2.5 * sqrt(15) * exp(0.5**2 * (1 + 1 / 9))
    assert sigma(15 * 60) == pytest.approx(expected, rel=2e-2)


def test_it_narrows_without_a_floor():
    """By the root of time down to a second."""
    assert sigma(15) == pytest.approx(sigma(60) / 2, rel=0.02)
    assert sigma(1) < 0.5


def test_a_calm_morning_narrows_and_a_wild_one_widens():
    found = calibrated()
    widths = {}
    for name, factor in (("calm", 0.4), ("usual", 1.0), ("wild", 3.0)):
        watch = mixture.watch(found, "I:SPX")
        for minute in range(100):
            change = (-1) ** minute * factor * 2.5 / 5220
            begin_ns = DAY.open_ns + minute * MINUTE
            watch.observe(DAY, begin_ns, begin_ns + MINUTE, change)
        widths[name] = sigma(15 * 60, belief=watch.belief)
    assert widths["calm"] < 0.7 * widths["usual"] < widths["usual"] < widths["wild"] / 1.8
    assert widths["usual"] < sigma(15 * 60)  # and knowing is worth something by itself


def test_yesterdays_belief_is_not_todays():
    other = Belief(DAY.open_ns - 86_400 * S, TARGET - 86_400 * S, 1.0, 0.01)
    assert sigma(900, belief=other) == sigma(900)


def test_a_new_day_forgets():
    watch = mixture.watch(calibrated(), "I:SPX")
    before = TradingDay(DAY.open_ns - 86_400 * S, DAY.close_ns - 86_400 * S)
    for day, change in ((before, 0.01), (DAY, 0.0005)):
        watch.observe(day, day.open_ns, day.open_ns + MINUTE, change)
    alone = mixture.watch(calibrated(), "I:SPX")
    alone.observe(DAY, DAY.open_ns, DAY.open_ns + MINUTE, 0.0005)
    assert watch.belief == alone.belief


def test_the_fomc_widens_what_comes_after_two_and_nothing_before():
    """κ 1.5: T−15 before 15:00 is all after the decision, T−15 before noon all before."""
    day = date(2024, 9, 18)
    for hour, ratio in ((12, 1.0), (15, 1.5), (16, 1.5)):
        target = target_of("INXU", eastern_ns(day, hour))
        assert target.day.events == {MacroEvent.FOMC}
        plain = replace(target, day=replace(target.day, events=frozenset()))
        assert sigma(900, target=target) == pytest.approx(ratio * sigma(900, target=plain))


def test_one_distribution_prices_thresholds_and_ranges_alike():
    """P(range) is the difference of two thresholds; > and ≥ differ by what lies on the strike."""
    close_ns = eastern_ns(date(2024, 8, 5), 16)
    nested, ranges = target_of("INXU", close_ns), target_of("INX", close_ns)
    now_ns = close_ns - 10 * MINUTE
    cdf = [mixture.distribution(inputs(t), calibrated(), now_ns).cdf for t in (nested, ranges)]
    strict, weak, above = rung_edges(
        (
            Rung("a", StrikeType.GREATER, 52_200_000),
            Rung("b", StrikeType.GREATER_OR_EQUAL, 52_200_000),
            Rung("c", StrikeType.GREATER_OR_EQUAL, 52_450_000),
        ),
        100,
    ).probabilities(cdf[0])
    between = rung_edges((Rung("r", StrikeType.BETWEEN, 52_200_000, 52_449_900),), 100)
    assert between.probabilities(cdf[1])[0] == pytest.approx(weak - above, abs=1e-12)
    on_strike = np.diff(cdf[0](np.array([5219.995, 5220.005])))[0]
    assert weak - strict == pytest.approx(on_strike, abs=1e-12)
    assert on_strike > 0


def test_targets_outside_of_a_session_have_no_distribution():
    for at_ns in (eastern_ns(date(2024, 8, 3), 12), eastern_ns(date(2024, 8, 5), 9)):
        with pytest.raises(WindowError):
            target_of("INXU", at_ns)


def test_a_short_session_ends_like_a_long_one():
    """The last five minutes of a 13:00 close have the rate of the last bin, noon its own."""
    rates = tuple(float(place + 1) for place in range(len(BINS)))
    assert variance_between(rates, 205, 210, 210) == pytest.approx(5 * len(BINS))
    assert variance_between(rates, 385, 390, 390) == pytest.approx(5 * len(BINS))
    assert variance_between(rates, 150, 160, 210) == pytest.approx(10 * 6)
    for length in (210.0, 390.0):
        edges = np.linspace(0.0, length, 22)
        rows = overlaps(edges[:-1], edges[1:], np.full(21, length))
        assert rows.sum(axis=1) == pytest.approx(np.diff(edges))
        by_span = [variance_between(rates, a, b, length) for a, b in pairwise(edges)]
        assert rows @ np.array(rates) == pytest.approx(by_span)


@pytest.mark.parametrize("keep", [0.0, 0.5, 0.99])
def test_the_grid_moves_like_an_ar1(keep):
    """Rows sum to 1, the stationary law stays, a node's mean shrinks by the autocorrelation."""
    matrix, nodes = transition(keep), nodes_of(0.5)
    assert matrix.sum(axis=1) == pytest.approx(np.ones(len(nodes)))
    assert stationary() @ matrix == pytest.approx(stationary(), abs=1e-12)
    assert matrix @ nodes == pytest.approx(keep * nodes, abs=1e-9)
    assert stationary() @ nodes**2 == pytest.approx(0.25)


def test_the_evidence_is_a_density_in_the_move():
    moves = np.linspace(-60, 60, 24_001)
    density = np.exp(log_evidence(moves**2, np.array([0.0, 0.7]), 8.0))
    assert density.sum(axis=0) * (moves[1] - moves[0]) == pytest.approx([1.0, 1.0], abs=1e-3)
    variance = (density * moves[:, None] ** 2).sum(axis=0) * (moves[1] - moves[0])
    assert variance == pytest.approx([1.0, exp(1.4)], rel=0.01)


def test_the_fit_finds_the_law_of_a_simulated_index():
    """30 sessions of a walk with e^{±0.4} between days and the same σ at all times of day."""
    row = walk(sessions_from(date(2025, 3, 3), 30), seed=11, day_log_sigma=0.4)
    found = mixture.fit(history(row), 1).symbols["I:SPX"]
    assert 0.25 <= found.log_sigma <= 0.6
    assert found.memory_minutes >= 450
    assert found.tail_degrees >= 22
    sigmas = np.array(found.bin_sigmas)
    assert sigmas.max() / sigmas.min() < 1.35  # the prior's U has 2.5
    assert np.median(sigmas) == pytest.approx(SIGMA, rel=0.25)


def test_hourly_levels_alone_suffice_and_it_says_what_they_do_not_tell():
    row = walk(sessions_from(date(2025, 3, 3), 60), seed=12, day_log_sigma=0.4, levels_only=True)
    found = mixture.fit(history(row), 1)
    assert "09:30 to 09:45: 0 days" in found.not_estimated[0]
    assert any("tails of minute moves: 0 minutes" in what for what in found.not_estimated)
    target = target_of("INXU", eastern_ns(date(2025, 7, 2), 12))
    noon = mixture.distribution(inputs(target), found, target.at_ns - 60 * MINUTE)
    quarters = np.diff(noon.quantile(np.array([0.25, 0.75])))[0]
    assert quarters / 1.349 == pytest.approx(5220 * SIGMA * sqrt(60), rel=0.25)


def test_a_history_without_moves_is_refused():
    flat = walk(sessions_from(date(2025, 3, 3), 2), seed=1)
    flat = replace(flat, minutes=np.full(780, 5000.0), opens=np.full(780, np.nan))
    for found in (History(()), history(flat)):
        with pytest.raises(FitError):
            mixture.fit(found, 1)
