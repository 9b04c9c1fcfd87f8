"""Run the exchange simulator: in a process of its own, or inside another program."""

import asyncio
import signal
from contextlib import suppress
from typing import TextIO

from lab.exchange.admin import LOOPBACK
from lab.exchange.config import ExchangeConfig
from lab.exchange.server import ExchangeServer, Flow
from lab.exchange.settling import SettlementLevel
from libs.common.clock import Clock


async def serve(
    config: ExchangeConfig,
    clock: Clock,
    *,
    flow: Flow | None = None,
    settlement_level: SettlementLevel | None = None,
) -> ExchangeServer:
    """Return a started exchange; the caller stops it.

    Raises ConfigError, KeysError, TruthLogError, or OSError when the port is taken.
    """
    server = ExchangeServer(config, clock, flow=flow, settlement_level=settlement_level)
    await server.start()
    return server


async def run(
    config: ExchangeConfig,
    clock: Clock,
    ready: TextIO,
    *,
    flow: Flow | None = None,
    settlement_level: SettlementLevel | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT, after one ready line with the URL, the admin's before it.

    Raises as `serve`.
    """
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    server = await serve(config, clock, flow=flow, settlement_level=settlement_level)
    try:
        admin = f"admin at http://{LOOPBACK}:{server.admin_port}, " if server.admin_port else ""
        host = f"[{config.host}]" if ":" in config.host else config.host
        ready.write(f"{admin}exchange ready at http://{host}:{server.port}/trade-api/v2\n")
        ready.flush()
        waits = [asyncio.create_task(stopping.wait()), asyncio.create_task(server.failed())]
        done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            if wait in done:
                wait.result()
            wait.cancel()
            with suppress(asyncio.CancelledError):
                await wait
    finally:
        await server.stop()
