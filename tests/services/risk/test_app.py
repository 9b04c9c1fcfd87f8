"""Risk's shell on the in-memory bus: the kill switch is read, exposure is recovered."""

import asyncio
from typing import Any

import grpc
import msgspec
import pytest
from prometheus_client import generate_latest

from libs.common.admin import AdminServer
from libs.common.bus import KeyValue
from libs.common.clock import ManualClock
from libs.common.config import config_hash
from libs.common.effects import Received
from libs.common.memory_bus import MemoryBus, MemoryHub
from libs.common.messages import KillSwitch, Override, PanicLatch, decode, encode
from libs.common.overrides import override_bytes
from libs.common.runner import Context
from libs.common.topology import KILL_SWITCH_KEY, Service, durables_of, subject_of
from proto import risk_pb2, risk_pb2_grpc
from services.risk.admin import RiskAdmin
from services.risk.app import RiskApp, read_kill_switch
from services.risk.config import RiskConfig
from tests.services.risk.builders import (
    EVENT,
    NOW,
    TICKERS,
    Bench,
    S,
    fill,
    order,
    proposal,
    verdicts,
)
from tests.services.risk.test_overrides import KEY, STRANGER, signed

CONFIG = RiskConfig(service="risk", nats_url="", nats_password_file="none", admin_token_file="none")


def switch(engaged: bool) -> bytes:
    return msgspec.json.encode(KillSwitch(engaged=engaged, reason="", by="test", at_ns=1))


@pytest.fixture
def hub() -> MemoryHub:
    return MemoryHub(lambda: NOW)


def risk_bus(hub: MemoryHub, value: bytes | None = None) -> MemoryBus:
    if value is not None:
        hub.put("control", KILL_SWITCH_KEY, value, 0)
    return hub.bus(Service.RISK)


@pytest.mark.parametrize(
    ("value", "engaged"),
    [
        (switch(engaged=False), False),
        (switch(engaged=True), True),
        (None, None),
        (b"", None),
        (b"{}", None),
        (b"\xff", None),
        (b'{"type":"kill_switch.9","engaged":false}', None),
    ],
)
async def test_what_cannot_be_read_is_not_released(hub, value, engaged):
    assert await read_kill_switch(risk_bus(hub, value)) is engaged


async def test_a_bus_that_does_not_answer_is_not_released(hub):
    class Silent(MemoryBus):
        async def get(self, bucket: str, key: str) -> KeyValue | None:
            await asyncio.Event().wait()
            raise AssertionError("unreachable")

    assert await read_kill_switch(Silent(hub, Service.RISK)) is None


async def test_recovery_counts_orders_and_fills_once(hub):
    broker = hub.bus(Service.BROKER)
    for message in (order("unknown", count_e2=400), fill(600, client="c9")):
        await broker.publish(subject_of(message), encode(message), message_id=message.id)
    app = RiskApp(CONFIG)
    context = Context(app, risk_bus(hub), ManualClock(NOW), CONFIG)
    await app.recover(context)
    assert app.core.desk.own.position(TICKERS[1]).count_e2 == 600
    assert len(app.core.desk.own.unknown_orders()) == 1
    assert (
        app.core.desk.own.last_sequence("ORDERS"),
        app.core.desk.own.last_sequence("FILLS"),
    ) == (1, 1)


async def test_recovery_reserves_what_late_verdicts_allowed(hub):
    """The broker may still act on it, whether we hear of its intent or not."""
    before = risk_bus(hub)
    bench = Bench()
    for at_ns in (NOW - 60 * S, NOW):
        bench.refresh(at_ns)
        (verdict,) = verdicts(bench.send(proposal(at_ns)))
        assert verdict.quotes
        subject = subject_of(verdict)
        await before.publish(subject, encode(verdict), message_id=verdict.id)
    app = RiskApp(CONFIG)
    await app.recover(Context(app, risk_bus(hub), ManualClock(NOW), CONFIG))
    (entries,) = app.core.desk.reservations.of(EVENT, NOW).values()
    assert [(one.reach_e2, one.given_ns) for one in entries] == [(100, NOW)]


async def test_a_proposal_through_the_shell_is_answered_on_the_bus(hub):
    bus = risk_bus(hub)
    app = RiskApp(CONFIG)
    context = Context(app, bus, ManualClock(NOW), CONFIG)
    received = Received(now_ns=NOW, message=proposal(), stream="PROPOSALS", sequence=1)
    published = context.dispatch(received)
    assert [await future for future in published] == [1]
    assert len(hub.log("VERDICTS").after(0)) == 1


