"""The runbook's model: golden row, time, floor, events, bias, and its fit."""

import json
from math import sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.domain.distributions import crps
from libs.domain.macro_days import MacroEvent
from libs.domain.windows import TargetPassedError
from services.pricer.calibration import SigmaTable
from services.pricer.models.contract import IndexInputs, Target, TradingDay
from services.pricer.models.history import FitError, History, SymbolHistory
from services.pricer.models.runbook import BiasedNormal, distribution, fit, sigma_at
from tests.services.pricer.builders import MINUTE, TARGET, S, calibration
from tests.shared_data import shared_file

GOLDEN = [0.01462, 0.12748, 0.37318, 0.35915, 0.11357, 0.01201]
DAY = TradingDay(TARGET - 150 * MINUTE, TARGET + 240 * MINUTE)
CPI_DAY = TradingDay(DAY.open_ns, DAY.close_ns, frozenset({MacroEvent.CPI}))


def at(minutes: float) -> int:
    return TARGET - round(minutes * MINUTE)


def inputs(level=5220.0, day=DAY, close=False) -> IndexInputs:
    target = Target(symbol="I:SPX", at_ns=TARGET, day=day, close=close)
    return IndexInputs(level_e4=round(level * 10_000), target=target)


def table_of(found) -> SigmaTable:
    return found.symbols["I:SPX"].hourly


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
    assert sigma_at(table_of(calibration()), minutes) == pytest.approx(sigma)
    assert distribution(inputs(), calibration(), at(minutes)).sigma == pytest.approx(sigma)


def test_the_floor_holds_in_the_last_second():
    assert distribution(inputs(), calibration(), TARGET - S // 10).sigma == 0.5


def test_kappa_multiplies_sigma_not_the_variance():
    found = calibration(kappa_event=1.5)
    assert distribution(inputs(day=CPI_DAY), found, at(15)).sigma == pytest.approx(15.0)
    assert distribution(inputs(), found, at(15)).sigma == pytest.approx(10.0)


def test_the_bias_moves_the_log_odds_of_survival():
    """p′ = sigmoid(logit p + b): at even odds with b = ln 3 it is 3 : 1."""
    found = distribution(inputs(), calibration(pit_bias=float(np.log(3.0))), at(15))
    assert 1.0 - found.cdf(np.array([5220.0]))[0] == pytest.approx(0.75)


@given(bias=st.floats(-2, 2), probability=st.floats(0.001, 0.999))
def test_quantile_inverts_cdf(bias, probability):
    found = BiasedNormal(5220.0, 10.0, bias)
    level = found.quantile(np.array([probability]))
    assert found.cdf(level)[0] == pytest.approx(probability, abs=1e-9)


@given(bias=st.floats(-2, 2), levels=st.lists(st.floats(5000, 5400), min_size=2, max_size=9))
def test_the_cdf_rises(bias, levels):
    values = BiasedNormal(5220.0, 10.0, bias).cdf(np.sort(np.array(levels)))
    assert (np.diff(values) >= 0).all()
    assert ((values >= 0) & (values <= 1)).all()


@pytest.mark.parametrize("outcome", [5200.0, 5220.0, 5260.0])
def test_the_biased_scores_are_those_of_its_cdf(outcome):
    found = BiasedNormal(5220.0, 10.0, 0.7)
    levels = np.linspace(5000.0, 5440.0, 44_001)
    assert found.crps(outcome) == pytest.approx(
        crps(levels, found.cdf(levels + 0.005), outcome), rel=1e-4
    )
    around = found.cdf(np.array([outcome - 0.005, outcome + 0.005]))
    assert found.log_density(outcome) == pytest.approx(np.log(np.diff(around)[0] / 0.01), abs=1e-4)


def history(levels, start=DAY.open_ns) -> History:
    known = start + np.arange(1, len(levels) + 1, dtype=np.int64) * MINUTE
    return history_of(known, levels)


def history_of(known, levels) -> History:
    none = np.empty(0)
    opens = np.full(len(levels), np.nan)
    values = np.array(levels, dtype=float)
    return History((SymbolHistory("I:SPX", known, values, opens, none.astype(np.int64), none),))


def test_fit_is_the_rms_of_moves_by_minutes():
    """Levels 10, 13, 11, 15: one-minute moves 3, −2, 4; two-minute moves 1, 2; three: 5."""
    found = fit(history([10, 13, 11, 15]), 1)
    table = table_of(found)
    assert table.sigma_points[1] == pytest.approx(sqrt(29 / 3), abs=1e-6)
    assert table.samples == (0, 3, 2, 1)
    # The two-minute RMS, √2.5, is smaller: σ does not fall with the horizon.
    assert table.sigma_points[2] == table.sigma_points[1]
    assert table.sigma_points[3] == 5.0
    assert table.drift_points == (0.0, 0.0, 0.0, 0.0)
    assert table.residual_floor_points == pytest.approx(sqrt(29 / 3 / 30), abs=1e-6)
    assert found.symbols["I:SPX"].close == table
    assert "close" in found.not_estimated[0]


def test_the_close_has_a_table_of_its_own_from_moves_into_it():
    """Levels into 16:00: 20, 21, 25, so 4 points over a minute and 5 over two."""
    known = DAY.close_ns - np.array([2, 1, 0], dtype=np.int64) * MINUTE
    found = fit(history_of(known, [20, 21, 25]), 1)
    assert found.symbols["I:SPX"].close.sigma_points == (0.0, 4.0, 5.0)
    assert found.symbols["I:SPX"].close.samples == (0, 1, 1)
    assert found.not_estimated == ()
    assert distribution(inputs(close=True), found, at(1)).sigma == 4.0
    assert distribution(inputs(), found, at(1)).sigma == pytest.approx(sqrt(17 / 2))


def test_fit_takes_no_move_over_a_gap():
    known = DAY.open_ns + np.array([1, 2, 6], dtype=np.int64) * MINUTE
    table = table_of(fit(history_of(known, [10.0, 11.0, 99.0]), 1))
    assert table.sigma_points[:2] == (0.0, 1.0)
    assert table.samples[1] == 1


@pytest.mark.parametrize("levels", [[10.0], [10.0, 10.0]])
def test_fit_refuses_what_does_not_move(levels):
    with pytest.raises(FitError, match="I:SPX: expected"):
        fit(history(levels), 1)
