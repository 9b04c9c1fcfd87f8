"""Expected values: the golden rows of domain.md §8, one by one and a ladder at once."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.domain.fees import OrderFees, runbook_schedule, schedule_at
from services.pricer.ev import FeeTerms, expected_value_e6, ladder_value

CENTS = np.arange(100, 10_000, 100)
TODAY_NS = 1_795_000_000_000_000_000  # November 2026


@pytest.mark.parametrize(
    ("series", "role", "side", "p", "price_e4", "contracts", "dollars"),
    [
        ("KXCPI", "maker", "bid", 0.55, 4500, 10, 0.95),
        ("KXCPI", "maker", "ask", 0.55, 4500, 10, -1.05),
        ("KXCPI", "taker", "bid", 0.55, 4500, 10, 0.82),
        ("KXINX", "maker", "bid", 0.55, 5000, 10, 0.50),
        ("KXINXU", "taker", "bid", 0.50, 5000, 100, -0.88),
    ],
)
def test_golden_rows(series, role, side, p, price_e4, contracts, dollars):
    fee_e6 = runbook_schedule(series).trade_fee_e6(role, price_e4, contracts * 100)
    found = expected_value_e6(p, side, price_e4, contracts * 100, fee_e6)
    assert found == round(dollars * 1_000_000)


@pytest.mark.parametrize(
    ("series", "role"), [("KXINXU", "taker"), ("KXINXU", "maker"), ("KXCPI", "maker")]
)
def test_the_fee_of_a_contract_is_what_its_first_fill_is_charged(series, role):
    """To the micro-dollar, at every cent and on either side: $0.017472 is charged as $0.0175."""
    schedule = schedule_at(series, TODAY_NS)
    terms = FeeTerms.of(schedule, CENTS, role)
    for price_e4 in CENTS.tolist():
        for side in ("bid", "ask"):
            charge = OrderFees(schedule).fill(role, side, price_e4, 100)
            assert terms.by_price_e6[price_e4] == terms.at_e6[price_e4] == charge.fee_e6
    if role == "taker":
        assert terms.by_price_e6[5200] == 17_500


@given(
    p=st.lists(st.floats(0, 1), min_size=1, max_size=8),
    data=st.data(),
    role=st.sampled_from(["maker", "taker"]),
)
def test_a_ladder_at_once_is_each_rung_by_itself(p, data, role):
    schedule = runbook_schedule("KXCPI")
    count = len(p)
    picks = st.lists(st.integers(1, 99), min_size=count, max_size=count)
    bids, asks = np.array(data.draw(picks)) * 100, np.array(data.draw(picks)) * 100
    value = ladder_value(np.array(p), bids, asks, FeeTerms.of(schedule, CENTS, role))
    for rung in range(count):
        for side, price, ev in (("bid", bids, value.bid_e6), ("ask", asks, value.ask_e6)):
            fee_e6 = schedule.trade_fee_e6(role, int(price[rung]), 100)
            exact = expected_value_e6(p[rung], side, int(price[rung]), 100, fee_e6)
            assert ev[rung] == pytest.approx(exact, abs=1.0)
