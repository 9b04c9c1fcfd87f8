import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.domain.distributions import (
    Certain,
    Distribution,
    DistributionError,
    Normal,
    NormalMixture,
    crps,
)
from libs.domain.strikes import Rung, StrikeType, rung_edges
from tests.shared_data import shared_file

means = st.floats(-1_000, 1_000)
sigmas = st.floats(0.01, 500)


def test_normal_crps_golden() -> None:
    assert Normal(0.0, 1.0).crps(0.0) == pytest.approx(0.23369, abs=5e-6)
    assert Certain(6_800.0).crps(6_800.0) == 0
    levels = np.linspace(6_700.0, 6_900.0, 201)
    assert crps(levels, Certain(6_800.0).cdf(levels), 6_800.0) == 0


@given(means, sigmas, st.floats(-3, 3))
def test_closed_form_is_the_integral(mean: float, sigma: float, z: float) -> None:
    normal = Normal(mean, sigma)
    levels = np.linspace(mean - 9 * sigma, mean + 9 * sigma, 4_001)
    outcome = mean + z * sigma
    step = levels[1] - levels[0]
    assert normal.crps(outcome) == pytest.approx(
        crps(levels, normal.cdf(levels), outcome), abs=step
    )


@given(means, sigmas, st.floats(-5, 5))
def test_crps_is_proper_for_a_sharper_and_nearer_forecast(
    mean: float, sigma: float, z: float
) -> None:
    outcome = mean + z * sigma
    assert Normal(mean, sigma).crps(outcome) >= 0
    assert Normal(outcome, sigma).crps(outcome) <= Normal(mean, sigma).crps(outcome) + 1e-9
    assert Normal(outcome, sigma / 2).crps(outcome) < Normal(outcome, sigma).crps(outcome)


@given(means, sigmas, st.floats(0.001, 0.999))
def test_quantile_undoes_the_cdf(mean: float, sigma: float, probability: float) -> None:
    normal: Distribution = Normal(mean, sigma)
    level = normal.quantile(np.array([probability]))
    assert normal.cdf(level)[0] == pytest.approx(probability, abs=1e-9)


def test_normal_cdf_of_known_points() -> None:
    normal = Normal(6_800.0, 10.0)
    found = normal.cdf(np.array([6_790.0, 6_800.0, 6_810.0]))
    assert found.tolist() == pytest.approx([0.1586552539, 0.5, 0.8413447461])


def test_spx_hourly_pmf_golden_with_the_reference_drift() -> None:
    # domain.md §8; the reference calibration's drift at 15 minutes is about a third of a point.
    calibration = json.loads(shared_file("index/calibration/spx_hourly.json").read_text())
    normal = Normal(6_800 + calibration["micro_drift"]["15"], 9.015)
    rungs = tuple(Rung(f"T{s}", StrikeType.GREATER, s * 10_000) for s in range(6_780, 6_821, 10))
    edges = rung_edges(rungs, 1, continuity_correction=False)
    survival = edges.probabilities(normal.cdf)
    pmf = -np.diff(survival, prepend=1.0, append=0.0)
    golden = [0.01462, 0.12748, 0.37318, 0.35915, 0.11357, 0.01201]
    assert pmf.tolist() == pytest.approx(golden, abs=1e-5)


@pytest.mark.parametrize(
    ("mean", "sigma"), [(0.0, 0.0), (0.0, -1.0), (math.nan, 1.0), (0.0, math.inf), (0.0, math.nan)]
)
def test_what_is_no_distribution_is_refused(mean: float, sigma: float) -> None:
    with pytest.raises(DistributionError):
        Normal(mean, sigma)


def test_certain_and_crps_refuse_nonsense() -> None:
    with pytest.raises(DistributionError):
        Certain(math.nan)
    assert Certain(2.0).quantile(np.array([0.1, 0.9])).tolist() == [2.0, 2.0]
    with pytest.raises(DistributionError, match="ascending"):
        crps([1.0, 1.0], [0.0, 1.0], 1.0)
    with pytest.raises(DistributionError, match="outside"):
        crps([1.0, 2.0], [0.0, 1.0], 3.0)


