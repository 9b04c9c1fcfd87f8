"""Settled profit by New York day and week, from fills and the exchange's settlements."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.profit import DAYS_KEPT, SettledProfit
from tests.services.risk.builders import NOW, TICKERS, S, fill
from tests.services.risk.sizing.messages import settlement

DOLLAR = 1_000_000
DAY = 86_400 * S
MONDAY = NOW  # 2024-08-05 is one


def profit(*messages) -> SettledProfit:
    found = SettledProfit()
    for message in messages:
        found.fold(message)
    return found


@pytest.mark.parametrize(
    ("side", "result", "gain"),
    [("bid", "yes", 60), ("bid", "no", -40), ("ask", "yes", -60), ("ask", "no", 40)],
)
def test_a_hundred_contracts_at_forty_cents(side, result, gain):
    found = profit(fill(10_000, side=side), settlement(result))
    assert found.day_e6(NOW) == gain * DOLLAR


def test_nothing_is_settled_before_the_exchange_says_so():
    assert profit(fill(10_000)).day_e6(NOW) == 0


def test_a_late_fill_counts_once_it_is_known_and_only_once():
    late = fill(100, trade="late")
    found = profit(fill(10_000), settlement("no"), late, late)
    assert found.day_e6(NOW) == -4_040 * DOLLAR // 100


def test_a_settlement_told_twice_counts_once():
    assert profit(fill(10_000), settlement("no"), settlement("no")).day_e6(NOW) == -40 * DOLLAR


def test_it_counts_on_the_day_it_was_settled_and_in_that_week():
    evening = MONDAY + 11 * 3_600 * S + 600 * S  # 23:00 in New York is the next day in UTC
    found = profit(fill(10_000), settlement("no", at_ns=evening))
    assert found.day_e6(MONDAY) == -40 * DOLLAR
    assert found.day_e6(MONDAY + DAY) == 0
    assert found.week_e6(MONDAY + 6 * DAY) == -40 * DOLLAR
    assert found.week_e6(MONDAY + 7 * DAY) == 0


@pytest.mark.parametrize(
    ("held", "told", "value"),
    [
        (10_000, {"yes": 10_000, "revenue_e6": 30 * DOLLAR}, 30),
        (-10_000, {"no": 10_000, "revenue_e6": 70 * DOLLAR}, -30),
        (10_000, {}, 0),
        (-10_000, {}, -100),
    ],
)
def test_a_scalar_result_pays_what_it_says_or_counts_at_its_worst(held, told, value):
    side = "bid" if held > 0 else "ask"
    found = profit(fill(abs(held), side=side), settlement("scalar", **told))
    paid = -40 if held > 0 else 40
    assert found.day_e6(NOW) == (paid + value) * DOLLAR


@given(
    messages=st.permutations(
        [
            fill(10_000, trade="a"),
            fill(3_000, side="ask", price_e4=7_000, trade="b"),
            settlement("no"),
            fill(500, ticker=TICKERS[0], trade="c"),
            settlement("yes", ticker=TICKERS[0]),
        ]
    )
)
def test_the_order_of_news_does_not_matter(messages):
    """−$40 and +$21 of one market; +$3 of the other."""
    assert profit(*messages).day_e6(NOW) == -16 * DOLLAR


def test_old_days_are_forgotten():
    found = SettledProfit()
    for day in range(DAYS_KEPT + 20):
        found.settle(settlement(ticker=f"T{day}", at_ns=NOW + day * DAY))
    assert len(list(found.days())) == DAYS_KEPT
