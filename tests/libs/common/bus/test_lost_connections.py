import asyncio
import json
from collections.abc import AsyncIterator
from functools import partial

import pytest

from libs.common.bus import Fence, FenceRefused, PublishUnknown
from libs.common.nats_bus import NatsBus
from libs.common.nats_connection import connect_client
from libs.common.topology import ORDERS_EPOCH, Service
from tests.libs.common.bus.buses import PATIENCE_S, Collector, Consuming, durable_of
from tests.libs.common.bus.cutting_proxy import CuttingProxy, cutting_proxy
from tests.nats_fixture import NatsRig

Pair = tuple[NatsBus, NatsBus, CuttingProxy]
RISK_ORDERS = durable_of(Service.RISK, "ORDERS")


@pytest.fixture
async def pair(fresh_nats: NatsRig) -> AsyncIterator[Pair]:
    """A broker behind a proxy, and a standby with a connection of its own."""
    assert fresh_nats.server is not None
    async with cutting_proxy(fresh_nats.server.port) as proxy:
        password = fresh_nats.passwords[Service.BROKER]
        broker = await NatsBus.connect(proxy.url, Service.BROKER, password)
        standby = await fresh_nats.connect(Service.BROKER)
        yield broker, standby, proxy
        await broker.close()
        await standby.close()


def contains(data: list[bytes], item: bytes) -> bool:
    return item in data


async def stored_count(bus: NatsBus, count: int) -> None:
    """Wait until ORDERS holds that many messages."""
    async with asyncio.timeout(PATIENCE_S):
        while len(await bus.read("ORDERS", after=0)) < count:
            await asyncio.sleep(0.01)


async def test_a_message_whose_answer_was_lost_is_stored_once(pair: Pair) -> None:
    broker, standby, proxy = pair
    proxy.mute = True
    sent = [broker.publish("orders.a.b", b"%d" % n, message_id=f"{n}") for n in range(5)]
    await stored_count(standby, 5)
    assert not any(future.done() for future in sent)
    proxy.cut()
    assert await asyncio.gather(*sent) == [1, 2, 3, 4, 5]
    assert len(await standby.read("ORDERS", after=0)) == 5


async def test_messages_that_were_lost_are_stored_in_order(pair: Pair) -> None:
    broker, standby, proxy = pair
    proxy.deaf = True
    sent = [broker.publish("orders.a.b", b"%d" % n, message_id=f"{n}") for n in range(5)]
    await standby.round_trip()
    proxy.cut()
    sent += [broker.publish("orders.a.b", b"%d" % n, message_id=f"{n}") for n in range(5, 10)]
    await asyncio.gather(*sent)
    stored = await standby.read("ORDERS", after=0)
    assert [message.data for message in stored] == [b"%d" % n for n in range(10)]


async def test_a_stored_intent_is_not_taken_for_refused_when_the_epoch_moved_since(
    pair: Pair,
) -> None:
    """The server looks at the fence before it looks for duplicates."""
    broker, standby, proxy = pair
    epoch = await broker.publish(ORDERS_EPOCH, b"1", message_id="epoch-1")
    proxy.mute = True
    intent = broker.publish(
        "orders.a.b", b"x", message_id="intent", fence=Fence(ORDERS_EPOCH, epoch)
    )
    await stored_count(standby, 2)
    await standby.publish(
        ORDERS_EPOCH, b"2", message_id="epoch-2", fence=Fence(ORDERS_EPOCH, epoch)
    )
    proxy.cut()
    assert await intent == 2


async def test_an_intent_that_was_lost_is_refused_when_the_epoch_moved_since(pair: Pair) -> None:
    broker, standby, proxy = pair
    epoch = await broker.publish(ORDERS_EPOCH, b"1", message_id="epoch-1")
    proxy.deaf = True
    intent = broker.publish(
        "orders.a.b", b"x", message_id="intent", fence=Fence(ORDERS_EPOCH, epoch)
    )
    await standby.publish(
        ORDERS_EPOCH, b"2", message_id="epoch-2", fence=Fence(ORDERS_EPOCH, epoch)
    )
    proxy.cut()
    with pytest.raises(FenceRefused):
        await intent
    assert [m.data for m in await standby.read("ORDERS", after=0)] == [b"1", b"2"]


async def test_taking_over_succeeds_though_its_answer_was_lost(pair: Pair) -> None:
    broker, standby, proxy = pair
    proxy.mute = True
    epoch = broker.publish(ORDERS_EPOCH, b"1", message_id="e", fence=Fence(ORDERS_EPOCH, 0))
    lease = asyncio.create_task(broker.put("lease", "broker", b"me", revision=0))
    async with asyncio.timeout(PATIENCE_S):
        while await standby.get("lease", "broker") is None:
            await asyncio.sleep(0.01)
    proxy.cut()
    assert (await epoch, await lease) == (1, 1)


