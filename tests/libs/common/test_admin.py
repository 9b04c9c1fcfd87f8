"""The admin endpoint: health for every probe, all else for who has the token."""

from collections.abc import AsyncIterator

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from libs.common.admin import AdminServer, probe_health
from libs.common.config import ConfigError

TOKEN = "the-token-of-the-run"


@pytest.fixture
async def admin() -> AsyncIterator[AdminServer]:
    server = AdminServer("127.0.0.1", 0, TOKEN, ())
    await server.start()
    yield server
    await server.close()


async def services(server: AdminServer, *metadata: tuple[str, str]) -> list[str]:
    """Return what reflection lists."""
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        ask = reflection_pb2.ServerReflectionRequest(list_services="")
        call = stub.ServerReflectionInfo(iter([ask]), metadata=metadata, timeout=10)
        answers = [answer async for answer in call]
    return [one.name for answer in answers for one in answer.list_services_response.service]


async def test_health_is_open_and_follows_the_service(admin: AdminServer) -> None:
    address = f"127.0.0.1:{admin.port}"
    assert await probe_health(address) == "NOT_SERVING"
    await admin.set_serving(True)
    assert await probe_health(address) == "SERVING"
    await admin.set_serving(False)
    assert await probe_health(address) == "NOT_SERVING"


async def test_who_stands_by_says_so_until_it_serves(admin: AdminServer) -> None:
    address = f"127.0.0.1:{admin.port}"
    await admin.set_standby(True)
    assert await probe_health(address) == "STANDBY"
    await admin.set_serving(True)
    assert await probe_health(address) == "SERVING"
    await admin.set_serving(False)
    await admin.set_standby(False)
    assert await probe_health(address) == "NOT_SERVING"
    await admin.close()
    assert await probe_health(address) == "UNREACHABLE"


async def test_an_unknown_service_s_health_is_not_found(admin: AdminServer) -> None:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{admin.port}") as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.Check(health_pb2.HealthCheckRequest(service="nothing"), timeout=10)
    assert refused.value.code() is grpc.StatusCode.NOT_FOUND


async def test_reflection_shows_the_services_to_the_token(admin: AdminServer) -> None:
    names = await services(admin, ("authorization", f"Bearer {TOKEN}"))
    assert "grpc.health.v1.Health" in names


@pytest.mark.parametrize(
    "metadata",
    [(), (("authorization", TOKEN),), (("authorization", "Bearer x"),), (("authorization", ""),)],
)
async def test_without_the_token_reflection_is_refused(admin: AdminServer, metadata) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await services(admin, *metadata)
    assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
    assert TOKEN not in str(refused.value.details())


async def test_an_unknown_method_needs_the_token_too(admin: AdminServer) -> None:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{admin.port}") as channel:
        for token, code in (
            ("", grpc.StatusCode.UNAUTHENTICATED),
            (TOKEN, grpc.StatusCode.UNIMPLEMENTED),
        ):
            call = channel.unary_unary("/alpha.Nothing/Do", None, None)
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await call(b"", metadata=(("authorization", f"Bearer {token}"),), timeout=10)
            assert refused.value.code() is code


async def test_a_busy_port_is_one_line(admin: AdminServer) -> None:
    with pytest.raises(ConfigError) as refused:
        AdminServer("127.0.0.1", admin.port, TOKEN, ())
    text = str(refused.value)
    assert "\n" not in text
    assert f"admin_port: expected a free port, found 127.0.0.1:{admin.port} in use" in text


async def test_where_nobody_listens_is_unreachable(admin: AdminServer) -> None:
    address = f"127.0.0.1:{admin.port}"
    await admin.close()
    assert await probe_health(address, timeout_s=2.0) == "UNREACHABLE"
