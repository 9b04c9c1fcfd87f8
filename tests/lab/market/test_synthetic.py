"""The synthetic session moves like an index: bands from the brief and from real minutes."""

import numpy as np
from numpy.typing import NDArray

from lab.market.synthetic import INDICES, expected_sigma_e4, synthetic_session

SESSION_S = 23_400
NOON_S = 9_000
SEEDS = range(30)


def sessions(symbol: str) -> list[NDArray[np.int64]]:
    return [synthetic_session(seed, symbol, "2025-11-03", SESSION_S) for seed in SEEDS]


def rms_points(paths: list[NDArray[np.int64]], step_s: int) -> float:
    """Root mean square of changes over `step_s` between 11:30 and 13:00 ET, in points."""
    windows = [path[NOON_S - 1_800 : NOON_S + 3_600] / 10_000 for path in paths]
    return float(np.sqrt(np.mean([np.mean((w[step_s:] - w[:-step_s]) ** 2) for w in windows])))


def test_spx_moves_about_1_6_points_a_minute_and_7_to_9_in_15() -> None:
    paths = sessions("I:SPX")
    assert 1.4 <= rms_points(paths, 60) <= 2.0
    assert 6.3 <= rms_points(paths, 900) <= 9.0


def test_ndx_moves_about_four_times_as_far_and_together() -> None:
    spx, ndx = sessions("I:SPX"), sessions("I:NDX")
    assert 3.6 <= rms_points(ndx, 60) / rms_points(spx, 60) <= 4.6
    pairs = zip(spx, ndx, strict=True)
    together = [np.corrcoef(np.diff(a[::60]), np.diff(b[::60]))[0, 1] for a, b in pairs]
    assert 0.90 <= float(np.mean(together)) <= 0.96


def test_the_open_is_wilder_than_noon_and_tails_are_heavy() -> None:
    paths = sessions("I:SPX")
    opening = np.sqrt(np.mean([np.mean(np.diff(path[:1_201:60]) ** 2) for path in paths])) / 1e4
    assert opening > 1.5 * rms_points(paths, 60)
    seconds = np.concatenate([np.diff(path[3_600:20_000]) for path in paths]).astype(float)
    assert np.mean(seconds**4) / np.mean(seconds**2) ** 2 > 3.5


def test_volatility_clusters_beyond_the_time_of_day() -> None:
    products, squares = 0.0, 0.0
    for path in sessions("I:SPX"):
        size = np.abs(np.diff(path[5_400:18_000:60])).astype(float)
        size -= size.mean()
        products += float(np.sum(size[1:] * size[:-1]))
        squares += float(np.sum(size**2))
    assert products / squares > 0.05


def test_prints_lie_on_the_cent_grid() -> None:
    assert not np.any(synthetic_session(3, "I:NDX", "2025-11-03", SESSION_S) % 100)


def test_expected_sigma_agrees_with_the_sessions() -> None:
    expected = expected_sigma_e4(68_000_000, "I:SPX", NOON_S - 900.0, float(NOON_S), SESSION_S)
    paths = [synthetic_session(seed, "I:SPX", "2025-11-03", SESSION_S) for seed in range(300)]
    changes = [float(path[NOON_S] - path[NOON_S - 900]) for path in paths]
    assert 0.85 <= float(np.sqrt(np.mean(np.square(changes)))) / expected <= 1.15
    assert expected_sigma_e4(68_000_000, "I:SPX", 10.0, 10.0, SESSION_S) == 0.0


def test_other_days_and_seeds_differ() -> None:
    day = synthetic_session(1, "I:SPX", "2025-11-03", 600)
    assert not np.array_equal(day, synthetic_session(1, "I:SPX", "2025-11-04", 600))
    assert not np.array_equal(day, synthetic_session(2, "I:SPX", "2025-11-03", 600))
    assert abs(day[0] / INDICES["I:SPX"].base_level_e4 - 1) < 0.03
