"""One order group per event: made once, found again, it stops the event, it goes at the end."""

import grpc
import pytest

from lab.exchange.faults import Disconnect, FrameWhere, Gap
from proto import broker_pb2 as pb
from proto import broker_pb2_grpc
from services.broker import events as e
from services.broker.policy import Policy
from tests.services.broker.rig import EVENT, TARGET_NS, A, B, Rig, S, quote
from tests.services.broker.stack import KEY_ID, stack, until

GO = (quote(A, "bid", 4_500, 500), quote(B, "ask", 6_000, 300))
RESTING = {(A, "bid"): (4_500, 500), (B, "ask"): (6_000, 300)}


def quoting(**changes):
    rig = Rig(Policy(**{"group_limit_e2": 400} | changes))
    rig.verdict(*GO)
    rig.answer_all()
    assert rig.resting() == RESTING
    return rig


class TestCore:
    def test_nothing_is_placed_before_its_group_is_there(self):
        rig = Rig(Policy())
        rig.verdict(*GO)
        assert [type(one) for one in rig.writes] == [e.CreateGroup]
        rig.advance(5)
        assert [type(one) for one in rig.writes] == [e.CreateGroup], "asked once"
        rig.answer("not_sent")
        assert rig.writes == []
        rig.advance(2)
        rig.answer_all()
        assert rig.resting() == RESTING
        assert {held.group_id for held in rig.exchange.orders.values()} == {"G1"}
        assert {one.order_group_id for one in rig.intents("place")} == {"G1"}

    def test_it_is_made_ahead_of_the_first_quotes(self):
        rig = Rig(Policy())
        rig.verdict()
        rig.answer_all()
        rig.advance(1)
        rig.verdict(*GO)
        assert {type(one) for one in rig.writes} == {e.SubmitOrder}

    def test_a_restart_finds_it_and_deletes_what_no_intent_names(self):
        rig = quoting()
        rig.exchange.create_group(400)
        rig.start()
        rig.answer_all()
        assert list(rig.exchange.group_limits) == ["G1"]
        assert rig.resting() == RESTING

    def test_another_limit_is_another_group(self):
        rig = quoting()
        rig.policy = Policy(group_limit_e2=900)
        rig.start()
        rig.settle_down(5)
        assert rig.exchange.group_limits == {"G2": 900}
        assert rig.resting() == {}, "the exchange cancelled what was in the old one"
        rig.poll()
        rig.settle_down(5)
        rig.verdict(*GO)
        rig.answer_all()
        assert rig.resting() == RESTING

    @pytest.mark.parametrize("told_by", ["frame", "refusal"])
    def test_a_triggered_group_stops_the_event_until_an_operator_resets_it(self, told_by):
        rig = quoting()
        rig.fill("X1", 500)
        assert rig.exchange.triggered == {"G1"}
        if told_by == "frame":
            seen = e.GroupSeen(now_ns=rig.now_ns, order_group_id="G1", change="triggered")
            rig.send(seen)
        rig.settle_down(5)
        rig.verdict(*GO)
        rig.settle_down(5)
        assert "group_triggered" in rig.alerts
        tried = len(rig.exchange.placed_ids)
        rig.verdict(*GO)
        rig.settle_down(5)
        assert len(rig.exchange.placed_ids) == tried
        rig.send(e.GroupResetAsked(now_ns=rig.now_ns, event_ticker=EVENT))
        rig.advance(2)
        rig.answer_all()
        rig.verdict(*GO)
        rig.settle_down(5)
        assert rig.resting() == RESTING

    def test_the_policy_may_reset_it(self):
        rig = quoting(group_reset_s=30.0)
        rig.fill("X1", 500)
        rig.send(e.GroupSeen(now_ns=rig.now_ns, order_group_id="G1", change="triggered"))
        rig.settle_down(29)
        assert rig.exchange.triggered
        rig.settle_down(2)
        assert not rig.exchange.triggered

    @pytest.mark.parametrize("after", ["a restart", "a gap"])
    def test_that_the_limit_was_hit_is_known_before_the_first_refusal(self, after):
        """Nobody tells of the trigger; our own fills, as read, do."""
        rig = quoting()
        rig.fill("X1", 500, tell=after == "a gap")
        if after == "a restart":
            rig.start()
        else:
            rig.read_groups()
        assert "group_triggered" in rig.alerts
        rig.settle_down(5)
        tried = len(rig.exchange.placed_ids)
        for _ in range(3):
            rig.verdict(*GO)
            rig.settle_down(5)
        assert len(rig.exchange.placed_ids) == tried
        assert rig.resting() == {}
        rig.send(e.GroupResetAsked(now_ns=rig.now_ns, event_ticker=EVENT))
        rig.answer_all()
        rig.read_groups()
        rig.verdict(*GO)
        rig.settle_down(8)
        assert rig.resting() == RESTING

    @pytest.mark.parametrize(("first_e2", "later_s"), [(399, 1), (390, 16)])
    def test_fills_that_did_not_hit_the_limit_within_15_s_stop_nothing(self, first_e2, later_s):
        rig = quoting()
        rig.fill("X1", first_e2)
        rig.advance(later_s)
        if later_s > 15:
            rig.fill("X1", 100)
        assert not rig.exchange.triggered
        rig.read_groups()
        rig.start()
        assert "group_triggered" not in rig.alerts

    def test_a_group_that_was_reset_and_used_since_is_not_stopped_again(self):
        rig = quoting()
        rig.fill("X1", 500)
        rig.send(e.GroupSeen(now_ns=rig.now_ns, order_group_id="G1", change="triggered"))
        rig.settle_down(10)
        rig.send(e.GroupResetAsked(now_ns=rig.now_ns, event_ticker=EVENT))
        rig.answer_all()
        rig.verdict(*GO)
        rig.settle_down(5)
        assert rig.resting() == RESTING
        rig.alerts.clear()
        rig.start()
        rig.read_groups()
        rig.answer_all()
        assert "group_triggered" not in rig.alerts
        assert rig.resting() == RESTING

    @pytest.mark.parametrize("healthy", [True, False])
    def test_a_group_that_shows_another_auto_cancel_than_before_stops_the_event(self, healthy):
        """Nobody says which value is the healthy one: a change is what tells."""
        rig = quoting()
        for _ in range(2):
            rig.read_groups(auto_cancel=healthy)
            rig.answer_all()
        assert rig.resting() == RESTING
        rig.read_groups(auto_cancel=not healthy)
        rig.answer_all()
        assert "group_triggered" in rig.alerts
        assert rig.resting() == {}
        rig.settle_down(5)
        rig.send(e.GroupResetAsked(now_ns=rig.now_ns, event_ticker=EVENT))
        rig.answer_all()
        rig.read_groups(auto_cancel=healthy)
        rig.verdict(*GO)
        rig.settle_down(5)
        rig.read_groups(auto_cancel=healthy)
        assert rig.resting() == RESTING

    def test_what_a_stopped_group_shows_is_not_taken_for_healthy(self):
        rig = quoting()
        rig.send(e.GroupSeen(now_ns=rig.now_ns, order_group_id="G1", change="triggered"))
        rig.read_groups(auto_cancel=True)
        rig.send(e.GroupSeen(now_ns=rig.now_ns, order_group_id="G1", change="reset"))
        rig.settle_down(5)
        rig.alerts.clear()
        rig.read_groups(auto_cancel=False)
        rig.verdict(*GO)
        rig.settle_down(5)
        assert "group_triggered" not in rig.alerts
        assert rig.resting() == RESTING

    def test_one_whose_limit_somebody_changed_is_replaced(self):
        rig = quoting()
        rig.exchange.group_limits["G1"] = 100_000
        rig.read_groups()
        rig.settle_down(5)
        assert rig.exchange.group_limits == {"G2": 400}
        rig.poll()
        rig.settle_down(5)
        rig.verdict(*GO)
        rig.answer_all()
        assert rig.resting() == RESTING

    def test_one_whose_limit_a_read_does_not_tell_is_kept(self):
        rig = quoting()
        rig.read_groups(limits_told=False)
        rig.settle_down(5)
        assert rig.exchange.group_limits == {"G1": 400}
        assert rig.resting() == RESTING

    def test_one_that_is_being_made_is_no_stray(self):
        rig = Rig(Policy(group_limit_e2=400))
        rig.verdict(*GO)
        (ask,) = rig.writes
        made = rig.perform(ask)
        rig.read_groups()
        for reply in rig.replies(rig.writes.pop(0), made, "ok"):
            rig.send(reply)
        rig.answer_all()
        assert rig.exchange.group_limits == {"G1": 400}
        assert rig.resting() == RESTING

    def test_it_goes_with_its_event(self):
        rig = quoting()
        rig.advance((TARGET_NS - rig.now_ns) / S - 3)
        rig.settle_down(20)
        assert rig.exchange.group_limits == {}

    def test_one_that_somebody_deleted_is_made_anew(self):
        rig = quoting()
        rig.exchange.delete_group("G1")
        rig.send(e.GroupSeen(now_ns=rig.now_ns, order_group_id="G1", change="deleted"))
        rig.advance(2)
        rig.poll()
        rig.settle_down(5)
        rig.verdict(*GO)
        rig.settle_down(5)
        assert list(rig.exchange.group_limits) == ["G2"]
        assert rig.resting() == RESTING


