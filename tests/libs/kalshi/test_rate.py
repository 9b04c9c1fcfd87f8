"""Token buckets against the exchange's published arithmetic (kalshi-api.md §2.6)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.kalshi.endpoints import (
    AMEND_ORDER,
    BATCH_CANCEL,
    BATCH_CREATE,
    CANCEL_ALL,
    CANCEL_ORDER,
    CREATE_ORDER,
    ORDER,
    ORDERS,
)
from libs.kalshi.fields import decoder
from libs.kalshi.rate import NEVER_NS, RateBudget, TokenBucket
from libs.kalshi.wire.portfolio import AccountLimits, Bucket, EndpointCost, EndpointCosts
from tests.shared_data import shared_file

S = 1_000_000_000
BASIC = AccountLimits("basic", Bucket(200, 200), Bucket(100, 100))


def test_basic_tier_bursts_ten_orders_then_ten_a_second() -> None:
    budget = RateBudget(BASIC, None, cancel_reserve=0, now_ns=0)
    assert [budget.take(CREATE_ORDER, 0) for _ in range(11)] == [True] * 10 + [False]
    assert budget.wait_ns(CREATE_ORDER, 0) == S // 10
    assert not budget.take(CREATE_ORDER, S // 10 - 1)
    assert budget.take(CREATE_ORDER, S // 10)


def test_a_batch_fits_whole_or_not_at_all() -> None:
    budget = RateBudget(BASIC, None, cancel_reserve=0, now_ns=0)
    assert budget.batch_max(BATCH_CREATE) == 10
    assert budget.wait_ns(BATCH_CREATE, 0, items=11) == NEVER_NS
    assert not budget.take(BATCH_CREATE, 0, items=11)
    assert budget.write.tokens(0) == 100
    assert budget.take(BATCH_CREATE, 0, items=10)
    assert budget.write.tokens(0) == 0
    assert budget.wait_ns(BATCH_CANCEL, 0, items=50) == S


def test_cancels_alone_may_use_the_reserve() -> None:
    budget = RateBudget(BASIC, None, cancel_reserve=20, now_ns=0)
    assert budget.batch_max(BATCH_CREATE) == 8
    assert [budget.take(CREATE_ORDER, 0) for _ in range(9)] == [True] * 8 + [False]
    assert not budget.take(AMEND_ORDER, 0)
    assert [budget.take(CANCEL_ORDER, 0) for _ in range(9)] == [True] * 9
    assert budget.take(CANCEL_ALL, 0)
    assert not budget.take(CANCEL_ORDER, 0)


def test_reads_and_writes_do_not_touch_each_other() -> None:
    budget = RateBudget(BASIC, None, cancel_reserve=0, now_ns=0)
    assert all(budget.take(ORDERS, 0) for _ in range(20))
    assert not budget.take(ORDERS, 0)
    assert budget.write.tokens(0) == 100


def test_costs_come_from_the_exchange() -> None:
    path = "/trade-api/v2/portfolio/events/orders"
    costs = EndpointCosts(
        10, (EndpointCost("POST", path, 7), EndpointCost("DELETE", path + "/:order_id", 3))
    )
    budget = RateBudget(BASIC, costs, cancel_reserve=0, now_ns=0)
    assert budget.cost(CREATE_ORDER) == 7
    assert budget.cost(CANCEL_ORDER) == 3
    assert budget.cost(AMEND_ORDER) == 10
    assert budget.cost(BATCH_CREATE, items=3) == 30


def test_the_recorded_costs_name_our_calls_as_we_do() -> None:
    body = shared_file("kalshi/recorded/account__endpoint_costs.json").read_bytes()
    costs = decoder(EndpointCosts).decode(body)
    budget = RateBudget(BASIC, costs, cancel_reserve=0, now_ns=0)
    assert [budget.cost(call) for call in (CANCEL_ORDER, BATCH_CANCEL, ORDER)] == [2, 2, 2]
    assert [budget.cost(call) for call in (CREATE_ORDER, AMEND_ORDER, ORDERS)] == [10, 10, 10]
    assert budget.cost(CANCEL_ALL) == 10  # not on June's list, so it costs the default


def test_a_429_empties_our_copy() -> None:
    budget = RateBudget(BASIC, None, cancel_reserve=0, now_ns=0)
    budget.refused(CREATE_ORDER, 0)
    assert budget.wait_ns(CREATE_ORDER, 0) == S // 10


def test_wrong_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="cancel_reserve"):
        RateBudget(BASIC, None, cancel_reserve=91, now_ns=0)
    with pytest.raises(ValueError, match="positive"):
        TokenBucket(0, 1, 0)
    with pytest.raises(ValueError, match="items"):
        RateBudget(BASIC, None, cancel_reserve=0, now_ns=0).cost(BATCH_CREATE, items=0)


@given(
    capacity=st.integers(1, 1000),
    refill=st.integers(1, 1000),
    steps=st.lists(st.tuples(st.integers(-S, 3 * S), st.integers(1, 50)), max_size=40),
)
def test_never_more_than_capacity_plus_refill_is_taken(
    capacity: int, refill: int, steps: list[tuple[int, int]]
) -> None:
    bucket = TokenBucket(capacity, refill, 0)
    now_ns = passed_ns = taken = 0
    for step_ns, cost in steps:
        passed_ns += max(0, step_ns)
        now_ns += step_ns
        wait_ns = bucket.wait_ns(cost, 0, now_ns)
        took = bucket.take(cost, 0, now_ns)
        assert took == (wait_ns == 0)
        taken += cost if took else 0
        assert taken * S <= capacity * S + passed_ns * refill
        if not took and wait_ns < NEVER_NS:
            assert bucket.wait_ns(cost, 0, now_ns + wait_ns) == 0
            now_ns, passed_ns = now_ns + wait_ns, passed_ns + wait_ns


def test_a_clock_set_back_does_not_stop_the_refill() -> None:
    bucket = TokenBucket(100, 100, 300 * S)
    assert bucket.take(100, 0, 300 * S)
    assert bucket.tokens(0) == 0
    assert bucket.tokens(S // 2) == 50
