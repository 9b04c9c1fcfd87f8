"""The joint program: right where it can be worked out, and its certificate tells the truth."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.risk.sizing.program import GAP_MAX, Unsolved, binding_rows, solve

NO_ROWS = np.empty((0, 1))


def one(p, price, box, rows=NO_ROWS, wealth=1.0):
    gains = np.array([[-price], [1.0 - price]]) * box
    return solve(np.array([1.0 - p, p]), np.full(2, wealth), gains, rows, np.ones(1))


@pytest.mark.parametrize(("p", "price"), [(0.62, 0.55), (0.6, 0.5), (0.3, 0.1), (0.95, 0.9)])
def test_one_quote_is_the_scalar_formula(p, price):
    """Kelly stakes (p − m)/(1 − m) of the wealth: that over the price in contracts."""
    best = (p - price) / (1.0 - price) / price
    assert one(p, price, 1.5 * best).shares[0] == pytest.approx(1 / 1.5, rel=2e-4)
    assert one(p, price, best).shares[0] == pytest.approx(1.0)
    assert one(p, price, best / 2).shares[0] == 1.0


def test_a_row_binds_exactly():
    assert one(0.62, 0.55, 0.2, np.array([[4.0]])).shares[0] == pytest.approx(0.25, abs=1e-9)


def test_equal_substitutes_share_alike():
    """Two bids that win and lose together, with room for one of them."""
    gains = np.array([[-0.4, -0.4], [0.6, 0.6]]) * 0.01
    rows = np.array([[1.0, 1.0]])
    found = solve(np.array([0.5, 0.5]), np.ones(2), gains, rows, np.ones(2))
    assert found.shares == pytest.approx([0.5, 0.5], abs=1e-7)


def test_neighbours_imply_rows():
    rows = np.array([[0.9, 0.9], [0.9, 0.9], [0.8, 0.8], [0.1, 0.2]])
    assert binding_rows(rows).tolist() == [[0.9, 0.9]]


@pytest.mark.parametrize(
    ("masses", "wealth", "gains"),
    [
        ([0.5, 0.5], [1.0, 0.0], [[-0.1], [0.1]]),
        ([0.5, 0.5], [1.0, 1.0], [[0.0], [0.0]]),
        ([0.5, 0.5], [1.0, 1.0], [[float("nan")], [0.1]]),
        ([0.5, 0.5], [1.0, 1.0], [[-2.0], [3.0]]),
    ],
)
def test_what_is_no_problem_is_not_solved(masses, wealth, gains):
    with pytest.raises(Unsolved):
        solve(np.array(masses), np.array(wealth), np.array(gains), NO_ROWS, np.ones(1))


@st.composite
def problems(draw):
    """A nested ladder with bids and asks of some edge, inventory, and packing rows."""
    dice = np.random.default_rng(draw(st.integers(0, 10**6)))
    rungs, quotes = draw(st.integers(1, 12)), draw(st.integers(1, 12))
    masses = dice.dirichlet(np.ones(rungs + 1))
    pays = np.tri(rungs + 1, rungs, -1)
    chosen = dice.integers(0, rungs, quotes)
    chances = masses @ pays[:, chosen]
    bids = dice.random(quotes) < 0.5
    edges = dice.choice([0.01, 0.02, 0.05], quotes)
    prices = np.clip(np.where(bids, chances - edges, chances + edges), 0.01, 0.99)
    plain = np.where(bids, pays[:, chosen] - prices, prices - pays[:, chosen])
    boxes = dice.choice([1e-4, 1e-2, 0.3], quotes)
    losses = np.maximum(-plain, 0.0) * boxes
    budget = draw(st.sampled_from([0.01, 0.1, 0.25]))
    held = dice.normal(0.0, 0.1, rungs + 1).clip(-0.2, 0.2)
    return masses, 1.0 + held, plain * boxes, losses / budget, np.ones(quotes), dice


def value(masses, wealth, gains, shares):
    return float(masses @ np.log(wealth + gains @ shares))


@settings(max_examples=150, deadline=None)
@given(problem=problems())
def test_no_feasible_point_is_better_than_the_certificate_says(problem):
    masses, wealth, gains, rows, reach, dice = problem
    found = solve(masses, wealth, gains, rows, reach)
    assert found.gap <= GAP_MAX
    assert found.shares.min() >= 0.0
    assert found.shares.max() <= 1.0
    assert (rows @ found.shares).max() <= 1.0 + 1e-9
    steepest = np.abs((masses / wealth) @ gains).max()
    own = value(masses, wealth, gains, found.shares)
    # The wish to serve all alike may cost its own weight and the certificate its gap.
    allowed = steepest * (GAP_MAX + 1e-4 * len(reach))
    for _ in range(30):
        other = dice.random(len(reach)) ** dice.choice([0.2, 1.0, 5.0])
        other /= max(1.0, (rows @ other).max())
        for mix in (1.0, 0.1, 0.001):
            point = found.shares + mix * (other - found.shares)
            assert value(masses, wealth, gains, point) <= own + allowed


@settings(max_examples=30, deadline=None)
@given(problem=problems())
def test_equal_inputs_give_equal_bits(problem):
    arguments = problem[:5]
    first = solve(*arguments)
    assert first.shares.tobytes() == solve(*[part.copy() for part in arguments]).shares.tobytes()
