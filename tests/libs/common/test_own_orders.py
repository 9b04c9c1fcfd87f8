"""Open orders and positions as folded from the broker's messages."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.messages import ExchangeSettlement, Fill, Message, OrderIntent, OrderUpdate
from libs.common.own_orders import ENDED_KEPT, OwnOrders, Position

EVENT = "KXINXU-24AUG05H1200"
TICKER = f"{EVENT}-T5219.9999"
ENVELOPE = {
    "id": "x",
    "ts_event_ns": 10,
    "ts_pub_ns": 10,
    "cause_id": "",
    "correlation_id": "x",
    "source": "broker",
    "event_ticker": EVENT,
    "series_ticker": "KXINXU",
}


def intent(action="place", client="c1", order_id="", side="bid", price=4500, count=1000, at=10):
    return OrderIntent(
        **(ENVELOPE | {"ts_event_ns": at}),
        action=action,
        client_order_id=client,
        order_id=order_id,
        ticker=TICKER,
        side=side,
        price_e4=price,
        count_e2=count,
        expiration_ns=100,
        verdict_id="v",
        epoch=1,
        reason="",
    )


def update(state, client="c1", order_id="o1", side="bid", price=4500, count=1000, filled=0, at=20):
    return OrderUpdate(
        **(ENVELOPE | {"ts_event_ns": at}),
        client_order_id=client,
        order_id=order_id,
        ticker=TICKER,
        side=side,
        price_e4=price,
        count_e2=count,
        filled_count_e2=filled,
        remaining_count_e2=count - filled,
        previous_state="intent",
        state=state,
        trigger="t",
        reason="",
        exchange_ns=20,
    )


def fill(count, trade="t1", client="c1", order_id="o1", side="bid", price=4500, fee=0):
    return Fill(
        **ENVELOPE,
        trade_id=trade,
        order_id=order_id,
        client_order_id=client,
        ticker=TICKER,
        side=side,
        price_e4=price,
        count_e2=count,
        is_taker=False,
        fee_e6=fee,
        exchange_ns=30,
    )


def folded(*messages: Message) -> OwnOrders:
    own = OwnOrders()
    sequences = {"ORDERS": 0, "FILLS": 0}
    for message in messages:
        stream = "FILLS" if isinstance(message, Fill | ExchangeSettlement) else "ORDERS"
        sequences[stream] += 1
        own.apply(message, stream, sequences[stream])
    return own


def remaining(own: OwnOrders) -> list[int]:
    return [order.remaining_e2 for order in own.open_orders(EVENT)]


@pytest.mark.parametrize("state", ["intent", "submitted", "resting", "partially_filled", "unknown"])
def test_what_may_rest_is_open(state):
    assert remaining(folded(intent(), update(state))) == [1000]


@pytest.mark.parametrize("state", ["filled", "cancelled", "rejected", "expired"])
def test_what_ended_is_not_open(state):
    assert remaining(folded(intent(), update(state))) == []


def test_an_intent_alone_is_open():
    assert remaining(folded(intent())) == [1000]


def test_an_amendment_in_flight_counts_at_its_larger_size_and_dearer_price():
    amend = intent(action="amend", order_id="o1", price=5000, count=1500)
    own = folded(intent(), update("resting"), amend)
    (order,) = own.open_orders(EVENT)
    assert (order.remaining_e2, order.price_e4) == (1500, 5000)
    smaller = intent(action="amend", order_id="o1", price=4000, count=500)
    (order,) = folded(intent(), update("resting"), smaller).open_orders(EVENT)
    assert (order.remaining_e2, order.price_e4) == (1000, 4500)


def test_an_unknown_amendment_still_counts_and_a_known_answer_ends_it():
    amend = intent(action="amend", order_id="o1", count=1500)
    own = folded(intent(), update("resting"), amend, update("unknown"))
    assert remaining(own) == [1500]
    assert [order.client_order_id for order in own.unknown_orders()] == ["c1"]
    own = folded(intent(), update("resting"), amend, update("resting", count=1500))
    assert remaining(own) == [1500]
    assert own.unknown_orders() == []


def test_a_fill_says_nothing_of_an_amendment_in_flight():
    amend = intent(action="amend", order_id="o1", count=1500)
    part = update("partially_filled", filled=300)
    own = folded(intent(), update("resting"), amend, part)
    assert remaining(own) == [1200]
    done = update("partially_filled", filled=300, count=1500)
    assert remaining(folded(intent(), update("resting"), amend, part, done)) == [1200]
    refused = update("partially_filled", filled=300)
    assert remaining(folded(intent(), update("resting"), amend, part, refused)) == [700]


def test_an_amendment_may_change_the_client_id():
    own = folded(intent(), update("resting"), fill(200), update("resting", client="c2"))
    assert remaining(own) == [800]
    assert own.position(TICKER) == Position(200, -200 * 4500)


def test_a_cancel_intent_changes_nothing():
    assert remaining(folded(intent(), update("resting"), intent(action="cancel"))) == [1000]


@pytest.mark.parametrize(
    "messages",
    [
        (intent(), update("partially_filled", filled=300)),
        (intent(), update("resting"), fill(300)),
        (intent(), update("resting"), fill(300), update("partially_filled", filled=300)),
        (intent(), update("partially_filled", filled=300), fill(300)),
    ],
)
def test_a_fill_counts_once_whichever_stream_tells_first(messages):
    own = folded(*messages)
    assert remaining(own) == [700]
    assert own.position(TICKER) == Position(300, -300 * 4500)


def test_a_fill_after_a_cancel_counts_once():
    own = folded(
        intent(),
        fill(500, trade="a"),
        update("cancelled", filled=500),
        update("filled", filled=1000),
        fill(500, trade="b"),
    )
    assert remaining(own) == []
    assert own.position(TICKER).count_e2 == 1000


def test_the_same_trade_twice_is_one_fill():
    assert folded(fill(300), fill(300)).position(TICKER).count_e2 == 300


def test_a_redelivered_sequence_is_ignored():
    own = OwnOrders()
    assert own.apply(fill(300, trade="a"), "FILLS", 7)
    assert not own.apply(fill(300, trade="b"), "FILLS", 7)
    assert own.position(TICKER).count_e2 == 300
    assert own.last_sequence("FILLS") == 7


def test_a_short_position_loses_the_rest_of_a_dollar():
    # Sold 10 YES at .45 with a fee of a cent: YES costs 10 × .55, NO gains 10 × .45.
    position = folded(fill(1000, side="ask", fee=10_000)).position(TICKER)
    assert position.worst_loss_e6() == 5_510_000


def test_both_sides_at_a_profit_lose_nothing():
    own = folded(fill(1000, price=4500), fill(1000, trade="t2", side="ask", price=5500))
    assert own.position(TICKER) == Position(0, 1_000_000)
    assert own.position(TICKER).worst_loss_e6() == 0


def test_what_the_exchange_may_show_is_subtracted_from_a_book():
    """An intent counts: nothing is published between it and the news of the order's rest."""
    own = folded(intent(client="c0", price=4400), intent(), update("resting", filled=200))
    assert own.resting_e2(EVENT) == {(TICKER, "bid", 4400): 1000, (TICKER, "bid", 4500): 800}


