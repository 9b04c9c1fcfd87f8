"""Call the services' gRPC admin endpoints with the run's token."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc

from cli.errors import OperatingError
from libs.common.config import read_secret

Metadata = tuple[tuple[str, str], ...]


class AdminError(OperatingError):
    """A service did not do what it was asked; one line that says which and why."""


@asynccontextmanager
async def admin_channel(port: int, host: str = "127.0.0.1") -> AsyncIterator[grpc.aio.Channel]:
    """Open a channel to a service on this machine."""
    async with grpc.aio.insecure_channel(f"{host}:{port}") as channel:
        yield channel


def authorization(token_file: Path) -> Metadata:
    """Return the metadata that shows the run's token."""
    return (("authorization", f"Bearer {read_secret(token_file, 'admin token')}"),)


async def call(method: Any, request: Any, metadata: Metadata, timeout_s: float) -> Any:
    """Call one method; raise `AdminError` with the service's own reason."""
    try:
        return await method(request, metadata=metadata, timeout=timeout_s)
    except grpc.aio.AioRpcError as error:
        refused = error.code() is grpc.StatusCode.UNAUTHENTICATED
        hint = "; secrets/admin.token of the run was changed after its start" if refused else ""
        raise AdminError(f"{error.code().name}: {error.details()}{hint}") from None
