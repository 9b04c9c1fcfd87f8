"""Stop everything without a running broker: `python -m services.broker.panic` (one shot).

`alpha kill-switch on` starts it when no broker serves. It engages the kill switch in KV, so that
no broker trades on, cancels all that rests on the account, and reads back until nothing does. It
takes no lease and no epoch: it only takes risk away, and whoever recovers later sees what it did
as cancels of the exchange. It prints JSON; exit code 0: engaged and confirmed. 1: not both.
"""

import argparse
import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from libs.common.bus import BusError
from libs.common.clock import NS_PER_S, Clock
from libs.common.config import ConfigError, load_config, read_secret
from libs.common.nats_bus import NatsBus
from libs.common.topology import Service
from libs.kalshi.errors import KalshiError
from libs.kalshi.rest import KalshiClient
from libs.kalshi.transport import AiohttpTransport, Timeouts
from services.broker.config import BrokerConfig
from services.broker.killswitch import engage_once
from services.broker.signing import KeyFileError, load_signer

STORE_TIMEOUT_S = 3.0
"""Then the cancel goes out without it: what rests costs money."""
READ_EVERY_S = 0.25
EXIT_UNCONFIRMED = 1
EXIT_USAGE = 2


async def panic(config: BrokerConfig, reason: str, by: str) -> dict[str, Any]:
    """Engage, cancel, read back; return what is known. Raises KeyFileError."""
    signer = load_signer(config.key_id, Path(config.key_file))
    clock = config.clock.build()
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    problem = await _engage(config, clock, reason, by)
    timeouts = Timeouts(connect_s=config.connect_timeout_s, total_s=config.answer_timeout_s)
    client = KalshiClient(config.exchange_rest_url, AiohttpTransport(timeouts), clock, signer)
    try:
        resting, detail = await _cancel_until_none(client, clock, config)
    finally:
        await client.close()
    return {
        "engaged": not problem,
        "confirmed_zero": resting == 0,
        "resting": resting,
        "elapsed_ms": (loop.time() - began_s) * 1_000,
        "detail": "; ".join(part for part in (problem, detail) if part),
    }


async def _engage(config: BrokerConfig, clock: Clock, reason: str, by: str) -> str:
    """Store the engagement; return why it is not stored, "" if it is."""
    try:
        async with asyncio.timeout(STORE_TIMEOUT_S):
            password = read_secret(config.nats_password_file, "nats_password_file")
            bus = await NatsBus.connect(config.nats_url, Service.BROKER, password)
            try:
                await engage_once(bus, clock, reason, by)
            finally:
                await bus.close()
    except (BusError, ConfigError, OSError, TimeoutError) as error:
        return f"the kill switch is NOT stored: {type(error).__name__} {error}".strip()
    return ""


async def _cancel_until_none(
    client: KalshiClient, clock: Clock, config: BrokerConfig
) -> tuple[int | None, str]:
    """Cancel all and read until nothing rests; return what the last read showed and why not.

    Reads lag behind writes, so a read counts only if it began `stale_read_s` after the last
    cancel was answered.
    """
    loop = asyncio.get_running_loop()
    until_s = loop.time() + config.confirm_s
    stale_ns = round(config.policy.stale_read_s * NS_PER_S)
    resting: int | None = None
    counts_from_ns, detail = 0, ""
    while loop.time() < until_s:
        try:
            if resting != 0 and config.mode != "dry":
                await client.cancel_all()
                counts_from_ns = clock.now_ns() + stale_ns
            began_ns = clock.now_ns()
            resting = len(await client.orders(status="resting"))
            detail = ""
            if resting == 0 and began_ns >= counts_from_ns:
                return 0, ""
        except KalshiError as error:
            detail, resting = str(error), None
        await asyncio.sleep(READ_EVERY_S)
    shown = "not known what rests" if resting is None else f"{resting} shown at rest"
    why = f"not confirmed within {config.confirm_s:.0f} s, {shown}"
    return resting or None, f"{why}: {detail}" if detail else why


def main() -> int:
    """Stop everything once; print what is known as JSON."""
    parser = argparse.ArgumentParser(prog="python -m services.broker.panic", description=__doc__)
    parser.add_argument("--config", action="append", required=True, help="the broker's own files")
    parser.add_argument("--reason", required=True)
    parser.add_argument("--by", required=True)
    options = parser.parse_args()
    try:
        config = load_config(options.config, BrokerConfig)
        result = asyncio.run(panic(config, options.reason, options.by))
    except (ConfigError, KeyFileError) as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_USAGE
    sys.stdout.write(json.dumps(result) + "\n")
    return 0 if result["engaged"] and result["confirmed_zero"] else EXIT_UNCONFIRMED


if __name__ == "__main__":
    sys.exit(main())