async def test_the_exchange_stops_an_event_and_an_operator_lets_it_go_on(tmp_path, unused_port):
    async with stack(tmp_path) as running:
        running.changes = {"admin_port": unused_port, "policy": Policy(group_limit_e2=300)}
        groups = running.server.engine.groups
        await running.start_broker()
        running.give(*GO)
        await until(lambda: running.resting() == RESTING, "both quotes at rest")
        (group,) = groups.of_account(KEY_ID)
        assert len(groups.orders(group)) == 2
        await running.crash_broker()
        await running.start_broker(release=False)
        assert groups.of_account(KEY_ID) == [group]
        running.trade(A, "ask", 4_500, 400)
        assert running.resting() == {}
        await until(lambda: " open 0" in running.app.detail(), "the end of both orders")
        running.give(*GO)  # the frame may have come before the socket was there
        await until(lambda: "stopped by their order group" in running.app.detail(), "the stop")
        running.give(*GO)
        await until(lambda: "unknown 0" in running.app.detail(), "every outcome")
        assert running.resting() == {}

        async with grpc.aio.insecure_channel(f"127.0.0.1:{unused_port}") as channel:
            stub = broker_pb2_grpc.BrokerAdminStub(channel)
            metadata = (("authorization", "Bearer a-token-for-tests"),)
            asked = pb.ResetOrderGroupRequest(event_ticker=EVENT)
            await stub.ResetOrderGroup(asked, metadata=metadata, timeout=20)
            await until(lambda: not group.triggered, "the reset")
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await stub.ResetOrderGroup(asked, metadata=metadata, timeout=20)
            assert refused.value.code() == grpc.StatusCode.NOT_FOUND
        await running.clock.sleep(2.0)  # a verdict this fresh has not seen the fill
        running.give(*GO)
        await until(lambda: running.resting() == RESTING, "both quotes at rest again")
        await running.stop_broker()


