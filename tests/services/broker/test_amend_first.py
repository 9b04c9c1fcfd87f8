"""Amends come first where the exchange's own matching rules out that one takes (ADR 0006)."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.exchange.model import Amendment, NewOrder, Rejected
from libs.common.messages import OrderUpdate
from services.broker import events as e
from services.broker.orders import Order
from services.broker.plan import Wanted, plan
from tests.lab.exchange.harness import MARKET, START_NS, S, small_engine
from tests.services.broker.rig import A, B, Rig, quote

PRICES = [3_000, 4_000, 4_500, 5_000, 6_000]
SIDES = ["bid", "ask"]
COUNTS = [100, 300, 500]
STRANGER = st.tuples(st.sampled_from(SIDES), st.sampled_from(PRICES), st.sampled_from(COUNTS))


@settings(deadline=None, max_examples=500)
@given(
    side=st.sampled_from(SIDES),
    ours=st.tuples(st.sampled_from(PRICES), st.sampled_from(COUNTS)),
    goal=st.builds(Wanted, st.sampled_from(PRICES), st.sampled_from(COUNTS)),
    before=st.lists(STRANGER, max_size=3),
    under_way=st.lists(STRANGER, min_size=1, max_size=4),
)
def test_an_amend_never_takes_whatever_others_do_while_it_is_under_way(
    side, ours, goal, before, under_way
):
    """On the simulated exchange, with an order of which it does not know that it is post-only:
    whether Kalshi's own keeps that over an amend, nobody says.
    """
    engine = small_engine()
    engine.open_account("us", 1_000_000_000, keep_history=True)
    now_ns = START_NS + S

    def trade(strangers):
        for its_side, price_e4, count_e2 in strangers:
            order = NewOrder(ticker=MARKET, side=its_side, price_e4=price_e4, count_e2=count_e2)
            engine.place("b", order, now_ns)

    trade(before)
    request = {"ticker": MARKET, "side": side, "price_e4": ours[0], "count_e2": ours[1]}
    tried = engine.place("us", NewOrder(**request, post_only=True), now_ns)
    if isinstance(tried, Rejected):
        return
    engine.cancel("us", tried.order_id, now_ns)
    placed = engine.place("us", NewOrder(**request), now_ns)
    held = Order(
        client_order_id="one",
        event_ticker="event",
        series_ticker="series",
        ticker=MARKET,
        side=side,
        price_e4=ours[0],
        count_e2=ours[1],
        expiration_ns=0,
        verdict_id="v",
        intent_id="i",
        correlation_id="c",
        state="resting",
        order_id=placed.order_id,
    )
    (*changes,) = plan([held], {(MARKET, side): goal}, now_ns).changes
    trade(under_way)
    for change in changes:
        amendment = Amendment(
            ticker=MARKET, side=side, price_e4=change.price_e4, count_e2=change.total_e2
        )
        engine.amend("us", placed.order_id, amendment, now_ns)
    assert not any(fill.is_taker for fill in engine.state.histories["us"].fills)


def amending(goal):
    """Return a rig with an amend of its one order under way."""
    rig = Rig()
    rig.verdict(quote(A, "bid", 4_500, 500))
    rig.answer_all()
    rig.advance(2)
    rig.verdict(goal)
    return rig, rig.writes.pop()


def answer(rig, amend, **fields):
    accepted = {"call": "amend", "outcome": "accepted", "order_id": amend.order_id}
    told = e.OrderAnswer(
        now_ns=rig.now_ns, client_order_id=amend.client_order_id, **accepted | fields
    )
    rig.send(told)
    return [one for one in rig.log if isinstance(one, OrderUpdate)][-1]


def test_an_answer_without_counts_says_that_nothing_matched_and_the_size_stayed():
    """openapi AmendOrderV2Response: both counts are present only on a fill or a new size."""
    rig, amend = amending(quote(A, "bid", 4_300, 500))
    update = answer(rig, amend)
    assert (update.state, update.price_e4, update.count_e2) == ("resting", 4_300, 500)


@pytest.mark.parametrize(
    ("goal", "fields"),
    [
        (quote(A, "bid", 4_300, 200), {}),  # a new size has to be told
        (quote(A, "bid", 4_300, 500), {"filled_e2": 100, "remaining_e2": 400}),  # it matched
        (quote(A, "bid", 4_300, 500), {"filled_e2": 0, "remaining_e2": 0}),
    ],
)
def test_an_answer_that_can_not_be_so_is_read_back(goal, fields):
    rig, amend = amending(goal)
    assert answer(rig, amend, **fields).state == "unknown"
    assert [type(one).__name__ for one in rig.reads] == ["LookupOrders"]


@pytest.mark.parametrize(
    ("side", "price_e4", "count_e2", "write"),
    [
        ("bid", 4_500, 200, "AmendOrder"),  # keeps its queue place
        ("bid", 4_500, 900, "AmendOrder"),
        ("bid", 4_300, 900, "AmendOrder"),
        ("bid", 4_600, 500, "CancelOrders"),  # an ask may have come there by now
        ("ask", 6_100, 300, "AmendOrder"),
        ("ask", 5_900, 300, "CancelOrders"),
    ],
)
def test_which_moves_are_amends(side, price_e4, count_e2, write):
    rig = Rig()
    rig.verdict(quote(A, "bid", 4_500, 500), quote(B, "ask", 6_000, 300))
    rig.answer_all()
    rig.advance(2)
    kept = quote(B, "ask", 6_000, 300) if side == "bid" else quote(A, "bid", 4_500, 500)
    rig.verdict(kept, quote(A if side == "bid" else B, side, price_e4, count_e2))
    assert [type(one).__name__ for one in rig.writes] == [write]
