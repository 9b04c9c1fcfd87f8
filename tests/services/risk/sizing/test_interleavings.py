"""No cap is passed at any instant: proposals of several events at once, late news, restarts."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from services.risk.sizing.policy import (
    KellyPolicy,
    PalPolicy,
    PilotPolicy,
    SizeLadderPolicy,
    SizingPolicy,
)
from tests.services.risk.sizing.market import EVENT_OF, EVENTS, Market
from tests.services.risk.sizing.rig import DOLLAR, NO_PAL, NO_PORTFOLIO, wide

STEPS = 120
BUDGET_E6 = 300 * DOLLAR
PAL_E6 = 60 * DOLLAR
SPX_E6 = 150 * DOLLAR
TIGHT = wide(
    portfolio=replace(
        NO_PORTFOLIO,
        loss_day_max_e6=BUDGET_E6,
        group_loss_max_e6={"SPX": SPX_E6, "NDX": 10**15},
    ),
    pal=PalPolicy(family_e6={"INXU": PAL_E6, "NASDAQ100U": PAL_E6}),
)
KELLY = wide(kelly=KellyPolicy(bankroll_e6=500 * DOLLAR), pal=NO_PAL)
PILOT = SizingPolicy(
    size_ladder=SizeLadderPolicy(stage="D"), pilot=PilotPolicy(position_max_e2=300)
)


def check_tight(market: Market) -> None:
    worst = {event: max(0, *market.losses_e6(event)) for event in EVENTS}
    assert sum(worst.values()) <= BUDGET_E6
    spx = sum(loss for event, loss in worst.items() if event.startswith("KXINXU"))
    assert spx <= SPX_E6
    for ticker in EVENT_OF:
        assert max(market.market_losses_e6(ticker)) <= PAL_E6


def check_kelly(market: Market) -> None:
    """An event may lose a quarter of the bankroll."""
    for event in EVENTS:
        assert max(market.losses_e6(event)) <= 125 * DOLLAR


def check_pilot(market: Market) -> None:
    for (ticker, side), order in market.orders.items():
        held_e2 = market.held_e2[ticker] * (1 if side == "bid" else -1)
        assert held_e2 + order.left_e2 <= 300
        assert order.count_e2 <= 100


CASES = {
    "tight": (TIGHT, check_tight),
    "kelly": (KELLY, check_kelly),
    "pilot": (PILOT, check_pilot),
}


@pytest.mark.parametrize("case", CASES)
@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 10**9))
def test_no_cap_is_passed_at_any_instant(case, seed):
    policy, check = CASES[case]
    market = Market(seed, policy, check)
    for _ in range(STEPS):
        market.step()


@pytest.mark.parametrize("case", CASES)
@settings(max_examples=6, deadline=None)
@given(seed=st.integers(0, 10**9), every=st.integers(1, 20))
def test_nor_with_a_restart_now_and_then(case, seed, every):
    policy, check = CASES[case]
    market = Market(seed, policy, check)
    for step in range(STEPS):
        market.step()
        if step % every == 0:
            market.restart()


def exposures(desk, now_ns):
    found = {}
    for event in EVENTS:
        book = desk._book(event, now_ns)
        opened = {
            key: (sorted((one.cost_e4, one.count_e2) for one in each.levels), each.unknown_e6)
            for key, each in book.open.items()
        }
        positions = {k: (p.count_e2, p.cash_e6) for k, p in book.positions.items()}
        found[event] = (positions, opened)
    return found


@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 10**9))
def test_a_restart_at_each_point_finds_what_was_there(seed):
    """Once risk has heard all that was said, what it holds is what the streams give."""
    market = Market(seed, TIGHT, lambda _: None)
    for _ in range(60):
        market.step()
        market.hear(all_of_it=True)
        live = exposures(market.desk, market.now_ns)
        assert exposures(market.rebuilt(), market.now_ns) == live


def test_the_model_does_trade():
    """A model in which nothing happens proves nothing."""
    for policy, check in CASES.values():
        market = Market(7, policy, check)
        for _ in range(600):
            market.step()
        assert market.granted > 3_000
        assert market.filled > 300


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("every", [0, 7])
def test_no_cap_is_passed_in_many_runs(case, every):
    policy, check = CASES[case]
    for seed in range(150):
        market = Market(seed, policy, check)
        for step in range(STEPS):
            market.step()
            if every and step % every == 0:
                market.restart()
