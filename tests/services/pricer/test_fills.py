"""The fill model: its form by arithmetic, the slippage curve of domain.md §8, bad artifacts."""

from math import exp

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from services.pricer.artifacts import load_fills
from services.pricer.calibration import CalibrationError, encode_calibration, sealed
from services.pricer.fills import (
    Coefficients,
    FillModel,
    Fills,
    FillState,
    SeriesFills,
    covariates,
)

USUAL = FillState(
    side="bid", behind_e4=-100, ahead_e2=0, count_e2=100, edge_cents=10.0, minutes_left=7.5
)
FLAT = Coefficients(joins=0.0, behind_cents=0.0, queue=0.0, edge_cents=0.0)


def fills(log_rate=0.0, pull=0.0, **coefficients) -> Fills:
    return Fills(
        structs.replace(FLAT, **coefficients),
        SeriesFills(log_rate=log_rate, pull_per_min=pull),
    )


def state(**changes) -> FillState:
    return structs.replace(USUAL, **changes)


@pytest.mark.parametrize(
    ("participation", "dollars"),
    [(0, 0), (0.25, 0.00125), (0.5, 0.0025), (0.75, 0.00375), (1, 0.005), (2, 0.005)],
)
def test_the_slippage_curve(participation, dollars):
    assert Fills().slippage_cents(participation, 5.0) / 100 == pytest.approx(dollars)


@pytest.mark.parametrize(("minutes", "adverse"), [(0.1, 6.0), (1.0, 6.0), (2.0, 3.0), (12.0, 0.5)])
def test_adverse_selection_comes_on_top_and_is_worst_in_the_last_minute(minutes, adverse):
    found = Fills(series=SeriesFills(adverse_cents=6.0))
    assert found.slippage_cents(0.5, minutes) == pytest.approx(adverse + 0.25)


def test_alone_at_the_best_price_it_has_the_rate_of_its_series():
    """Once a minute: after 7.5 minutes 1 − e^−7.5 of it is filled if it is left alone."""
    assert fills().rate_per_min(USUAL) == pytest.approx(1.0)
    assert fills().if_kept(USUAL) == pytest.approx(1 - exp(-7.5))


def test_what_is_pulled_as_often_as_filled_fills_half_the_time():
    """Two ends of rate 1 each: half of 1 − e^−2m."""
    assert fills(pull=1.0).probability(state(minutes_left=1.0)) == pytest.approx((1 - exp(-2)) / 2)


@pytest.mark.parametrize(
    ("name", "changes", "covariate"),
    [
        ("joins", {"behind_e4": 0}, 1.0),
        ("behind_cents", {"behind_e4": 200}, 2.0),
        ("behind_cents", {"behind_e4": 2500}, 3.0),
        ("queue", {"ahead_e2": 200}, 1.0986122886681098),  # ln 3
        ("size", {"count_e2": 1000}, 2.302585092994046),  # ln 10
        ("edge_cents", {"edge_cents": 17.0}, 7.0),
        ("time", {"minutes_left": 15.0}, 0.6931471805599453),  # ln 2
        ("ask", {"side": "ask"}, 1.0),
        ("attention", {"attention": 0.4}, 0.6931471805599453),
    ],
)
def test_each_covariate_multiplies_the_rate(name, changes, covariate):
    found = fills(**{name: 0.1}).rate_per_min(state(**changes))
    assert found == pytest.approx(exp(0.1 * covariate))


def test_the_defaults_are_what_was_assumed_before_anything_was_seen():
    """0.30 in a quarter of an hour ahead of the others, about 0.15 level, half by each cent."""
    quarter = state(minutes_left=15.0)
    assert Fills().if_kept(quarter) == pytest.approx(0.30, abs=0.02)
    assert Fills().if_kept(structs.replace(quarter, behind_e4=0)) == pytest.approx(0.15, abs=0.02)
    behind = [Fills().rate_per_min(state(behind_e4=cents * 100)) for cents in (1, 2)]
    assert behind[1] / behind[0] == pytest.approx(0.5, abs=0.01)


