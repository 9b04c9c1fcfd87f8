import asyncio
from collections.abc import Awaitable, Sequence

import pytest

from libs.common.bus import BusError, PublishUnknown, Stored
from libs.common.topology import Service
from tests.libs.common.bus.buses import Collector, Connect, Consuming, durable_of, never

RISK_ORDERS = durable_of(Service.RISK, "ORDERS")
RISK_LADDERS = durable_of(Service.RISK, "LADDERS")


async def test_messages_arrive_in_order_and_once(connect: Connect) -> None:
    broker, risk = await connect(Service.BROKER), await connect(Service.RISK)
    got = Collector()
    async with Consuming(risk, RISK_ORDERS, got):
        for n in range(1_500):
            broker.publish(f"orders.a.{n % 7}", b"%d" % n, message_id=f"{n}")
        data = await got.until(lambda data: len(data) >= 1_500)
    assert data == [b"%d" % n for n in range(1_500)]
    assert [m.sequence for m in got.messages] == list(range(1, 1_501))


async def test_only_the_subjects_of_the_durable_arrive(connect: Connect) -> None:
    feeds, pricer = await connect(Service.FEEDS), await connect(Service.PRICER)
    got = Collector()
    async with Consuming(pricer, durable_of(Service.PRICER, "TICKS"), got):
        await feeds.publish("ticks.clock", b"not for the pricer", message_id="1")
        await feeds.publish("ticks.index.SPX", b"tick", message_id="2")
        assert await got.until(bool) == [b"tick"]


async def test_what_was_not_acknowledged_comes_again(connect: Connect) -> None:
    broker, risk = await connect(Service.BROKER), await connect(Service.RISK)
    for n in range(3):
        await broker.publish("orders.a.b", b"%d" % n, message_id=f"{n}")
    first = Collector(never)
    async with Consuming(risk, RISK_ORDERS, first):
        await first.until(lambda data: len(data) == 3)
    await broker.publish("orders.a.b", b"3", message_id="3")
    second = Collector()
    async with Consuming(risk, RISK_ORDERS, second):
        assert await second.until(lambda data: len(data) == 4) == [b"0", b"1", b"2", b"3"]


async def test_a_batch_waits_for_what_its_handler_returned(connect: Connect) -> None:
    broker, risk = await connect(Service.BROKER), await connect(Service.RISK)
    await broker.publish("orders.a.b", b"0", message_id="0")
    stored: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    first = Collector(lambda: [stored])
    async with Consuming(risk, RISK_ORDERS, first):
        await first.until(lambda data: data == [b"0"])
        await broker.publish("orders.a.b", b"1", message_id="1")
        await first.until(lambda data: data == [b"0", b"1"])  # the next batch is not held up
    again = Collector()
    async with Consuming(risk, RISK_ORDERS, again):
        assert await again.until(lambda data: len(data) == 2) == [b"0", b"1"]


async def test_a_handler_may_publish_what_follows(connect: Connect) -> None:
    risk, broker = await connect(Service.RISK), await connect(Service.BROKER)
    pricer = await connect(Service.PRICER)
    verdicts = Collector()

    def decide(batch: Sequence[Stored]) -> Sequence[Awaitable[int]]:
        return [
            risk.publish("verdicts.a.b", b"on " + m.data, message_id=f"v{m.sequence}")
            for m in batch
        ]

    async with (
        Consuming(risk, durable_of(Service.RISK, "PROPOSALS"), decide),
        Consuming(broker, durable_of(Service.BROKER, "VERDICTS"), verdicts),
    ):
        await pricer.publish("proposals.a.b", b"quotes", message_id="p")
        assert await verdicts.until(bool) == [b"on quotes"]


async def test_a_failed_effect_ends_consume_and_is_delivered_again(connect: Connect) -> None:
    broker, risk = await connect(Service.BROKER), await connect(Service.RISK)
    await broker.publish("orders.a.b", b"0", message_id="0")
    failed: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    failed.set_exception(PublishUnknown("no answer"))
    with pytest.raises(PublishUnknown):
        await risk.consume(RISK_ORDERS, Collector(lambda: [failed]))
    again = Collector()
    async with Consuming(risk, RISK_ORDERS, again):
        assert await again.until(bool) == [b"0"]


