import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.domain.fee_arrays import trade_fees_e6
from libs.domain.fees import FeeError, Role, runbook_schedule, schedule_at

TODAY_NS = 1_792_000_000_000_000_000


@given(
    st.lists(st.tuples(st.integers(1, 9_999), st.integers(1, 2_500_000)), min_size=1, max_size=20),
    st.sampled_from(["maker", "taker"]),
    st.sampled_from(["KXINXU", "KXCPI"]),
    st.sampled_from([0, TODAY_NS, None]),
)
def test_a_ladders_fees_are_those_of_each_rung(
    trades: list[tuple[int, int]], role: Role, series: str, at_ns: int | None
) -> None:
    schedule = runbook_schedule(series) if at_ns is None else schedule_at(series, at_ns)
    prices, counts = np.array(trades, dtype=np.int64).T
    found = trade_fees_e6(schedule, role, prices, counts)
    assert found.tolist() == [schedule.trade_fee_e6(role, *trade) for trade in trades]


def test_no_quote_costs_nothing() -> None:
    schedule = schedule_at("KXINXU", TODAY_NS)
    found = trade_fees_e6(schedule, "taker", np.array([0, 5_200, 10_000]), 100)
    assert found.tolist() == [0, 17_472, 0]


@pytest.mark.parametrize(("price_e4", "count_e2"), [(-1, 100), (10_001, 100), (1, -1), (1, 10**18)])
def test_what_cannot_be_is_refused(price_e4: int, count_e2: int) -> None:
    with pytest.raises(FeeError):
        trade_fees_e6(schedule_at("KXINXU", TODAY_NS), "taker", np.array([price_e4]), count_e2)
