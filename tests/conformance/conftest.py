import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.conformance.sdk import FLAVOURS, Sdk
from tests.conformance.simulator import KINDS, Simulator
from tests.shared_data import shared_file

CLIENTS = [f"{flavour}-{kind}" for flavour in FLAVOURS for kind in KINDS]


@pytest.fixture(scope="session")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    """Start one simulator for all: it follows the wall clock, and its crowd makes it busy."""
    shared_file("kalshi/openapi.yaml")
    directory = tmp_path_factory.mktemp("conformance") / "live"
    accounts = (*FLAVOURS, "other")
    simulator = Simulator(directory, accounts, "--seed", "7", "--tier", "prestige")
    yield simulator
    simulator.stop()


@pytest.fixture(params=CLIENTS)
async def sdk(request: pytest.FixtureRequest, live: Simulator) -> AsyncIterator[Sdk]:
    """Every flavour of the SDK with every kind of key, each with an account of its own."""
    flavour, _, kind = request.param.partition("-")
    client = Sdk(flavour, live.base, live.keys[flavour, kind])
    yield client
    await client.close()
    await asyncio.sleep(0)


@pytest.fixture
async def other(live: Simulator) -> AsyncIterator[Sdk]:
    """Another participant, to trade with."""
    client = Sdk("sync", live.base, live.keys["other", "ed25519"])
    yield client
    await client.close()
