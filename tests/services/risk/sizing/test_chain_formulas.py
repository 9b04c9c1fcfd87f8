"""The chain's formulas: golden rows of domain.md §8, and where each turns."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.risk.sizing.chain import (
    deviation_room,
    factor_var,
    factor_var_room_e6,
    kelly_fraction,
    portfolio_deviation,
    scale_fraction,
)
from services.risk.sizing.policy import PortfolioPolicy

DOLLAR = 1_000_000
PORTFOLIO = PortfolioPolicy()


def var_of(**losses: int) -> float:
    money = {family: loss * DOLLAR for family, loss in losses.items()}
    return factor_var(money, PORTFOLIO.factor_vols, PORTFOLIO.factor_betas) / DOLLAR


@pytest.mark.parametrize(
    ("p", "m", "f"), [(0.62, 0.55, 0.155556), (0.45, 0.55, -0.222222), (0.6, 0.5, 0.2)]
)
def test_kelly_golden(p, m, f):
    assert kelly_fraction(p, m) == pytest.approx(f, abs=5e-7)


def test_scale_golden():
    assert scale_fraction(0.2, 0.5, 0.25, 0.25) == pytest.approx(0.075)


@pytest.mark.parametrize(("f", "cut"), [(0.9, 0.25), (-0.9, -0.25), (0.2, 0.2)])
def test_the_fraction_is_truncated(f, cut):
    assert scale_fraction(f, 0.0, 0.0, 0.25) == cut


def test_it_is_truncated_before_it_is_scaled():
    assert scale_fraction(0.5, 0.5, 0.0, 0.25) == 0.125


def test_factor_var_golden():
    assert var_of(CPI=1000) == pytest.approx(1335.0655, abs=5e-5)
    assert var_of(CPI=1000, TENY=500) == pytest.approx(1543.5025, abs=5e-5)
    assert var_of(CPI=1000, TENY=500, CLAIMS=300) == pytest.approx(1651.0118, abs=5e-5)
    assert var_of(TENY=500) == pytest.approx(600)


losses = st.dictionaries(
    st.sampled_from(["CPI", "TENY", "CLAIMS", "WEATHER", "INXU"]), st.integers(0, 10**10)
)


@given(family=st.sampled_from(["CPI", "TENY", "CLAIMS", "WEATHER"]), others=losses)
def test_factor_room_is_used_up_exactly(family, others):
    limit_e6 = 3_200 * DOLLAR
    vols, betas = PORTFOLIO.factor_vols, PORTFOLIO.factor_betas
    room_e6 = factor_var_room_e6(family, others, limit_e6, vols, betas)
    assert room_e6 is not None

    def var(more_e6: int) -> float:
        return factor_var(others | {family: others.get(family, 0) + more_e6}, vols, betas)

    if room_e6 > 0:
        assert var(room_e6) <= limit_e6 + 1
    assert var(room_e6 + 2) > limit_e6


def test_no_factor_no_limit():
    vols, betas = PORTFOLIO.factor_vols, PORTFOLIO.factor_betas
    assert factor_var_room_e6("INXU", {"CPI": 10**12}, 1, vols, betas) is None


def test_portfolio_deviation_by_hand():
    """√(300² + 400² + 2·.82·300·400) = √446,800."""
    assert portfolio_deviation({"SPX": 300.0, "NDX": 400.0}, 0.82) == pytest.approx(668.4310)


@given(
    rest=st.floats(0, 1e9),
    rho=st.floats(0, 1),
    most=st.floats(1, 2e9),
)
def test_deviation_room_is_used_up_exactly(rest, rho, most):
    room = deviation_room("SPX", {"SPX": 7.0, "NDX": rest}, rho, most)
    if rest > most:
        assert room == 0.0
    else:
        found = portfolio_deviation({"SPX": room, "NDX": rest}, rho)
        assert found == pytest.approx(most, rel=1e-6)