@pytest.mark.parametrize("lost", [Gap, Disconnect])
async def test_a_trigger_that_nobody_told_of_is_found_by_reading(tmp_path, lost):
    """Its frame is lost; the next one shows the gap, or the next socket has heard nothing."""
    async with stack(tmp_path) as running:
        running.changes = {"policy": Policy(group_limit_e2=300), "poll_s": 60.0}
        await running.start_broker()
        await until(lambda: running.app._watch.is_connected, "the socket")
        running.give(*GO)
        await until(lambda: running.resting() == RESTING, "both quotes at rest")
        injector = running.server._injector
        injector.add([lost(where=FrameWhere(channels=("order_group_updates",)))])
        running.trade(A, "ask", 4_500, 400)
        await until(lambda: injector.book.injected, "the loss")
        injector.clear()
        if lost is Gap:
            running.server.engine.groups.create(KEY_ID, 100)
        placed = len(running.intents("place"))
        await until(lambda: "stopped by their order group" in running.app.detail(), "the stop")
        running.give(*GO)
        await running.clock.sleep(0.5)
        assert len(running.intents("place")) == placed, "known before any refusal"
        await running.stop_broker()


async def test_the_group_of_a_past_event_is_deleted(tmp_path):
    async with stack(tmp_path, before_target_s=10.0, rate=5.0) as running:
        await running.start_broker()
        running.give(*GO)
        groups = running.server.engine.groups
        await until(lambda: groups.of_account(KEY_ID), "the group")
        await until(lambda: not groups.of_account(KEY_ID), "the end of the group")
        await running.stop_broker()
