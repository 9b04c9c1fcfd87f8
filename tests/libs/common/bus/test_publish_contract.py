import asyncio

import pytest

from libs.common.bus import (
    Bus,
    BusError,
    BusUnavailable,
    Fence,
    FenceRefused,
    PublishRefused,
    RevisionMismatch,
)
from libs.common.jetstream import MAX_PAYLOAD_BYTES
from libs.common.topology import KILL_SWITCH_KEY, ORDERS_EPOCH, SIGN_WEBSOCKET, Service
from tests.libs.common.bus.buses import Connect


async def test_messages_are_stored_in_call_order(connect: Connect) -> None:
    broker = await connect(Service.BROKER)
    futures = [
        broker.publish(f"orders.a.{n % 3}", b"%d" % n, message_id=f"id-{n}") for n in range(50)
    ]
    assert await asyncio.gather(*futures) == list(range(1, 51))
    stored = await broker.read("ORDERS", after=0)
    assert [message.data for message in stored] == [b"%d" % n for n in range(50)]
    assert stored[4].subject == "orders.a.1"


async def test_an_id_that_is_known_stores_nothing_new(connect: Connect) -> None:
    broker = await connect(Service.BROKER)
    first = await broker.publish("orders.a.b", b"first", message_id="same")
    again = await broker.publish("orders.a.b", b"second", message_id="same")
    assert (first, again) == (1, 1)
    assert [message.data for message in await broker.read("ORDERS", after=0)] == [b"first"]


async def test_a_writer_of_the_present_epoch_is_let_through(connect: Connect) -> None:
    broker = await connect(Service.BROKER)
    epoch = await broker.publish(
        ORDERS_EPOCH, b"1", message_id="epoch-1", fence=Fence(ORDERS_EPOCH, 0)
    )
    fence = Fence(ORDERS_EPOCH, epoch)
    assert await broker.publish("orders.a.b", b"x", message_id="i-1", fence=fence) == 2
    assert await broker.publish("orders.a.b", b"y", message_id="i-2", fence=fence) == 3


async def test_a_writer_of_an_old_epoch_is_refused(connect: Connect) -> None:
    broker = await connect(Service.BROKER)
    old = await broker.publish(ORDERS_EPOCH, b"1", message_id="epoch-1")
    await broker.publish(ORDERS_EPOCH, b"2", message_id="epoch-2", fence=Fence(ORDERS_EPOCH, old))
    late = broker.publish("orders.a.b", b"x", message_id="i", fence=Fence(ORDERS_EPOCH, old))
    with pytest.raises(FenceRefused, match=r"orders\.a\.b"):
        await late
    with pytest.raises(FenceRefused):
        await broker.publish(
            ORDERS_EPOCH, b"3", message_id="epoch-3", fence=Fence(ORDERS_EPOCH, old)
        )
    assert [message.data for message in await broker.read("ORDERS", after=0)] == [b"1", b"2"]


async def test_an_epoch_that_is_said_again_outlives_what_the_stream_keeps(fleeting: Bus) -> None:
    first = epoch = await fleeting.publish(ORDERS_EPOCH, b"1", message_id="epoch-1")
    while (await fleeting.read("ORDERS", after=0, limit=1))[0].sequence == first:
        fence = Fence(ORDERS_EPOCH, epoch)
        epoch = await fleeting.publish(ORDERS_EPOCH, b"1", message_id=f"{fence}", fence=fence)
        await asyncio.sleep(0.01)
    fence = Fence(ORDERS_EPOCH, epoch)
    assert await fleeting.publish("orders.a.b", b"x", message_id="i", fence=fence) > epoch
    old = Fence(ORDERS_EPOCH, first)
    with pytest.raises(FenceRefused):
        await fleeting.publish("orders.a.b", b"y", message_id="late", fence=old)


async def test_an_epoch_that_aged_out_lets_nobody_through(fleeting: Bus) -> None:
    """Neither its own writer nor, once there is a new one, whoever had it."""
    first = await fleeting.publish(ORDERS_EPOCH, b"1", message_id="epoch-1")
    while await fleeting.read("ORDERS", after=0):
        await asyncio.sleep(0.01)
    old = Fence(ORDERS_EPOCH, first)
    for subject in ("orders.a.b", ORDERS_EPOCH):
        with pytest.raises(FenceRefused):
            await fleeting.publish(subject, b"x", message_id=f"old {subject}", fence=old)
    empty = Fence(ORDERS_EPOCH, 0)
    assert await fleeting.publish(ORDERS_EPOCH, b"2", message_id="epoch-2", fence=empty) > first
    for late in (old, empty):
        with pytest.raises(FenceRefused):
            await fleeting.publish(ORDERS_EPOCH, b"3", message_id=f"late {late}", fence=late)


async def test_a_foreign_subject_is_refused_and_fatal(connect: Connect) -> None:
    pricer, broker = await connect(Service.PRICER), await connect(Service.BROKER)
    with pytest.raises(PublishRefused, match="pricer"):
        await pricer.publish("orders.a.b", b"forged", message_id="f")
    with pytest.raises(PublishRefused):
        await pricer.fatal
    assert await broker.read("ORDERS", after=0) == []


async def test_too_large_a_message_is_refused(connect: Connect) -> None:
    feeds = await connect(Service.FEEDS)
    with pytest.raises(PublishRefused, match="bytes"):
        await feeds.publish("ticks.clock", bytes(MAX_PAYLOAD_BYTES + 1), message_id="large")
    assert await feeds.publish("ticks.clock", b"fits", message_id="small") == 1


