"""reliability.md scenario 1 at the core: a crash at each of its seven points, then recovery."""

import pytest

from libs.common.effects import Received
from services.broker import events as e
from tests.services.broker.rig import TARGET_NS, A, B, Rig, S, quote, verdict

GO = (quote(A, "bid", 4_500, 500),)
RESTING = {(A, "bid"): (4_500, 500)}


def before_intent(rig):
    rig.send(received(rig), keep=0)


def after_intent(rig):
    rig.send(received(rig), keep=1)


def http_never_arrived(rig):
    rig.send(received(rig))
    rig.send(started(rig))
    rig.writes.clear()


def http_arrived(rig):
    rig.send(received(rig))
    rig.send(started(rig))
    rig.perform(rig.writes.pop())


def accept_not_published(rig):
    rig.send(received(rig))
    rig.send(started(rig))
    write = rig.writes.pop()
    for reply in rig.replies(write, rig.perform(write), "ok"):
        rig.send(reply, keep=0)


def accept_published(rig):
    rig.send(received(rig))
    rig.answer()


def filled_and_accept_not_published(rig):
    http_arrived(rig)
    rig.exchange.fill("X1", 200)


def received(rig):
    rig.last_verdict = verdict(next(rig.numbers), rig.now_ns, GO)
    return Received(now_ns=rig.now_ns, message=rig.last_verdict, stream="VERDICTS", sequence=1)


def started(rig):
    return e.WriteStarted(now_ns=rig.now_ns, client_order_id=rig.writes[0].client_order_id)


POINTS = [
    before_intent,
    after_intent,
    http_never_arrived,
    http_arrived,
    accept_not_published,
    accept_published,
    filled_and_accept_not_published,
]
NEVER_LANDED = (after_intent, http_never_arrived)


@pytest.mark.parametrize("redelivered", [True, False])
@pytest.mark.parametrize("point", POINTS)
def test_no_double_no_loss_and_all_resolved_in_30_seconds(point, redelivered):
    rig = Rig()
    point(rig)
    if not redelivered:
        rig.last_verdict = None
    rig.advance(1.5)
    rig.start()
    rig.settle_down(30)
    placed = rig.exchange.placed_ids
    assert len(placed) == len(set(placed)), "an id is never sent twice"
    assert not {"intent", "submitted", "unknown"} & set(rig.states().values())
    assert sum(fill.count_e2 for fill in rig.fills()) == sum(
        trade.count_e2 for trade in rig.exchange.trades
    )
    if not redelivered:
        assert rig.resting() == {}, "no current verdict wants it"
    elif point in NEVER_LANDED:
        assert rig.resting() == {}, "a quote whose order was lost waits for the next verdict"
    elif not rig.exchange.trades:
        assert rig.resting() == RESTING
    rig.advance(2)
    rig.verdict(*GO)
    rig.settle_down(5)
    assert rig.resting() == RESTING


@pytest.mark.parametrize("done", [True, False])
@pytest.mark.parametrize("what", ["amend", "cancel"])
def test_a_crash_in_an_amend_or_cancel(what, done):
    rig = Rig()
    rig.verdict(*GO, quote(B, "ask", 6_000, 300))
    rig.answer_all()
    rig.advance(2)
    rig.verdict(*([quote(A, "bid", 4_300, 200)] if what == "amend" else []))
    write = rig.writes[0]
    if done:
        rig.perform(write)
    rig.start()
    rig.settle_down(10)
    assert rig.resting() == ({(A, "bid"): (4_300, 200)} if what == "amend" else {})
    assert not {"intent", "submitted", "unknown"} & set(rig.states().values())


def test_the_books_after_a_restart_are_those_before_it():
    rig = Rig()
    rig.verdict(*GO)
    rig.answer_all()
    rig.fill("X1", 200)
    before = rig.core.state
    rig.start()
    after = rig.core.state
    assert after.positions == before.positions
    assert after.fills == before.fills
    assert {one: order.face() for one, order in after.orders.items()} == {
        one: order.face() for one, order in before.orders.items()
    }
    assert rig.writes == [], "the verdict still wants what rests"
    assert after.used_since(rig.last_verdict, rig.last_verdict.ts_pub_ns) == {(A, "bid"): 200}


def test_a_refusal_is_remembered_over_a_restart():
    rig = Rig()
    rig.verdict(*GO)
    submit = rig.writes.pop()
    rig.send(e.WriteStarted(now_ns=rig.now_ns, client_order_id=submit.client_order_id))
    answer = e.OrderAnswer(
        now_ns=rig.now_ns,
        call="place",
        client_order_id=submit.client_order_id,
        outcome="refused",
        code="invalid_order",
    )
    rig.send(answer)
    rig.start()
    assert rig.writes == []


def test_fills_missed_while_down_are_published():
    rig = Rig()
    rig.verdict(*GO)
    rig.answer_all()
    rig.fill("X1", 100, tell=False)
    rig.fill("X1", 400, tell=False)
    rig.start()
    rig.settle_down(3)
    assert [fill.count_e2 for fill in rig.fills()] == [100, 400]
    assert set(rig.states().values()) == {"filled"}


def test_a_restart_after_the_deadline_leaves_nothing():
    rig = Rig()
    rig.verdict(*GO)
    rig.answer_all()
    rig.exchange.orders["X1"].expiration_ns = TARGET_NS
    rig.core = None
    rig.timers.clear()
    rig.advance((TARGET_NS - rig.now_ns) / S - 1)
    rig.start()
    rig.answer_all()
    assert rig.resting() == {}
