"""Every kind of difference between our books and the exchange's is told, and nothing else is."""

import pytest

from libs.common.messages import Reconciliation
from services.broker import events as e
from tests.services.broker.rig import TARGET_NS, A, B, Rig, S, quote
from tests.services.broker.stack import KEY_ID, stack, until

GO = (quote(A, "bid", 4_500, 500), quote(B, "ask", 6_000, 300))


def quoting():
    rig = Rig()
    rig.verdict(*GO)
    rig.answer_all()
    rig.advance(5)
    rig.compare()
    assert rig.comparisons[-1].differences == ()
    return rig


def compared(rig, times=2, **moved):
    """Compare so many times, three seconds apart; return what the last one told."""
    for _ in range(times):
        rig.advance(3)
        rig.compare(**moved)
    return rig.comparisons[-1].differences


def test_books_that_agree_say_so():
    rig = quoting()
    rig.fill("X1", 200)
    assert compared(rig) == ()
    assert rig.comparisons[-1].difference_count == 0
    assert rig.alerts == []


def test_a_position_that_our_fills_do_not_explain():
    rig = quoting()
    wrong = {A: 300}
    assert compared(rig, 1, positions=wrong) == (), "one read may be of another moment"
    (line,) = compared(rig, 1, positions=wrong)
    assert line == f"position {A}: exchange 300, fills 0 (count_e2)"
    assert rig.alerts == ["position_differs"]
    compared(rig, 3, positions=wrong)
    assert rig.alerts == ["position_differs"], "said once"
    assert compared(rig) == ()
    assert rig.core.differences["position"] == 0


def test_a_market_that_may_be_settled_has_no_position_to_compare():
    rig = Rig()
    rig.verdict(*GO)
    rig.answer_all()
    rig.fill("X1", 500)
    rig.advance((TARGET_NS - rig.now_ns) / S + 1)
    rig.answer_all()
    compared(rig, positions={A: 0})
    assert "position_differs" not in rig.alerts


def test_money_that_moves_while_nothing_of_ours_does():
    rig = quoting()
    compared(rig)
    (line,) = compared(rig, 1, cash_e6=-250_000)
    assert line == "balance moved by -250000 (e6) while we did not"
    assert rig.alerts == ["balance_differs"]


def test_money_that_moves_with_a_fill_or_an_order_is_no_difference():
    rig = quoting()
    compared(rig)
    rig.fill("X1", 200)
    assert compared(rig) == ()
    rig.verdict()
    rig.answer_all()
    assert compared(rig, cash_e6=900_000) == (), "the collateral of what rested"


def test_an_order_that_nobody_here_placed():
    rig = quoting()
    rig.exchange.place("stranger", A, "bid", 4_000, 100, TARGET_NS)
    (line,) = compared(rig, 1)
    assert line == f"order stranger rests in {A}: no intent names it, cancelling"
    rig.answer_all()
    assert compared(rig, 1) == (line,), "told for a minute, so that no reader misses it"
    rig.advance(61)
    assert compared(rig, 1) == ()


def test_an_order_of_another_size_than_ours():
    rig = quoting()
    rig.exchange.amend("X1", 4_400, 300)  # by someone with the same key
    (line,) = compared(rig, 1)
    assert "(4500, 500) became" in line
    assert "order_differs" in rig.alerts


def test_an_order_that_is_gone_and_can_not_be_found():
    rig = quoting()
    del rig.exchange.orders["X1"]
    rig.exchange.history = [one for one in rig.exchange.history if one[1].order_id != "X1"]
    for _ in range(3):
        lines = compared(rig, 1)
        while rig.reads:
            rig.read()
    assert [line.endswith("its outcome is unknown") for line in lines] == [True]
    assert "order_differs" in rig.alerts


def test_fills_that_the_exchange_counts_and_does_not_list():
    rig = quoting()
    held = rig.exchange.orders["X1"]
    rig.exchange.fill("X1", 200)
    (trade,) = rig.exchange.trades
    rig.exchange.trades.clear()
    rig.frame(held)
    (line,) = compared(rig)
    assert line == f"fill {held.client_order_id}: 200 filled, 0 booked"
    assert rig.alerts == ["fill_differs"]
    rig.exchange.trades.append(trade)
    assert compared(rig) == ()


def test_a_fill_of_no_order_of_ours():
    rig = quoting()
    rig.exchange.place("stranger", A, "bid", 4_000, 100, TARGET_NS)
    rig.tell(rig.exchange.fill("X3", 100))
    rig.settle_down(10)
    (line,) = compared(rig, 1)
    assert line.startswith("fill T1 of order X3")
    assert "foreign_fill" in rig.alerts


@pytest.mark.parametrize("what", ["positions", "cash_e6"])
def test_a_read_that_fails_concludes_nothing(what):
    rig = quoting()
    told = len(rig.comparisons)
    rig.poll()
    if what == "cash_e6":
        rig.send(e.PositionsRead(now_ns=rig.now_ns, started_ns=rig.now_ns, positions=()))
    assert len(rig.comparisons) == told


async def test_a_difference_goes_out_on_the_status_stream(tmp_path):
    """A deposit is the difference that a person makes: the balance moves, nothing of ours did."""
    async with stack(tmp_path, rate=5.0) as running:
        await running.start_broker()
        running.give(*GO)
        engine = running.server.engine
        await until(lambda: len(running.resting()) == 2, "both quotes at rest")
        quiet = len(running.log("STATUS", Reconciliation)) + 15
        await until(lambda: len(running.log("STATUS", Reconciliation)) > quiet, "comparisons")
        assert running.log("STATUS", Reconciliation)[-1].differences == ()
        engine.account(KEY_ID).cash_e6 += 1_000_000
        differing = await until(
            lambda: [one for one in running.log("STATUS", Reconciliation) if one.differences],
            "the difference",
        )
        assert differing[0].differences == ("balance moved by 1000000 (e6) while we did not",)
        await running.stop_broker()
