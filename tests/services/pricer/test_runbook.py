"""The hourly baseline: golden row, time, floor, events, bias, and its fit."""

import json
from math import sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.domain.windows import TargetPassedError
from services.pricer.models.index_hourly import (
    HourlyDistribution,
    HourlyInputs,
    MinuteSeries,
    distribution,
    fit,
    sigma_at,
)
from tests.services.pricer.builders import MINUTE, TARGET, S, calibration
from tests.shared_data import shared_file

GOLDEN = [0.01462, 0.12748, 0.37318, 0.35915, 0.11357, 0.01201]


def at(minutes: float) -> int:
    return TARGET - round(minutes * MINUTE)


def inputs(level=5220.0, event_day=False) -> HourlyInputs:
    return HourlyInputs(level_e4=round(level * 10_000), target_ns=TARGET, event_day=event_day)


def test_the_golden_pmf_with_the_drift_of_the_reference_calibration():
    """domain.md §8: S 6800, 15 min, strikes 6780…6820 step 10, σ 9.015."""
    reference = json.loads(shared_file("index/calibration/spx_hourly.json").read_text())
    row = reference["minutes_to_target"]["15"]
    assert row["sigma"] == pytest.approx(9.015, abs=5e-4)
    found = calibration(
        sigma_points=(0.0, *([row["sigma"]] * 15)),
        drift_points=(0.0, *([row["drift"]] * 15)),
        samples=(0,) * 16,
    )
    model = distribution(inputs(level=6800.0), found, at(15))
    cdf = model.cdf(np.array([6780.0, 6790.0, 6800.0, 6810.0, 6820.0]))
    pmf = np.diff(cdf, prepend=0.0, append=1.0)
    assert pmf.tolist() == pytest.approx(GOLDEN, abs=5e-6)


@pytest.mark.parametrize("minutes", [0, -1 / 60, -5, -24 * 60])
def test_a_target_passed_is_an_error_never_tomorrows(minutes):
    with pytest.raises(TargetPassedError):
        distribution(inputs(), calibration(), at(minutes))


@pytest.mark.parametrize(
    ("minutes", "sigma"),
    [(15, 10.0), (1, 10 * sqrt(1 / 15)), (7.5, 10 * sqrt(0.5)), (20, 10 * sqrt(20 / 15)), (60, 20)],
)
def test_sigma_follows_the_table_and_goes_on_by_root_time(minutes, sigma):
    assert sigma_at(calibration(), minutes) == pytest.approx(sigma)
    assert distribution(inputs(), calibration(), at(minutes)).sigma == pytest.approx(sigma)


def test_the_floor_holds_in_the_last_second():
    assert distribution(inputs(), calibration(), TARGET - S // 10).sigma == 0.5


def test_kappa_multiplies_sigma_not_the_variance():
    found = calibration(kappa_event=1.5)
    assert distribution(inputs(event_day=True), found, at(15)).sigma == pytest.approx(15.0)
    assert distribution(inputs(event_day=False), found, at(15)).sigma == pytest.approx(10.0)


def test_the_bias_moves_the_log_odds_of_survival():
    """p′ = sigmoid(logit p + b): at even odds with b = ln 3 it is 3 : 1."""
    found = HourlyDistribution(5220.0, 10.0, float(np.log(3.0)))
    assert 1.0 - found.cdf(np.array([5220.0]))[0] == pytest.approx(0.75)


@given(
    bias=st.floats(-2, 2),
    probability=st.floats(0.001, 0.999),
)
def test_quantile_inverts_cdf(bias, probability):
    found = HourlyDistribution(5220.0, 10.0, bias)
    level = found.quantile(np.array([probability]))
    assert found.cdf(level)[0] == pytest.approx(probability, abs=1e-9)


@given(bias=st.floats(-2, 2), levels=st.lists(st.floats(5000, 5400), min_size=2, max_size=9))
def test_the_cdf_rises(bias, levels):
    values = HourlyDistribution(5220.0, 10.0, bias).cdf(np.sort(np.array(levels)))
    assert (np.diff(values) >= 0).all()
    assert ((values >= 0) & (values <= 1)).all()


def series(levels, start=0) -> MinuteSeries:
    count = len(levels)
    known = np.arange(start, start + count, dtype=np.int64) * MINUTE
    return MinuteSeries(known, np.array(levels, dtype=float))


def test_fit_is_the_rms_of_moves_by_minutes():
    """Levels 0, 3, 1, 5: one-minute moves 3, −2, 4; two-minute moves 1, 2."""
    found = fit([series([0, 3, 1, 5])], family="INXU", symbol="I:SPX", fitted_ns=1, minutes_max=2)
    assert found.sigma_points[1] == pytest.approx(sqrt(29 / 3), abs=1e-6)
    assert found.samples == (0, 3, 2)
    # The two-minute RMS, √2.5, is smaller: σ does not fall with the horizon.
    assert found.sigma_points[2] == found.sigma_points[1]
    assert found.drift_points == (0.0, 0.0, 0.0)
    assert found.residual_floor_points == pytest.approx(sqrt(29 / 3 / 30), abs=1e-6)


def test_fit_takes_no_move_over_a_gap():
    gap = MinuteSeries(np.array([0, 1, 5], dtype=np.int64) * MINUTE, np.array([0.0, 1.0, 99.0]))
    found = fit([gap], family="INXU", symbol="I:SPX", fitted_ns=1, minutes_max=1)
    assert (found.sigma_points[1], found.samples[1]) == (1.0, 1)


@pytest.mark.parametrize("history", [[], [series([1.0])]])
def test_fit_refuses_nothing(history):
    with pytest.raises(ValueError, match="fit: expected"):
        fit(history, family="INXU", symbol="I:SPX", fitted_ns=1, minutes_max=1)