def test_settlement_forgets_the_market():
    settled = ExchangeSettlement(
        **ENVELOPE,
        ticker=TICKER,
        result="yes",
        yes_count_e2=300,
        no_count_e2=0,
        revenue_e6=3_000_000,
        fee_e6=0,
        settled_ns=40,
    )
    for late in ([], [update("expired", filled=300)], [update("unknown")], [fill(300, trade="z")]):
        own = folded(intent(), update("resting"), fill(300), settled, *late)
        assert remaining(own) == []
        assert own.unknown_orders() == []
        assert own.position(TICKER) == Position()


def test_changed_ns_is_the_newest_change_of_the_event():
    assert folded(intent(at=10), update("resting", at=25)).changed_ns(EVENT) == 25
    assert OwnOrders().changed_ns(EVENT) == 0


@given(
    parts=st.lists(st.integers(1, 400), min_size=1, max_size=5),
    order=st.randoms(use_true_random=False),
)
def test_position_plus_open_is_the_order_at_any_interleaving(parts, order):
    """Reports and fills interleave freely; nothing is lost or counted twice."""
    total = sum(parts)
    sums = [sum(parts[: i + 1]) for i in range(len(parts))]
    updates = [update("partially_filled", count=total, filled=filled) for filled in sums]
    fills = [fill(part, trade=f"t{index}") for index, part in enumerate(parts)]
    own = OwnOrders()
    own.apply(intent(count=total), "ORDERS", 1)
    sequences = {"ORDERS": 1, "FILLS": 0}
    while updates or fills:
        queue = updates if fills == [] or (updates and order.random() < 0.5) else fills
        message = queue.pop(0)
        stream = "ORDERS" if isinstance(message, OrderUpdate) else "FILLS"
        sequences[stream] += 1
        own.apply(message, stream, sequences[stream])
        assert own.position(TICKER).count_e2 + sum(remaining(own)) == total
    assert own.position(TICKER) == Position(total, -total * 4500)


def test_many_ended_orders_are_not_kept_for_ever():
    own = OwnOrders()
    for number in range(ENDED_KEPT + 50):
        name = {"client": f"c{number}", "order_id": f"o{number}"}
        own.apply(update("resting", **name), "ORDERS", 2 * number + 1)
        own.apply(update("cancelled", **name), "ORDERS", 2 * number + 2)
    assert remaining(own) == []
    assert own.order_count() == ENDED_KEPT
    # A late word about a forgotten order still counts once.
    own.apply(update("filled", client="c0", order_id="o0", filled=1000), "ORDERS", 10**6)
    own.apply(fill(1000, client="c0", order_id="o0"), "FILLS", 1)
    assert own.position(TICKER).count_e2 == 1000
