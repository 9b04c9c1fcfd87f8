"""What forbids quotes takes them away, and how long that took is a metric."""

import pytest

from libs.common.bus import BusError
from libs.common.memory_bus import MemoryBus
from libs.common.messages import GateResult
from services.broker import events as e
from services.broker.policy import Policy
from tests.services.broker.rig import TARGET_NS, A, B, Rig, S, quote
from tests.services.broker.stack import stack, until

GO = (quote(A, "bid", 4_500, 500), quote(B, "ask", 6_000, 300))


def quoting(**changes):
    rig = Rig(Policy(group_limit_e2=0, **changes))
    rig.verdict(*GO)
    rig.answer_all()
    assert len(rig.resting()) == 2
    return rig


def kill(rig):
    rig.send(e.KillSwitchChanged(now_ns=rig.now_ns, engaged=True, reason="r", by="me"))


def no_go(rig):
    rig.advance(1)
    rig.verdict(decision="NO-GO", gates=(GateResult(gate="freshness_index", ok=False),))


def stop_process(rig, reason="stopping"):
    rig.send(e.DrainAsked(now_ns=rig.now_ns, reason=reason))


def operator(rig):
    rig.send(e.CancelAllAsked(now_ns=rig.now_ns, event_ticker="", reason="r"))


def deadline(rig):
    rig.exchange.expires = False
    while rig.now_ns < TARGET_NS - 3 * S:
        rig.advance(min(20, (TARGET_NS - rig.now_ns) / S - 3))
        rig.verdict(*GO)
        rig.answer_all()
    rig.advance(1)


TRIGGERS = {
    "kill_switch": kill,
    "no_go": no_go,
    "stopping": stop_process,
    "lost_lease": lambda rig: stop_process(rig, "lost_lease"),
    "no_verdict": operator,
    "deadline": deadline,
    "verdict_expired": lambda rig: rig.advance(30),
}


@pytest.mark.parametrize("reason", TRIGGERS)
def test_each_trigger_ends_in_nothing_at_rest_and_its_time_is_taken(reason):
    rig = quoting()
    TRIGGERS[reason](rig)
    assert rig.stops == [], "not before the exchange's word"
    began_ns = rig.now_ns
    rig.advance(0.25)
    rig.answer_all()
    while rig.reads:
        rig.read()
    assert rig.resting() == {}
    assert rig.stops == [(reason, pytest.approx(0.25))]
    assert rig.now_ns - began_ns == 0.25 * S


def test_a_verdict_that_nobody_renews_ends_by_the_broker_s_own_bound():
    """Stale feeds, a dead pricer, a dead risk: whatever the verdict says of its own end."""
    rig = quoting(verdict_age_s_max=5.0)
    rig.advance(2)
    rig.verdict(*GO, expires_at_ns=rig.now_ns + 3_600 * S)
    rig.advance(4.9)
    assert rig.writes == []
    rig.advance(0.2)
    assert [type(one) for one in rig.writes] == [e.CancelOrders]


def test_a_frame_without_news_stops_what_is_over_whatever_became_of_the_timer():
    rig = quoting()
    rig.timers.clear()
    rig.advance(29)
    rig.frame(rig.exchange.orders["X1"])
    assert rig.writes == []
    rig.advance(1)
    rig.frame(rig.exchange.orders["X1"])
    assert [type(one) for one in rig.writes] == [e.CancelOrders]
    assert len(rig.writes[0].targets) == 2


def test_an_order_that_lands_after_it_was_proved_absent_is_seen_by_its_first_frame():
    """A broker that was paused between its last check and the socket, and woke much later."""
    rig = Rig()
    rig.verdict(GO[0])
    (submit,) = rig.writes
    rig.answer("dropped")
    rig.settle_down(10)
    assert set(rig.states().values()) == {"rejected"}
    rig.perform(submit)
    rig.frame(rig.exchange.frames[-1])
    assert set(rig.states().values()) == {"unknown"}
    rig.verdict()
    rig.settle_down(5)
    assert rig.resting() == {}


class NoLease(MemoryBus):
    """A bus that does not renew leases when told not to."""

    cut = False

    async def put(self, bucket, key, data, *, revision):
        if self.cut and bucket == "lease":
            raise BusError("cut by a test")
        return await super().put(bucket, key, data, revision=revision)


async def test_a_broker_that_can_not_renew_its_lease_cancels_everything_and_ends(tmp_path):
    async with stack(tmp_path) as running:
        running.make_bus = lambda service: NoLease(running.hub, service)
        running.changes = {"lease_ttl_s": 1.0, "lease_every_s": 0.2, "leave_timeout_s": 0.15}
        await running.start_broker()
        running.give(*GO)
        await until(lambda: len(running.resting()) == 2, "both quotes at rest")
        running.runner.context.bus.cut = True
        ended = await running.ended()
        assert "could not be renewed" in str(ended)
        assert running.resting() == {}
        metrics = running.runner.context.metrics.stop_to_zero_s
        (sample,) = [
            one
            for family in metrics.collect()
            for one in family.samples
            if one.name.endswith("_count") and one.labels == {"reason": "lost_lease"}
        ]
        assert sample.value == 1
