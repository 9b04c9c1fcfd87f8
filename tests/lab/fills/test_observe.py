"""What became of each order: time at risk, share filled, what was seen, and what it cost."""

import pytest

from tests.lab.fills.orders import fair, fill, intent, observed, opening, update
from tests.services.pricer.builders import OPEN, TARGET, S, snapshot

AT = OPEN + 60 * S
"""When the order is sent; it rests a second later."""


def test_an_order_that_never_fills_is_a_row_like_all_others():
    """A bid at 36 over others' 35, fair 50, pulled after 12 s with 13 min 59 s to go."""
    found = observed(
        *opening(), intent(AT), update(AT + S, "resting"), update(AT + 13 * S, "cancelled")
    )
    (row,), (order,) = found.rows, found.orders
    assert (row.minutes, row.share) == (pytest.approx(0.2), 0.0)
    assert (order.share, order.pulled, order.ended) == (0.0, True, True)
    assert (row.state.behind_e4, row.state.ahead_e2, row.state.count_e2) == (-100, 0, 100)
    assert row.state.edge_cents == pytest.approx(14.0)
    assert row.state.minutes_left == pytest.approx(14.0)


def test_a_fill_ends_the_time_at_risk():
    found = observed(
        *opening(),
        intent(AT),
        update(AT + S, "resting"),
        update(AT + 7 * S, "filled", filled_e2=100),
    )
    (row,), (order,) = found.rows, found.orders
    assert (row.minutes, row.share) == (pytest.approx(0.1), 1.0)
    assert (order.share, order.pulled) == (1.0, False)


def test_after_a_partial_fill_only_the_rest_is_at_risk():
    """Half is filled after 6 s, the other half rests 6 s more: 6 + 3 seconds at risk."""
    found = observed(
        *opening(),
        intent(AT),
        update(AT + S, "resting"),
        update(AT + 7 * S, "partially_filled", filled_e2=50),
        update(AT + 13 * S, "cancelled", filled_e2=50),
    )
    (row,) = found.rows
    assert (row.minutes, row.share) == (pytest.approx(0.15), 0.5)


def test_a_long_rest_is_cut_and_looked_at_again():
    """After 15 s others bid 37: a cent behind, their whole depth before us."""
    outbid = snapshot(AT + 17 * S, bids=(8000, 6500, 3700, 1000, 200))
    found = observed(
        *opening(),
        intent(AT),
        update(AT + S, "resting"),
        outbid,
        update(AT + 29 * S, "expired"),
    )
    first, second = found.rows
    assert (first.minutes, second.minutes) == (pytest.approx(16 / 60), pytest.approx(0.2))
    assert (second.state.behind_e4, second.state.ahead_e2) == (100, 10_000)
    assert [order.pulled for order in found.orders] == [False]


def test_our_own_order_in_the_books_is_not_in_its_own_way():
    ours = snapshot(AT + 17 * S, bids=(8000, 6500, 3600, 1000, 200), count=100)
    found = observed(
        *opening(),
        intent(AT),
        update(AT + S, "resting"),
        ours,
        update(AT + 29 * S, "cancelled"),
    )
    assert found.rows[1].state.ahead_e2 == 0
    assert found.rows[1].state.behind_e4 < 0


def test_an_amended_price_is_another_spell():
    found = observed(
        *opening(),
        intent(AT),
        update(AT + S, "resting"),
        intent(AT + 7 * S, action="amend", price_e4=3500),
        update(AT + 8 * S, "resting", price_e4=3500),
        update(AT + 14 * S, "filled", price_e4=3500, filled_e2=100),
    )
    first, second = found.orders
    assert (first.share, first.pulled) == (0.0, True)
    assert (second.share, second.pulled, second.state.behind_e4) == (1.0, False, 0)
    assert second.state.ahead_e2 == 10_000


def test_what_the_clock_cancels_was_not_pulled():
    end = TARGET - 2 * S
    found = observed(*opening(), intent(AT), update(AT + S, "resting"), update(end, "cancelled"))
    assert [order.pulled for order in found.orders] == [False]


def test_an_order_whose_end_is_not_told_is_marked():
    found = observed(*opening(), intent(AT), update(AT + S, "resting"))
    assert [order.ended for order in found.orders] == [False]


def test_an_order_sent_without_a_view_is_counted_and_left_out():
    definition, books, _ = opening()
    found = observed(
        definition, books, intent(AT), update(AT + S, "resting"), update(AT + 2 * S, "cancelled")
    )
    assert found.rows == found.orders == []
    assert found.problems["orders without books or fair value"] == 1


@pytest.mark.parametrize(
    ("side", "price_e4", "later", "adverse_cents"),
    [("bid", 3600, 0.46, 4.0), ("bid", 3600, 0.53, -3.0), ("ask", 6400, 0.54, 4.0)],
)
def test_a_fill_is_judged_by_fair_value_half_a_minute_later(side, price_e4, later, adverse_cents):
    at = AT + 7 * S
    found = observed(
        *opening(),
        intent(AT, side=side, price_e4=price_e4),
        update(AT + S, "resting", side=side, price_e4=price_e4),
        fill(at, side=side, price_e4=price_e4),
        update(at, "filled", side=side, price_e4=price_e4, filled_e2=100),
        fair(at + 29 * S, 0.9),
        fair(at + 30 * S, later),
        fair(at + 31 * S, 0.1),
    )
    (markout,) = found.markouts
    assert markout.adverse_cents == pytest.approx(adverse_cents)
    assert markout.participation == pytest.approx(100 / 10_100)


def test_without_a_later_fair_value_a_fill_is_not_judged():
    found = observed(*opening(), intent(AT), update(AT + S, "resting"), fill(AT + 7 * S))
    assert found.markouts == []
    assert found.problems["fills without a later fair value"] == 1


def test_the_least_real_book_names_the_whole():
    assert observed(*opening()).provenance == "synthetic"


def test_the_same_messages_are_the_same_run():
    def messages(price_e4):
        return (
            *opening(),
            intent(AT, price_e4=price_e4),
            update(AT + S, "resting", price_e4=price_e4),
        )

    assert observed(*messages(3600)).run == observed(*messages(3600)).run
    assert observed(*messages(3600)).run != observed(*messages(3500)).run
