"""Any bytes on the exchange's ports get an answer in its shapes, and it goes on serving.

A long run is `python -m tests.lab.exchange.socket_fuzz --seconds 600`.
"""

import asyncio
import json
import random
from collections.abc import Iterator

import pytest
from aiohttp import web
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lab.exchange.http import ShapedServer
from tests.lab.exchange.socket_fuzz import ADMIN, Fuzz, fuzzing, read_answers

FEW = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture(scope="module")
def fuzz(
    loop: asyncio.AbstractEventLoop, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Fuzz]:
    """One exchange for all examples; it runs while an example does."""
    context = fuzzing(tmp_path_factory.mktemp("fuzz"))
    yield loop.run_until_complete(context.__aenter__())
    loop.run_until_complete(context.__aexit__(None, None, None))


@pytest.mark.parametrize("kind", ["http", ADMIN, "ws"])
@FEW
@given(seed=st.integers(0, 2**64))
def test_any_bytes(kind: str, seed: int, loop: asyncio.AbstractEventLoop, fuzz: Fuzz) -> None:
    async def run() -> None:
        await fuzz.one(kind, random.Random(seed))
        await fuzz.heal()

    loop.run_until_complete(run())


async def test_half_a_request_is_not_waited_for() -> None:
    async def handle(request: web.BaseRequest) -> web.Response:
        return web.Response(body=await request.read())

    runner = web.ServerRunner(ShapedServer(handle, lambda: "now", head_timeout_s=0.05))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        reader, writer = await asyncio.open_connection(*runner.addresses[0][:2])
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nok")
        assert (await reader.readuntil(b"ok")).startswith(b"HTTP/1.1 200")
        writer.write(b"GET / HTTP/1.1\r\nHos")
        [(status, body)] = read_answers(await asyncio.wait_for(reader.read(), 5))
        assert (status, json.loads(body)["details"]) == (400, "request headers: timed out")
        writer.close()
    finally:
        await runner.cleanup()
