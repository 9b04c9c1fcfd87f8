"""What the hub in memory forgets, in virtual time."""

import pytest

from libs.common.bus import PublishRefused, RevisionMismatch
from libs.common.memory_bus import MemoryHub
from libs.common.topology import Service, Stream

S = 1_000_000_000


class VirtualTime:
    def __init__(self) -> None:
        self.now_ns = 1_700_000_000 * S

    def __call__(self) -> int:
        return self.now_ns


def small(*, refuse_when_full: bool) -> MemoryHub:
    stream = Stream(
        name="ORDERS",
        subjects=("orders.>",),
        durable_writes=True,
        max_age_s=60,
        max_bytes=60,
        duplicate_window_s=30,
        refuse_when_full=refuse_when_full,
    )
    return MemoryHub(VirtualTime(), (stream,))


async def test_a_duplicate_is_known_for_the_window_and_not_longer() -> None:
    time = VirtualTime()
    feeds = MemoryHub(time).bus(Service.FEEDS)
    assert await feeds.publish("ticks.clock", b"1", message_id="same") == 1
    time.now_ns += 120 * S
    assert await feeds.publish("ticks.clock", b"1", message_id="same") == 1
    time.now_ns += 1
    assert await feeds.publish("ticks.clock", b"1", message_id="same") == 2


async def test_old_messages_go() -> None:
    time = VirtualTime()
    hub = MemoryHub(time)
    feeds, pricer = hub.bus(Service.FEEDS), hub.bus(Service.PRICER)
    await feeds.publish("ticks.clock", b"old", message_id="1")
    time.now_ns += 2 * 86_400 * S + 1
    await feeds.publish("ticks.clock", b"new", message_id="2")
    assert [(m.sequence, m.data) for m in await pricer.read("TICKS", after=0)] == [(2, b"new")]


async def test_a_lease_ends_with_its_time() -> None:
    time = VirtualTime()
    hub = MemoryHub(time)
    broker, standby = hub.bus(Service.BROKER), hub.bus(Service.BROKER)
    held = await broker.put("lease", "broker", b"me", revision=0)
    time.now_ns += 9 * S
    with pytest.raises(RevisionMismatch):
        await standby.put("lease", "broker", b"standby", revision=0)
    held = await broker.put("lease", "broker", b"me", revision=held)
    time.now_ns += 10 * S
    assert await standby.get("lease", "broker") is None
    assert await standby.put("lease", "broker", b"standby", revision=0) > held
    with pytest.raises(RevisionMismatch):
        await broker.put("lease", "broker", b"me", revision=held)


async def test_a_full_stream_refuses_where_nothing_may_be_lost() -> None:
    broker = small(refuse_when_full=True).bus(Service.BROKER)
    for n in range(3):
        await broker.publish("orders.a.b", b"0123456789", message_id=f"{n}")
    with pytest.raises(PublishRefused, match="maximum bytes"):
        await broker.publish("orders.a.b", b"0123456789", message_id="3")
    assert [message.sequence for message in await broker.read("ORDERS", after=0)] == [1, 2, 3]


async def test_a_full_stream_drops_the_oldest_otherwise() -> None:
    broker = small(refuse_when_full=False).bus(Service.BROKER)
    for n in range(5):
        await broker.publish("orders.a.b", b"0123456789", message_id=f"{n}")
    assert [message.sequence for message in await broker.read("ORDERS", after=0)] == [3, 4, 5]
    assert [message.sequence for message in await broker.read("ORDERS", after=3)] == [4, 5]