@given(
    behind=st.integers(-5000, 5000),
    ahead=st.integers(0, 10_000_000),
    count=st.integers(1, 1_000_000),
    edge=st.floats(-100, 100),
    minutes=st.floats(-1, 1_000),
    side=st.sampled_from(["bid", "ask"]),
    pull=st.floats(0, 1_000),
)
def test_a_probability_is_one_and_pulling_only_lowers_it(
    behind, ahead, count, edge, minutes, side, pull
):
    asked = FillState(
        side=side,
        behind_e4=behind,
        ahead_e2=ahead,
        count_e2=count,
        edge_cents=edge,
        minutes_left=minutes,
    )
    found = Fills(series=SeriesFills(pull_per_min=pull))
    alpha = found.probability(asked)
    assert 0.0 <= alpha <= found.if_kept(asked) + 1e-12 <= 1.0 + 1e-12


@given(
    weights=st.lists(st.floats(-2, 2), min_size=8, max_size=8),
    log_rate=st.floats(-6, 2),
    behind=st.integers(-5000, 5000),
    ahead=st.integers(-10, 10_000_000),
    count=st.integers(0, 1_000_000),
    edge=st.floats(-100, 100),
    minutes=st.floats(-1, 1_000),
    side=st.sampled_from(["bid", "ask"]),
    attention=st.floats(0, 1),
)
def test_the_rate_is_the_weighted_sum_of_the_covariates(
    weights, log_rate, behind, ahead, count, edge, minutes, side, attention
):
    """What the pricer asks order by order is what `alpha fit fills` fits."""
    asked = FillState(
        side=side,
        behind_e4=behind,
        ahead_e2=ahead,
        count_e2=count,
        edge_cents=edge,
        minutes_left=minutes,
        attention=attention,
    )
    names = Coefficients.__struct_fields__
    coefficients = Coefficients(**dict(zip(names, weights, strict=True)))
    found = Fills(coefficients, SeriesFills(log_rate=log_rate))
    terms = zip(weights, covariates(asked), strict=True)
    whole = log_rate + sum(weight * term for weight, term in terms)
    assert found.rate_per_min(asked) == pytest.approx(exp(min(whole, 10.0)), rel=1e-9)


def test_a_series_without_its_own_numbers_has_the_common_ones():
    model = FillModel(
        default=SeriesFills(log_rate=-1.0), series={"KXINXU": SeriesFills(log_rate=1.0)}
    )
    assert model.of_series("KXINXU").series.log_rate == 1.0
    assert model.of_series("KXNASDAQ100U").series.log_rate == -1.0


def test_an_artifact_reads_back(tmp_path):
    model = sealed(FillModel(series={"KXINXU": SeriesFills(log_rate=1.0)}, provenance="synthetic"))
    path = tmp_path / "fills.json"
    path.write_bytes(encode_calibration(model))
    assert load_fills(path) == model
    assert load_fills(path).id == f"fills-{model.sha256[:12]}"


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (b'"log_rate": -3.7', "sha256"),
        (b'"log_rate": "high"', "float"),
        (b'"pull_per_min": -1.0', "0 or more"),
        (b'"schema": "fills.9"', r"fills\.1"),
        (b'"provenance": "dream"', "dream"),
    ],
)
def test_a_changed_artifact_is_refused_in_one_line(tmp_path, change, complaint):
    raw = encode_calibration(sealed(FillModel(default=SeriesFills(log_rate=-2.0))))
    name = change.split(b":")[0]
    at = raw.index(name)
    end = min(raw.index(mark, at) for mark in (b",", b"\n"))
    path = tmp_path / "fills.json"
    path.write_bytes(raw[:at] + change + raw[end:])
    with pytest.raises(CalibrationError, match=complaint) as caught:
        load_fills(path)
    assert "\n" not in str(caught.value)
    assert "alpha fit fills" in str(caught.value)