async def test_read_goes_on_where_told_and_stops_at_the_limit(connect: Connect) -> None:
    broker = await connect(Service.BROKER)
    for n in range(5):
        await broker.publish("orders.a.b", b"%d" % n, message_id=f"{n}")
    assert [m.sequence for m in await broker.read("ORDERS", after=2)] == [3, 4, 5]
    assert [m.sequence for m in await broker.read("ORDERS", after=0, limit=2)] == [1, 2]
    assert await broker.read("ORDERS", after=5) == []
    assert await broker.read("FILLS", after=0) == []


async def test_a_foreign_stream_cannot_be_read(connect: Connect) -> None:
    feeds = await connect(Service.FEEDS)
    with pytest.raises(BusError, match="ORDERS"):
        await feeds.read("ORDERS", after=0)


async def test_last_per_subject_gives_the_newest_of_each(connect: Connect) -> None:
    feeds, pricer = await connect(Service.FEEDS), await connect(Service.PRICER)
    for n, subject in enumerate(["market.a.x", "market.a.y", "market.a.x", "definition.a.x"]):
        await feeds.publish(f"ladders.{subject}", b"%d" % n, message_id=f"{n}")
    newest = await pricer.last_per_subject("LADDERS", "ladders.market.>")
    assert [(m.subject, m.sequence, m.data) for m in newest] == [
        ("ladders.market.a.y", 2, b"1"),
        ("ladders.market.a.x", 3, b"2"),
    ]
    assert await pricer.last_per_subject("LADDERS", "ladders.fair.>") == []


async def test_last_per_subject_of_more_subjects_than_one_answer_holds(connect: Connect) -> None:
    feeds, pricer = await connect(Service.FEEDS), await connect(Service.PRICER)
    sent = [feeds.publish(f"ticks.index.{n % 1_100}", b"x", message_id=f"{n}") for n in range(1200)]
    await asyncio.gather(*sent)
    newest = await pricer.last_per_subject("TICKS", "ticks.>")
    assert [message.sequence for message in newest] == list(range(101, 1_201))


async def test_a_key_is_written_by_compare_and_set(connect: Connect) -> None:
    broker, risk = await connect(Service.BROKER), await connect(Service.RISK)
    assert await risk.get("control", KILL_SWITCH_KEY) is None
    first = await broker.put("control", KILL_SWITCH_KEY, b"on", revision=0)
    found = await risk.get("control", KILL_SWITCH_KEY)
    assert found is not None
    assert (found.data, found.revision) == (b"on", first)
    with pytest.raises(RevisionMismatch, match="kill_switch"):
        await broker.put("control", KILL_SWITCH_KEY, b"again", revision=0)
    second = await broker.put("control", KILL_SWITCH_KEY, b"off", revision=first)
    with pytest.raises(RevisionMismatch):
        await broker.put("control", KILL_SWITCH_KEY, b"late", revision=first)
    found = await risk.get("control", KILL_SWITCH_KEY)
    assert found is not None
    assert (found.data, found.revision) == (b"off", second)


async def test_keys_of_a_bucket_do_not_disturb_each_other(connect: Connect) -> None:
    reporting, risk = await connect(Service.REPORTING), await connect(Service.RISK)
    first = await reporting.put("readiness", "INXU", b"1", revision=0)
    await reporting.put("readiness", "NASDAQ100U", b"2", revision=0)
    await reporting.put("readiness", "INXU", b"3", revision=first)
    found = await risk.get("readiness", "NASDAQ100U")
    assert found is not None
    assert found.data == b"2"


async def test_a_foreign_bucket_cannot_be_written(connect: Connect) -> None:
    risk = await connect(Service.RISK)
    with pytest.raises(PublishRefused, match="risk"):
        await risk.put("control", KILL_SWITCH_KEY, b"off", revision=0)


async def test_a_request_is_answered(connect: Connect) -> None:
    broker, feeds = await connect(Service.BROKER), await connect(Service.FEEDS)

    async def sign(question: bytes) -> bytes:
        return b"signed " + question

    await broker.serve(SIGN_WEBSOCKET, sign)
    answers = await asyncio.gather(
        *[feeds.request(SIGN_WEBSOCKET, b"%d" % n, timeout_s=10) for n in range(3)]
    )
    assert answers == [b"signed 0", b"signed 1", b"signed 2"]


async def test_a_request_that_nobody_answers_times_out(connect: Connect) -> None:
    feeds = await connect(Service.FEEDS)
    with pytest.raises(TimeoutError, match=r"sign\.websocket"):
        await feeds.request(SIGN_WEBSOCKET, b"?", timeout_s=0.2)


async def test_a_request_whose_answer_fails_times_out(connect: Connect) -> None:
    broker, feeds = await connect(Service.BROKER), await connect(Service.FEEDS)

    async def fail(_: bytes) -> bytes:
        raise ValueError("no key")

    await broker.serve(SIGN_WEBSOCKET, fail)
    with pytest.raises(TimeoutError):
        await feeds.request(SIGN_WEBSOCKET, b"?", timeout_s=0.2)
    assert not broker.fatal.done()


async def test_a_provisioned_bus_verifies_and_answers_pings(connect: Connect) -> None:
    for service in (Service.FEEDS, Service.RISK, Service.REPORTING):
        bus = await connect(service)
        await bus.verify()
        await bus.round_trip()


async def test_nothing_is_published_on_a_closed_bus(connect: Connect) -> None:
    feeds = await connect(Service.FEEDS)
    sent = feeds.publish("ticks.clock", b"last words", message_id="1")
    await feeds.close()
    assert await sent == 1
    with pytest.raises(BusUnavailable, match="closed"):
        feeds.publish("ticks.clock", b"ghost", message_id="2")
    with pytest.raises(TimeoutError):
        await feeds.round_trip()
