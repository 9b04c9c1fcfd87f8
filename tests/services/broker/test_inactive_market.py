"""On a market that stands still the exchange refuses cancels, too: MARKET_INACTIVE."""

import pytest

from services.broker import events as e
from tests.services.broker.rig import A
from tests.services.broker.test_core import GO, quoting

STOPS = (
    lambda rig: rig.verdict(GO[1]),
    lambda rig: rig.send(e.CancelAllAsked(now_ns=rig.now_ns, event_ticker="", reason="x")),
    lambda rig: rig.send(e.KillSwitchChanged(now_ns=rig.now_ns, engaged=True, reason="x", by="y")),
)


@pytest.mark.parametrize("stop", STOPS, ids=["unwanted", "cancel_all", "kill_switch"])
@pytest.mark.parametrize("taken_away", [False, True], ids=["cancelled", "taken_away"])
def test_a_refused_cancel_is_tried_until_it_is_taken(stop, taken_away):
    rig = quoting()
    rig.exchange.inactive = {A}
    (client_order_id,) = [
        one.client_order_id for one in rig.core.state.orders.values() if one.ticker == A
    ]
    rig.advance(2)
    stop(rig)
    tries = 0
    for _ in range(60):  # half a minute
        while rig.writes or rig.reads:
            tries += sum(
                target.client_order_id == client_order_id
                for write in rig.writes
                if isinstance(write, e.CancelOrders)
                for target in write.targets
            )
            rig.answer_all()
            while rig.reads:
                rig.read()
        assert rig.core.state.orders[client_order_id].is_open, "it rests, so it is known"
        rig.advance(0.5)
    assert 3 <= tries <= 61, "again and again, at most one in retry_s"
    assert rig.alerts.count("cancel_refused") == tries
    assert len(rig.exchange.placed_ids) == 2, "nothing is placed in its stead"
    rig.exchange.inactive = set()
    if taken_away:  # as a reactivation does (kalshi-api.md section 2.8)
        rig.exchange.cancel("X1")
    rig.settle_down(15)
    assert rig.states()[client_order_id] == "cancelled"
    assert (A, "bid") not in rig.resting()
