"""Run a test once over the hub in memory and once over a server of its own."""

import time
from collections.abc import AsyncIterator

import pytest
from msgspec.structs import replace

from libs.common.bus import Bus
from libs.common.jetstream import NS_PER_S
from libs.common.memory_bus import MemoryHub
from libs.common.topology import STREAMS, Service, stream_named
from tests.libs.common.bus.buses import Connect
from tests.nats_fixture import NatsRig

AGE_S = 1
NOW_NS = 1_700_000_000_000_000_000


@pytest.fixture(params=["memory", "nats"])
def server(request: pytest.FixtureRequest) -> NatsRig | None:
    """A fresh server, None for the one in memory."""
    if request.param == "memory":
        return None
    rig: NatsRig = request.getfixturevalue("fresh_nats")
    return rig


@pytest.fixture
async def connect(server: NatsRig | None) -> AsyncIterator[Connect]:
    """Connect services to one fresh set of streams; closes them after the test."""
    buses: list[Bus] = []
    hub = MemoryHub(lambda: NOW_NS)

    async def connected(service: Service) -> Bus:
        buses.append(hub.bus(service) if server is None else await server.connect(service))
        return buses[-1]

    yield connected
    for bus in buses:
        await bus.close()


@pytest.fixture
async def fleeting(server: NatsRig | None) -> AsyncIterator[Bus]:
    """The broker's bus, with an ORDERS that keeps a message for one second."""
    if server is None:
        orders = replace(stream_named("ORDERS"), max_age_s=AGE_S, duplicate_window_s=AGE_S)
        others = (stream for stream in STREAMS if stream.name != orders.name)
        bus: Bus = MemoryHub(time.time_ns, (orders, *others)).bus(Service.BROKER)
    else:
        age_ns = AGE_S * NS_PER_S
        await server.change_stream("ORDERS", max_age=age_ns, duplicate_window=age_ns)
        bus = await server.connect(Service.BROKER)
    yield bus
    await bus.close()
