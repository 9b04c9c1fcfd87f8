"""A simulated exchange on the wall clock whose every request is recorded on the way in."""

import asyncio
import contextlib
import re
import time
from collections.abc import AsyncIterator
from pathlib import Path

from cli.keys import write_exchange_key
from cli.run_directory import RunDirectory
from lab.exchange.app import serve
from lab.exchange.config import ExchangeConfig
from lab.exchange.ladders import LadderConfig
from lab.exchange.model import NewOrder, Placed
from lab.exchange.server import ExchangeServer
from libs.common.clock import Clock, SystemClock
from libs.common.topology import Service
from libs.domain.windows import next_index_target
from tests.nats_fixture import NatsRig

KEY_ID = "00000000-0000-4000-8000-000000000001"
REQUEST = re.compile(rb"^([A-Z]+) (/\S*) HTTP/1\.1\r$", re.MULTILINE)
HOUR_NS = 3_600_000_000_000


class RecordedExchange:
    """An exchange behind a recorder: `requests` is all that any client ever asked of it."""

    def __init__(self, root: Path) -> None:
        self.run = RunDirectory.create(root)
        self.key_file = self.run.secrets / "exchange-key.pem"
        write_exchange_key(self.run, KEY_ID, self.key_file)
        self.server: ExchangeServer
        self.port = 0
        self._heard: list[bytearray] = []
        self._links: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def rest_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/trade-api/v2"

    @property
    def ws_url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/trade-api/ws/v2"

    @property
    def words(self) -> list[str]:
        """Options that name this exchange and its key."""
        words = ["--rest-url", self.rest_url, "--ws-url", self.ws_url]
        return [*words, "--key-id", KEY_ID, "--key-file", str(self.key_file)]

    def broker_config(self, nats: NatsRig, **changes: object) -> Path:
        """Write a broker's own configuration for this exchange and a bus."""
        password = self.run.write_secret("broker.password", nats.passwords[Service.BROKER])
        values = {
            "service": "broker",
            "nats_url": nats.url,
            "nats_password_file": str(password),
            "admin_token_file": str(self.run.token("admin.token")),
            "exchange_rest_url": self.rest_url,
            "exchange_ws_url": self.ws_url,
            "key_id": KEY_ID,
            "key_file": str(self.key_file),
        }
        return self.run.write_config("broker", values | changes)

    @property
    def requests(self) -> list[tuple[str, str]]:
        """Method and path of every request so far, the query cut off."""
        return [
            (method.decode(), path.partition(b"?")[0].decode())
            for heard in self._heard
            for method, path in REQUEST.findall(bytes(heard))
        ]

    async def start(self, clock: Clock) -> None:
        now_ns = clock.now_ns()
        target_ns = next_index_target("INXU", now_ns)
        ladders = tuple(
            LadderConfig(
                series=series,
                target_ns=target_ns,
                centre_e4=centre_e4,
                step_e4=100_000,
                rungs=5,
                open_ns=now_ns - HOUR_NS,
            )
            for series, centre_e4 in (("KXINXU", 68_000_000), ("KXNASDAQ100U", 250_000_000))
        )
        config = ExchangeConfig(
            keys_dir=str(self.run.public_keys),
            truth_path=str(self.run.truth_log),
            ladders=ladders,
        )
        self.server = await serve(config, clock)
        listener = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self._listener = listener
        self.port = listener.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        self._listener.close()
        for link in self._links:
            link.transport.abort()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.server.stop()

    def rest(self, count: int, account: str = KEY_ID) -> list[str]:
        """Put orders at rest on an account; return their ids."""
        engine = self.server.engine
        if account != KEY_ID:
            engine.open_account(account, 10**9)
        tickers = [ticker for ticker in engine.state.markets if ticker.startswith("KXINXU")]
        orders = []
        for number in range(count):
            order = NewOrder(
                ticker=tickers[number % len(tickers)], side="bid", price_e4=100, count_e2=100
            )
            placed = engine.place(account, order, time.time_ns())
            assert isinstance(placed, Placed), placed
            orders.append(placed.order_id)
        return orders

    def resting(self) -> list[str]:
        """Return the ids of what rests on the key's account."""
        return [order.order_id for order in self.server.engine.resting(KEY_ID)]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        heard = bytearray()
        self._heard.append(heard)
        there, back = await asyncio.open_connection("127.0.0.1", self.server.port)
        self._links |= {writer, back}

        async def pump(
            source: asyncio.StreamReader, sink: asyncio.StreamWriter, keep: bytearray | None
        ) -> None:
            with contextlib.suppress(OSError, asyncio.CancelledError):
                while data := await source.read(65_536):
                    if keep is not None:
                        keep += data
                    sink.write(data)
                    await sink.drain()
            sink.transport.abort()

        await asyncio.gather(pump(reader, back, heard), pump(there, writer, None))


@contextlib.asynccontextmanager
async def recorded_exchange(
    root: Path, clock: Clock | None = None
) -> AsyncIterator[RecordedExchange]:
    """Run an exchange for the time of a test."""
    exchange = RecordedExchange(root)
    await exchange.start(clock or SystemClock())
    try:
        yield exchange
    finally:
        await exchange.stop()