async def test_the_switch_is_read_again_and_again(hub):
    clock = ManualClock(NOW)
    app = RiskApp(CONFIG)
    context = Context(app, risk_bus(hub, switch(engaged=False)), clock, CONFIG)
    running = asyncio.create_task(app.run(context))
    async with asyncio.timeout(10):
        while app.core.inputs.kill_switch is None:
            await asyncio.sleep(0)
        assert app.core.inputs.kill_switch.engaged is False
        hub.put("control", KILL_SWITCH_KEY, switch(engaged=True), 1)
        while app.core.inputs.kill_switch.engaged is not True:
            await clock.advance_to(clock.now_ns() + 500_000_000)
            await asyncio.sleep(0.001)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def asked(hub: MemoryHub, *offers: bytes) -> tuple[list[Any], Any, Any]:
    """Serve risk's admin endpoint on a loopback port; return its answers and its state."""
    config = msgspec.structs.replace(CONFIG, operator_key=KEY)
    app = RiskApp(config)
    context = Context(app, risk_bus(hub, switch(engaged=False)), ManualClock(NOW), config)
    await app.recover(context)
    server = AdminServer("127.0.0.1", 0, "token", app.admin_services())
    await server.start()
    running = asyncio.create_task(app.run(context))
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
            stub = risk_pb2_grpc.RiskAdminStub(channel)
            metadata = (("authorization", "Bearer token"),)
            async with asyncio.timeout(10):
                while app.core.inputs.kill_switch is None:
                    await asyncio.sleep(0)
            replies = [
                await stub.GiveOverride(
                    risk_pb2.OverrideRequest(override_json=one), metadata=metadata
                )
                for one in offers
            ]
            state = await stub.GetState(risk_pb2.RiskStateRequest(), metadata=metadata)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await server.close()
    return replies, state, context.metrics


async def test_an_operator_s_override_is_taken_published_counted_and_shown(hub):
    good, forged = signed(), signed(by=STRANGER, nonce="n2")
    replies, state, metrics = await asked(hub, encode(good), encode(good), encode(forged), b"{}")
    assert [(one.in_force, one.refusal) for one in replies] == [
        (True, ""),
        (False, "replayed"),
        (False, "forged"),
        (False, "unreadable"),
    ]
    assert [one.nonce for one in state.overrides] == [good.nonce]
    assert dict(state.overrides_refused) == {"replayed": 1, "forged": 1, "unreadable": 1}
    assert (state.mode, state.config_hash) == ("live", config_hash(CONFIG.policy))
    stored = [decode(one.data) for one in hub.log("STATUS").after(0)]
    assert [type(one) for one in stored] == [Override, PanicLatch]
    assert override_bytes(stored[0]) == override_bytes(good)
    text = generate_latest(metrics.registry).decode()
    assert 'alpha_overrides_total{kind="lift_panic",outcome="in_force"} 1.0' in text
    assert 'alpha_overrides_total{kind="lift_panic",outcome="forged"} 1.0' in text


async def test_what_risk_decided_last_is_shown_with_every_no(hub):
    app = RiskApp(CONFIG)
    context = Context(app, risk_bus(hub), ManualClock(NOW), CONFIG)
    context.dispatch(Received(now_ns=NOW, message=proposal(), stream="PROPOSALS", sequence=1))
    state = await RiskAdmin(app.core).GetState(risk_pb2.RiskStateRequest(), None)
    (verdict,) = state.verdicts
    assert (verdict.event_ticker, verdict.decision) == (proposal().event_ticker, "NO-GO")
    reasons = {one.reason for one in verdict.failed}
    assert {"heartbeat_stale", "readiness_no_go", "panic_backoff"} <= reasons
    assert not any(one.advisory for one in verdict.failed)


def test_the_latch_is_read_before_the_alerts_that_it_counts():
    """After a restart alerts from before the latch was lifted must not let it fall again."""
    (durable,) = [one for one in durables_of(Service.RISK) if one.stream == "STATUS"]
    places = {pattern: place for place, pattern in enumerate(durable.subjects)}
    assert places["status.panic"] < places["status.monitor.*.*"]
