"""Connect a nats-py client the one right way; jetstream.md has the reasons."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

import nats.errors
from nats.aio.client import Client

from libs.common.bus import BusUnavailable
from libs.common.nats_config import inbox_prefix
from libs.common.topology import Service

CONNECT_TIMEOUT_S = 5.0
PING_INTERVAL_S = 3
PINGS_OUTSTANDING_MAX = 2
RECONNECT_WAIT_S = 0.25
CANCELLATIONS_MAX = 20
CANCELLATION_WAIT_S = 0.1

_log = logging.getLogger(__name__)

ErrorHandler = Callable[[Exception], None]
Hook = Callable[[], None]


async def connect_client(
    url: str,
    service: Service,
    password: str,
    *,
    client: Client | None = None,
    on_error: ErrorHandler | None = None,
    on_disconnected: Hook | None = None,
    on_reconnected: Hook | None = None,
    on_closed: Hook | None = None,
    timeout_s: float = CONNECT_TIMEOUT_S,
) -> Client:
    """Return a connected client that never stops trying to reconnect.

    The first connection is bounded: raise BusUnavailable when there is no server within
    `timeout_s`, at once when it refuses the user.
    """
    client = client or Client()
    refused: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    last: list[Exception] = []

    async def error_cb(error: Exception) -> None:
        last[:] = [error]
        if is_refusal(error) and not refused.done():
            refused.set_result(None)
        if on_error is not None and connecting.done():  # until then the outcome says it once
            on_error(error)

    connecting = asyncio.ensure_future(
        client.connect(
            servers=url.split(","),
            user=service,
            password=password,
            name=service,
            inbox_prefix=inbox_prefix(service),
            pending_size=0,  # a publish while disconnected fails at once: no ghosts later
            max_reconnect_attempts=-1,
            reconnect_time_wait=RECONNECT_WAIT_S,  # type: ignore[arg-type]
            connect_timeout=2,
            ping_interval=PING_INTERVAL_S,
            max_outstanding_pings=PINGS_OUTSTANDING_MAX,
            error_cb=error_cb,
            disconnected_cb=_hook(on_disconnected),
            reconnected_cb=_hook(on_reconnected),
            closed_cb=_hook(on_closed),
            skip_subject_validation=True,  # our subjects come from the topology
        )
    )
    try:
        await asyncio.wait((connecting, refused), timeout=timeout_s, return_when="FIRST_COMPLETED")
        if connecting.done() and connecting.exception() is None:
            return client
    except asyncio.CancelledError:
        await _abandon(connecting, client)
        raise
    await _abandon(connecting, client)
    if refused.done():
        raise BusUnavailable(
            f"NATS at {url}: expected it to accept user {service.value!r}, it refused the name or"
            " password; use the passwords that the server was started with"
        )
    reason = last[0] if last else "no answer"
    raise BusUnavailable(
        f"NATS at {url}: expected a server within {timeout_s:g} s, got {reason};"
        " start it, or mend nats_url"
    )


async def _abandon(connecting: asyncio.Future[None], client: Client) -> None:
    """End an attempt to connect, and with it all that could keep the process from ending.

    nats-py waits with `wait_for`, which on 3.11 forgets a cancellation that comes together with
    a refused connection; its loop then tries on for ever. Hence more than one cancellation.
    """
    for _ in range(CANCELLATIONS_MAX):
        connecting.cancel()
        done, _pending = await asyncio.wait((connecting,), timeout=CANCELLATION_WAIT_S)
        if done:
            break
    if connecting.done() and not connecting.cancelled():
        connecting.exception()  # seen: the outcome is told by who asked
    await client.close()


def is_refusal(error: Exception) -> bool:
    """Say whether the server refused the user's name or password."""
    return isinstance(error, nats.errors.AuthorizationError) or (
        "authorization violation" in str(error).lower()
    )


def _hook(hook: Hook | None) -> Callable[[], Awaitable[None]]:
    async def call() -> None:
        if hook is not None:
            hook()

    return call
