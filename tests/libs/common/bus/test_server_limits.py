"""Limits and losses that only a server has."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, cast

import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg

from libs.common.bus import BusMismatch, BusUnavailable, PublishRefused, PublishUnknown
from libs.common.nats_bus import NatsBus
from libs.common.nats_config import inbox_prefix
from libs.common.nats_connection import connect_client
from libs.common.nats_consumer import DurableConsumer
from libs.common.nats_publisher import IN_FLIGHT_MAX
from libs.common.nats_reader import DirectReader
from libs.common.topology import Service
from tests.libs.common.bus.buses import Collector, Consuming, durable_of
from tests.nats_fixture import NatsRig

RISK_ORDERS = durable_of(Service.RISK, "ORDERS")


@pytest.fixture
async def admin(fresh_nats: NatsRig) -> AsyncIterator[Client]:
    client = await connect_client(
        fresh_nats.url, Service.PROVISION, fresh_nats.passwords[Service.PROVISION]
    )
    yield client
    await client.close()


async def test_a_full_orders_stream_refuses_and_drops_nothing(
    fresh_nats: NatsRig,
) -> None:
    """reliability.md, scenario 12."""
    await fresh_nats.change_stream("ORDERS", max_bytes=2_000)
    broker = await fresh_nats.connect(Service.BROKER)
    sent = [broker.publish("orders.a.b", bytes(100), message_id=f"{n}") for n in range(30)]
    with pytest.raises(PublishRefused, match="maximum bytes"):
        await sent[-1]
    stored = await broker.read("ORDERS", after=0)
    assert [message.sequence for message in stored] == list(range(1, len(stored) + 1))
    assert not broker.fatal.done()
    await broker.close()


async def test_a_durable_that_is_deleted_ends_its_consume(
    fresh_nats: NatsRig, admin: Client
) -> None:
    broker = await fresh_nats.connect(Service.BROKER)
    risk = await fresh_nats.connect(Service.RISK)
    got = Collector()
    async with Consuming(risk, RISK_ORDERS, got) as task:
        await broker.publish("orders.a.b", b"x", message_id="1")
        await got.until(bool)
        await admin.request(f"$JS.API.CONSUMER.DELETE.ORDERS.{RISK_ORDERS.name}")
        with pytest.raises(BusMismatch, match="run provision"):
            await task
    with pytest.raises(BusMismatch, match="run provision"):
        await risk.consume(RISK_ORDERS, got)
    await broker.close()
    await risk.close()


class Deaf:
    """A connection on which the word of a consumer's deletion is lost, as in one that dies."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.lost = asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    async def subscribe(self, subject: str, cb: Callable[[Msg], Awaitable[None]]) -> Any:
        async def heard(message: Msg) -> None:
            if "Consumer Deleted" in (message.headers or {}).get("Description", ""):
                self.lost.set()
            else:
                await cb(message)

        return await self._client.subscribe(subject, cb=heard)


async def test_a_durable_that_is_deleted_unheard_ends_its_consume(
    fresh_nats: NatsRig, admin: Client
) -> None:
    password = fresh_nats.passwords[Service.RISK]
    client = await connect_client(fresh_nats.url, Service.RISK, password)
    deaf, inbox, got = Deaf(client), f"{inbox_prefix(Service.RISK)}.deaf", Collector()
    reader = DirectReader(client, f"{inbox}.read")
    await reader.start()
    consumer = DurableConsumer(cast(Client, deaf), f"{inbox}.pull", RISK_ORDERS, got, reader)
    broker = await fresh_nats.connect(Service.BROKER)
    running = asyncio.create_task(consumer.run())
    await broker.publish("orders.a.b", b"x", message_id="1")
    await got.until(bool)
    await admin.request(f"$JS.API.CONSUMER.DELETE.ORDERS.{RISK_ORDERS.name}")
    await deaf.lost.wait()
    consumer.on_reconnected()  # as after the connection that lost it
    with pytest.raises(BusMismatch, match="run provision"):
        await running
    await broker.close()
    await client.close()


# nats-py leaves the transport of a connection that broke while it reconnected to the collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_what_is_unacknowledged_is_bounded(fresh_nats: NatsRig) -> None:
    broker = await fresh_nats.connect(Service.BROKER, budget_s=1.0)
    fresh_nats.kill()
    sent = [broker.publish("orders.a.b", b"x", message_id=f"{n}") for n in range(IN_FLIGHT_MAX)]
    with pytest.raises(PublishRefused, match=str(IN_FLIGHT_MAX)):
        broker.publish("orders.a.b", b"x", message_id="one too many")
    with pytest.raises(PublishUnknown):
        await sent[-1]
    await broker.close()


async def test_no_server_is_told_in_one_line() -> None:
    with pytest.raises(BusUnavailable, match="expected a server within") as raised:
        await NatsBus.connect("nats://127.0.0.1:1", Service.RISK, "x", timeout_s=0.3)
    assert "\n" not in str(raised.value)