async def test_a_failing_handler_ends_consume(connect: Connect) -> None:
    broker, risk = await connect(Service.BROKER), await connect(Service.RISK)
    await broker.publish("orders.a.b", b"0", message_id="0")

    def fail(_: Sequence[Stored]) -> Sequence[Awaitable[int]]:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await risk.consume(RISK_ORDERS, fail)


async def test_a_conflated_durable_starts_at_the_newest_of_each_subject(connect: Connect) -> None:
    feeds, risk = await connect(Service.FEEDS), await connect(Service.RISK)
    for n in range(40):
        await feeds.publish(f"ladders.market.a.{n % 2}", b"%d" % n, message_id=f"{n}")
    got = Collector()
    async with Consuming(risk, RISK_LADDERS, got):
        assert await got.until(lambda data: len(data) >= 2) == [b"38", b"39"]
        await feeds.publish("ladders.market.a.0", b"40", message_id="40")
        assert await got.until(lambda data: len(data) >= 3) == [b"38", b"39", b"40"]


async def test_a_conflated_batch_holds_each_subject_once_and_the_last_value_arrives(
    connect: Connect,
) -> None:
    feeds, risk = await connect(Service.FEEDS), await connect(Service.RISK)
    got = Collector()
    async with Consuming(risk, RISK_LADDERS, got):
        for n in range(3_000):
            feeds.publish(f"ladders.market.a.{n % 3}", b"%d" % n, message_id=f"{n}")
        await got.until(lambda data: {b"2997", b"2998", b"2999"} <= set(data))
    for batch in got.batches:
        assert len({message.subject for message in batch}) == len(batch)
    sequences = [message.sequence for message in got.messages]
    assert sequences == sorted(sequences)


async def test_a_conflated_durable_resumes_behind_what_it_acknowledged(connect: Connect) -> None:
    feeds, risk = await connect(Service.FEEDS), await connect(Service.RISK)
    await feeds.publish("ladders.market.a.x", b"old", message_id="1")
    first = Collector()
    async with Consuming(risk, RISK_LADDERS, first):
        await first.until(bool)
        await feeds.publish("ladders.market.a.y", b"seen", message_id="2")
        await first.until(lambda data: b"seen" in data)
        await risk.round_trip()  # the acknowledgement has gone out with it
    await feeds.publish("ladders.market.a.x", b"new", message_id="3")
    second = Collector()
    async with Consuming(risk, RISK_LADDERS, second):
        assert (await second.until(lambda data: b"new" in data))[-1] == b"new"
    assert b"old" not in second.data


async def test_consume_ends_when_the_bus_is_closed(connect: Connect) -> None:
    risk = await connect(Service.RISK)
    async with Consuming(risk, RISK_ORDERS, Collector()) as task:
        await risk.round_trip()
        await risk.close()
        async with asyncio.timeout(10):
            await task


async def test_a_foreign_durable_is_refused(connect: Connect) -> None:
    feeds = await connect(Service.FEEDS)
    with pytest.raises(BusError, match="risk-ORDERS"):
        await feeds.consume(RISK_ORDERS, Collector())


async def test_the_backlog_is_what_is_not_acknowledged(connect: Connect) -> None:
    broker, risk = await connect(Service.BROKER), await connect(Service.RISK)
    assert await risk.backlog(RISK_ORDERS) == 0
    before = await risk.stored_bytes("ORDERS")
    for n in range(3):
        await broker.publish("orders.a.b", b"%d" % n, message_id=f"{n}")
    assert await risk.backlog(RISK_ORDERS) == 3
    assert await risk.stored_bytes("ORDERS") > before
    done = Collector()
    async with Consuming(risk, RISK_ORDERS, done):
        await done.until(lambda data: len(data) == 3)
        async with asyncio.timeout(5):
            while await risk.backlog(RISK_ORDERS):
                await asyncio.sleep(0)
    await broker.publish("orders.a.b", b"3", message_id="3")
    delivered = Collector(never)
    async with Consuming(risk, RISK_ORDERS, delivered):
        await delivered.until(lambda data: data == [b"3"])
        assert await risk.backlog(RISK_ORDERS) == 1  # delivered is not done
