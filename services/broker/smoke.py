"""The read-only check before going live: `python -m services.broker.smoke` (`alpha live-smoke`).

It lives here because the broker alone signs. Its transport lets nothing but GET out; beside that
it opens one WebSocket and subscribes to our own orders. It prints JSON; exit code 0 all well, 1
something failed, 2 arguments or key that can't be used.
"""

import argparse
import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from libs.common.clock import Clock, ClockSpec
from libs.domain.calendar import CalendarError
from libs.domain.families import HOURLY_SERIES
from libs.domain.windows import WindowError
from libs.kalshi.caller import Repeats
from libs.kalshi.errors import KalshiError, RefusedError
from libs.kalshi.rest import KalshiClient
from libs.kalshi.signing import WEBSOCKET_METHOD, WEBSOCKET_PATH, Signer
from libs.kalshi.transport import AiohttpTransport, ReadOnlyTransport
from libs.kalshi.wire.market import Event
from libs.kalshi.ws import KalshiStream
from libs.kalshi.ws_events import StreamError, StreamEvent, Subscribed
from libs.kalshi.ws_session import StreamSession
from services.broker import smoke_checks as checks
from services.broker.signing import KeyFileError, load_signer
from services.broker.smoke_checks import Check

CHANNEL = "user_orders"
SOCKET_TIMEOUT_S = 8.0
SOCKET_POLL_S = 0.05
REPEATS = Repeats(tries_max=4, wait_first_s=0.5, wait_max_s=2.0)
"""Some tiers may read the balance once a second; whoever looks twice waits for it."""
EXIT_FAILED = 1
EXIT_USAGE = 2


async def run_checks(rest_url: str, ws_url: str, signer: Signer, clock: Clock) -> dict[str, Any]:
    """Look at everything once and return what was found; an error is a check that failed."""
    transport = ReadOnlyTransport(AiohttpTransport())
    client = KalshiClient(rest_url, transport, clock, signer, repeats=REPEATS)
    try:
        found = [await check(client, clock) for check in _READS]
    finally:
        await client.close()
    clock_check = checks.clock_check(client.last_skew_ns, client.last_skew_uncertainty_ns)
    found += [clock_check, await _socket(ws_url, signer, clock, client)]
    found = checks.without_repeats(found)
    return {
        "well": all(check.state != "failed" for check in found),
        "rest_url": rest_url,
        "ws_url": ws_url,
        "roll": checks.roll_line(clock.now_ns()),
        "checks": [{"check": one.name, "state": one.state, "found": one.found} for one in found],
    }


_Read = Callable[[KalshiClient, Clock], Awaitable[Check]]


def _reading(name: str, read: Callable[[KalshiClient, Clock], Awaitable[Check]]) -> _Read:
    async def check(client: KalshiClient, clock: Clock) -> Check:
        try:
            return await read(client, clock)
        except KalshiError as error:
            return checks.failed_read(name, error)

    return check


async def _status(client: KalshiClient, _: Clock) -> Check:
    return checks.status_check(await client.exchange_status())


async def _schedule(client: KalshiClient, clock: Clock) -> Check:
    return checks.schedule_check(await client.schedule(), clock.now_ns())


async def _auth(client: KalshiClient, _: Clock) -> Check:
    await client.positions()
    return Check("auth", "ok", "the exchange takes our signature")


async def _limits(client: KalshiClient, _: Clock) -> Check:
    return checks.limits_check(await client.account_limits())


async def _balance(client: KalshiClient, _: Clock) -> Check:
    return checks.balance_check(await client.balance())


async def _orders(client: KalshiClient, _: Clock) -> Check:
    return checks.orders_check(await client.orders(status="resting"))


def _event_of(series: str) -> _Read:
    async def read(client: KalshiClient, clock: Clock) -> Check:
        now_ns = clock.now_ns()
        event: Event | None = None
        try:
            event = await client.event(checks.next_target(series, now_ns).event_ticker)
        except RefusedError as refused:
            if refused.status != 404:
                raise
        except (WindowError, CalendarError):
            pass  # the check says so in its own words
        return checks.event_check(series, now_ns, event)

    return read


_READS: tuple[_Read, ...] = (
    _reading("exchange status", _status),
    _reading("exchange schedule", _schedule),
    _reading("auth", _auth),
    _reading("account limits", _limits),
    _reading("balance", _balance),
    _reading("outstanding orders", _orders),
    *(_reading(f"event {series}", _event_of(series)) for series in HOURLY_SERIES),
)


async def _socket(ws_url: str, signer: Signer, clock: Clock, client: KalshiClient) -> Check:
    """Shake hands and subscribe to our own orders, once; at the time the exchange goes by."""
    heard: list[StreamEvent] = []

    async def headers() -> dict[str, str]:
        return signer.sign(client.signing_ms, WEBSOCKET_METHOD, WEBSOCKET_PATH)

    async def hear(events: list[StreamEvent], _: int) -> None:
        heard.extend(event for event in events if isinstance(event, Subscribed | StreamError))

    session = StreamSession(ws_url, KalshiStream(), headers, hear, clock)
    await session.want(CHANNEL)
    running = asyncio.create_task(session.run(), name="socket")
    try:
        async with asyncio.timeout(SOCKET_TIMEOUT_S):
            while not (heard or session.last_failure or running.done()):
                await asyncio.sleep(SOCKET_POLL_S)
    except TimeoutError:
        pass
    finally:
        running.cancel()
        ended = await asyncio.gather(running, return_exceptions=True)
    if heard and isinstance(heard[0], Subscribed):
        return Check("websocket", "ok", f"subscribed to {CHANNEL}")
    if heard and isinstance(heard[0], StreamError):
        return Check("websocket", "failed", f"refused: {heard[0].code} {heard[0].message}")
    why = session.last_failure or (str(ended[0]) if isinstance(ended[0], Exception) else "")
    return Check("websocket", "failed", why or f"no answer within {SOCKET_TIMEOUT_S:.0f} s")


def main() -> int:
    """Check once; print the result as JSON."""
    parser = argparse.ArgumentParser(prog="python -m services.broker.smoke", description=__doc__)
    for name in ("--rest-url", "--ws-url", "--key-id", "--key-file"):
        parser.add_argument(name, required=True)
    options = parser.parse_args()
    try:
        signer = load_signer(options.key_id, Path(options.key_file))
        result = asyncio.run(
            run_checks(options.rest_url, options.ws_url, signer, ClockSpec().build())
        )
    except (KeyFileError, ValueError) as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_USAGE
    sys.stdout.write(json.dumps(result) + "\n")
    return 0 if result["well"] else EXIT_FAILED


if __name__ == "__main__":
    sys.exit(main())
