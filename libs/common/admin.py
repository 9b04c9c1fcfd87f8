"""The gRPC admin endpoint of a service: health, reflection, and what the service adds."""

import hmac
import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from libs.common.config import ConfigError

AddServicer = Callable[[grpc.aio.Server], str]
"""Register a servicer with a server and return the full name of its gRPC service."""

HEALTH = health.SERVICE_NAME
STANDBY = "standby"
"""The name under which health says that a process waits for another one's work."""
_TAKEN = (
    "admin_port: expected a free port, found {}:{} in use; "
    "stop what listens there or choose another"
)
_OPEN_METHODS = f"/{HEALTH}/"


class TokenInterceptor(grpc.aio.ServerInterceptor):  # type: ignore[type-arg]
    """Refuse every call but health without `authorization: Bearer <token>`."""

    def __init__(self, token: str) -> None:
        self._expected = f"Bearer {token}".encode()

        async def refuse(_: Any, context: grpc.aio.ServicerContext[Any, Any]) -> None:
            await context.abort(
                grpc.StatusCode.UNAUTHENTICATED,
                "expected the run's admin token in the metadata 'authorization: Bearer …'",
            )

        self._refuse = grpc.unary_unary_rpc_method_handler(refuse)

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        details: grpc.HandlerCallDetails,
    ) -> Any:
        """Let a call through, or answer it with UNAUTHENTICATED."""
        if details.method.startswith(_OPEN_METHODS):
            return await continuation(details)
        metadata = dict(details.invocation_metadata or ())
        given = metadata.get("authorization", "")
        given_bytes = given.encode() if isinstance(given, str) else given
        if hmac.compare_digest(given_bytes, self._expected):
            return await continuation(details)
        return self._refuse


class AdminServer:
    """A service's gRPC server; health is NOT_SERVING until `set_serving`."""

    def __init__(self, host: str, port: int, token: str, services: Sequence[AddServicer]) -> None:
        self._server = grpc.aio.server(
            interceptors=(TokenInterceptor(token),),
            options=(("grpc.so_reuseport", 0),),  # a second server on the port is an error
        )
        self._health = health.aio.HealthServicer()  # type: ignore[attr-defined]
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        _refuse_taken_port(host, port)
        names = [add(self._server) for add in services]
        reflection.enable_server_reflection((HEALTH, reflection.SERVICE_NAME, *names), self._server)
        try:
            self.port: int = self._server.add_insecure_port(f"{host}:{port}")
        except RuntimeError:
            raise ConfigError(_TAKEN.format(host, port)) from None

    async def start(self) -> None:
        """Listen, not yet serving."""
        await self.set_serving(False)
        await self.set_standby(False)
        await self._server.start()

    async def set_serving(self, serving: bool) -> None:
        """Tell health probes whether the service is READY."""
        await self._set("", serving)

    async def set_standby(self, standing_by: bool) -> None:
        """Tell health probes whether this process waits, well, to take over."""
        await self._set(STANDBY, standing_by)

    async def _set(self, name: str, true: bool) -> None:
        status = health_pb2.HealthCheckResponse.ServingStatus
        await self._health.set(name, status.SERVING if true else status.NOT_SERVING)

    async def close(self) -> None:
        """Stop listening; calls under way get a second to end."""
        await self._server.stop(grace=1)


def _refuse_taken_port(host: str, port: int) -> None:
    """Raise ConfigError when somebody listens there: gRPC adds a line of its own to it."""
    if port:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError:
                raise ConfigError(_TAKEN.format(host, port)) from None


async def probe_health(address: str, timeout_s: float = 2.0) -> str:
    """Return SERVING, STANDBY, NOT_SERVING, or UNREACHABLE for the service at `host:port`."""
    statuses = health_pb2.HealthCheckResponse.ServingStatus
    async with grpc.aio.insecure_channel(address) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        try:
            for name in ("", STANDBY):
                request = health_pb2.HealthCheckRequest(service=name)
                answer = await stub.Check(request, timeout=timeout_s)
                if answer.status == statuses.SERVING:
                    return "STANDBY" if name else "SERVING"
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.NOT_FOUND:
                return "UNREACHABLE"
    return "NOT_SERVING"