def test_domain_modules_import_neither_pandas_nor_scipy_stats() -> None:
    root = Path(__file__).resolve().parents[3]
    names = [path.stem for path in (root / "libs" / "domain").glob("[a-z]*.py")]
    code = (
        "import sys, importlib\n"
        f"for name in {names!r}: importlib.import_module('libs.domain.' + name)\n"
        "heavy = {'pandas', 'scipy.stats', 'scipy.optimize', 'exchange_calendars'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def mixture_of(mean: float, sigmas: list[float], weights: list[float]) -> NormalMixture:
    shares = np.array(weights) / sum(weights)
    return NormalMixture(mean, np.array(sigmas), shares)


parts = st.lists(st.tuples(st.floats(0.05, 200), st.floats(0.01, 1)), min_size=1, max_size=7).map(
    lambda rows: ([row[0] for row in rows], [row[1] for row in rows])
)


@given(means, sigmas, st.floats(-4, 4))
def test_a_mixture_of_one_part_is_its_normal(mean: float, sigma: float, z: float) -> None:
    normal, mixture = Normal(mean, sigma), mixture_of(mean, [sigma], [1.0])
    outcome = mean + z * sigma
    assert mixture.crps(outcome) == pytest.approx(normal.crps(outcome), rel=1e-9, abs=1e-9)
    assert mixture.log_density(outcome) == pytest.approx(normal.log_density(outcome), abs=1e-9)
    assert mixture.sigma == pytest.approx(sigma)
    levels = mean + sigma * np.linspace(-5, 5, 41)
    assert mixture.cdf(levels) == pytest.approx(normal.cdf(levels), abs=1e-12)


@given(means, parts, st.floats(-3, 3))
def test_a_mixtures_scores_are_those_of_its_cdf(mean, rows, z) -> None:
    mixture = mixture_of(mean, *rows)
    outcome = mean + z * mixture.sigma
    reach = 10 * max(rows[0])
    levels = np.linspace(mean - reach, mean + reach, 20_001)
    middles = levels + reach / 20_000
    assert mixture.crps(outcome) == pytest.approx(
        crps(levels, mixture.cdf(middles), outcome), rel=1e-3, abs=reach * 1e-5
    )
    step = min(rows[0]) * 1e-3
    around = mixture.cdf(np.array([outcome - step, outcome + step]))
    if around[1] - around[0] > 1e-8:
        slope = np.log((around[1] - around[0]) / (2 * step))
        assert mixture.log_density(outcome) == pytest.approx(slope, abs=1e-4)


@given(means, parts, st.lists(st.floats(-1_500, 1_500), min_size=2, max_size=60))
def test_a_mixtures_cdf_rises_within_0_and_1(mean, rows, levels) -> None:
    values = mixture_of(mean, *rows).cdf(np.sort(np.array(levels)))
    assert ((values >= 0.0) & (values <= 1.0)).all()
    assert (np.diff(values) >= 0.0).all()


@given(means, parts, st.floats(0.001, 0.999))
def test_a_mixtures_quantile_inverts_its_cdf(mean, rows, probability) -> None:
    mixture = mixture_of(mean, *rows)
    level = mixture.quantile(np.array([probability, 0.5, 0.0, 1.0]))
    assert mixture.cdf(level[:1])[0] == pytest.approx(probability, abs=1e-9)
    assert level[1] == pytest.approx(mean, abs=1e-6)
    assert level[2:].tolist() == [-np.inf, np.inf]


def test_a_mixture_of_two_scales_by_hand() -> None:
    """P(X ≤ 1) = ½ Φ(1) + ½ Φ(½); variance ½·1 + ½·4."""
    mixture = mixture_of(0.0, [1.0, 2.0], [1.0, 1.0])
    expected = (0.8413447460685429 + 0.6914624612740131) / 2
    assert mixture.cdf(np.array([1.0]))[0] == pytest.approx(expected, abs=1e-12)
    assert mixture.sigma == pytest.approx(math.sqrt(2.5))
