"""Giving up on a first connection: nothing of it may go on, or the process never ends."""

import asyncio
from typing import Any

import pytest
from nats.aio.client import Client

from libs.common.bus import BusUnavailable
from libs.common.nats_connection import connect_client
from libs.common.topology import Service

NOBODY = "nats://127.0.0.1:9"


class Forgetful(Client):
    """A client that forgets the first cancellation, as `wait_for` of 3.11 can make nats-py do."""

    def __init__(self) -> None:
        super().__init__()
        self.forgotten = 0

    async def connect(self, *words: Any, **options: Any) -> None:
        while True:
            try:
                await super().connect(*words, **options)
            except asyncio.CancelledError:
                if self.forgotten:
                    raise
                self.forgotten += 1


def others() -> set[asyncio.Task[Any]]:
    return asyncio.all_tasks() - {asyncio.current_task()}


async def test_no_server_and_a_forgotten_cancellation() -> None:
    client = Forgetful()
    with pytest.raises(BusUnavailable, match="expected a server within"):
        await connect_client(NOBODY, Service.RISK, "none", client=client, timeout_s=0.2)
    assert client.forgotten == 1
    assert others() == set()


async def test_who_is_cancelled_while_connecting_leaves_nothing_behind() -> None:
    client = Forgetful()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await connect_client(NOBODY, Service.RISK, "none", client=client)
    assert client.forgotten == 1
    assert others() == set()
