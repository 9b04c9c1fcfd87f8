"""Run a test once over the hub in memory and once over a server of its own."""

from collections.abc import AsyncIterator

import pytest

from libs.common.bus import Bus
from libs.common.memory_bus import MemoryHub
from libs.common.topology import Service
from tests.libs.common.bus.buses import Connect
from tests.nats_fixture import NatsRig

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
