"""A provisioned NATS server for any test: fixture `nats` (one per test run, emptied per use).

`nats` is shared: use subjects and message ids of your own, or `fresh_nats` for a server that a
test may fill, kill and restart.
"""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from libs.common.jetstream import stream_config
from libs.common.nats_bus import NatsBus
from libs.common.nats_config import render_server
from libs.common.nats_connection import connect_client
from libs.common.nats_server import NatsServer, start_nats_server
from libs.common.provision import provision
from libs.common.topology import Service, stream_named


class NatsRig:
    """A server with a user per service; `kill` and `start` it as the test wants."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.passwords = {service: f"password-of-{service}" for service in Service}
        self.server: NatsServer | None = None
        self._port = 0

    @property
    def url(self) -> str:
        """Return where clients connect, the same after a restart."""
        return f"nats://127.0.0.1:{self._port}"

    def start(self) -> None:
        """Start the server, on the port it had before."""
        self.directory.mkdir(parents=True, exist_ok=True)
        config = self.directory / "nats.conf"
        ports = self.directory / "run"
        config.write_text(
            render_server(
                store_directory=self.directory / "store",
                ports_directory=ports,
                passwords=self.passwords,
                port=self._port,
            )
        )
        self.server = start_nats_server(config, ports)
        self._port = self.server.port

    def kill(self) -> None:
        """End the server as a crash would."""
        assert self.server is not None
        self.server.kill()

    def stop(self) -> None:
        """End the server in good order."""
        if self.server is not None:
            self.server.stop()

    async def provision(self) -> None:
        """Create streams, durables and buckets, or start with empty ones."""
        await provision(self.url, self.passwords[Service.PROVISION])

    async def change_stream(self, name: str, **changes: int) -> None:
        """Let a stream keep other than the topology says."""
        admin = await connect_client(self.url, Service.PROVISION, self.passwords[Service.PROVISION])
        body = json.dumps(stream_config(stream_named(name)) | changes).encode()
        answer = await admin.request(f"$JS.API.STREAM.UPDATE.{name}", body)
        await admin.close()
        assert "error" not in json.loads(answer.data)

    async def connect(self, service: Service, *, budget_s: float = 10.0) -> NatsBus:
        """Return a service's bus; the test closes it."""
        return await NatsBus.connect(self.url, service, self.passwords[service], budget_s=budget_s)


def _running(directory: Path) -> Iterator[NatsRig]:
    rig = NatsRig(directory)
    rig.start()
    try:
        asyncio.run(rig.provision())
        yield rig
    finally:
        rig.kill()  # nobody needs what it holds


@pytest.fixture(scope="session")
def nats(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsRig]:
    """A provisioned server that all tests of the run share."""
    yield from _running(tmp_path_factory.mktemp("nats"))


@pytest.fixture
def fresh_nats(tmp_path: Path) -> Iterator[NatsRig]:
    """A provisioned server of the test's own."""
    yield from _running(tmp_path / "nats")