async def test_without_an_answer_in_time_the_outcome_is_unknown_and_no_ghost_follows(
    fresh_nats: NatsRig,
) -> None:
    broker = await fresh_nats.connect(Service.BROKER, budget_s=0.3)
    fresh_nats.kill()
    sent = [broker.publish("orders.a.b", b"%d" % n, message_id=f"{n}") for n in range(3)]
    for future in sent:
        with pytest.raises(PublishUnknown, match="stored or not"):
            await future
    fresh_nats.start()
    await broker.round_trip()
    assert await broker.publish("orders.a.b", b"after", message_id="after") == 1
    await broker.close()


async def test_lost_deliveries_arrive_in_order_after_a_reconnect(
    fresh_nats: NatsRig,
) -> None:
    """Before the server delivers them again, which takes the acknowledgement wait."""
    assert fresh_nats.server is not None
    broker = await fresh_nats.connect(Service.BROKER)
    observer = await connect_client(
        fresh_nats.url, Service.PROVISION, fresh_nats.passwords[Service.PROVISION]
    )
    got = Collector()
    async with cutting_proxy(fresh_nats.server.port) as proxy:
        password = fresh_nats.passwords[Service.RISK]
        risk = await NatsBus.connect(proxy.url, Service.RISK, password)
        async with Consuming(risk, RISK_ORDERS, got):
            await broker.publish("orders.a.b", b"0", message_id="0")
            await got.until(lambda data: len(data) == 1)
            proxy.mute = True
            for n in range(1, 10):
                await broker.publish("orders.a.b", b"%d" % n, message_id=f"{n}")
            async with asyncio.timeout(PATIENCE_S):
                while True:
                    subject = f"$JS.API.CONSUMER.INFO.ORDERS.{RISK_ORDERS.name}"
                    info = json.loads((await observer.request(subject, timeout=5)).data)
                    if info["delivered"]["stream_seq"] == 10:
                        break
                    await asyncio.sleep(0.01)
            proxy.cut()
            await broker.publish("orders.a.b", b"10", message_id="10")
            data = await got.until(lambda data: len(data) >= 11)
            assert data == [b"%d" % n for n in range(11)]
        await risk.close()
    await observer.close()
    await broker.close()


async def test_nothing_acknowledged_is_lost_in_server_crashes(fresh_nats: NatsRig) -> None:
    """reliability.md, scenario 3: acknowledged = stored, no ghosts, all go on by themselves."""
    broker = await fresh_nats.connect(Service.BROKER)
    risk = await fresh_nats.connect(Service.RISK)
    got = Collector()
    sent: list[asyncio.Future[int]] = []

    def send(count: int) -> None:
        for _ in range(count):
            number = len(sent)
            sent.append(
                broker.publish(f"orders.a.{number % 5}", b"%d" % number, message_id=f"{number}")
            )

    async with Consuming(risk, RISK_ORDERS, got):
        for _ in range(4):
            start = len(sent)
            send(200)
            await sent[start + 60]
            fresh_nats.kill()  # with some acknowledged, some stored, some on their way
            send(50)
            await asyncio.sleep(0)
            fresh_nats.start()
        sequences = await asyncio.gather(*sent)
        everything = [b"%d" % number for number in range(len(sent))]
        assert await got.until(lambda data: len(data) >= len(sent)) == everything
    stored = await risk.read("ORDERS", after=0, limit=5_000)
    assert [message.data for message in stored] == everything
    assert sequences == [message.sequence for message in stored]
    assert not risk.fatal.done()
    await broker.close()
    await risk.close()


async def test_market_data_goes_on_after_crashes_though_some_of_it_is_lost(
    fresh_nats: NatsRig,
) -> None:
    """Streams that are written behind go back in a crash and give sequences a second time."""
    feeds = await fresh_nats.connect(Service.FEEDS)
    pricer = await fresh_nats.connect(Service.PRICER)
    got = Collector()
    async with Consuming(pricer, durable_of(Service.PRICER, "TICKS"), got):
        for crash in range(4):
            sent = [
                feeds.publish("ticks.index.SPX", b"%d" % n, message_id=f"{crash}-{n}")
                for n in range(400)
            ]
            await asyncio.gather(*sent)
            fresh_nats.kill()
            fresh_nats.start()
            last = b"after crash %d" % crash
            await feeds.publish("ticks.index.SPX", last, message_id=f"last-{crash}")
            assert (await got.until(partial(contains, item=last)))[-1] == last
    await feeds.close()
    await pricer.close()
