"""The broker as it runs, on an in-process bus, against the exchange simulator on a socket."""

import asyncio
import itertools
import time
from contextlib import asynccontextmanager, suppress

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from lab.exchange.app import serve
from lab.exchange.config import ExchangeConfig
from lab.exchange.ladders import LadderConfig
from lab.exchange.model import NewOrder
from libs.common.clock import ScaledClock
from libs.common.memory_bus import MemoryHub
from libs.common.messages import Fill, OrderIntent, OrderUpdate, decode, encode
from libs.common.runner import Runner
from libs.common.topology import Service, subject_of
from services.broker.app import BrokerApp
from services.broker.config import BrokerConfig
from services.broker.policy import Policy
from tests.services.broker.rig import SERIES, TARGET_NS, S, verdict

KEY_ID = "33333333-3333-4333-8333-333333333333"
PRIVATE_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
LADDER = LadderConfig(
    series=SERIES, target_ns=TARGET_NS, centre_e4=68_000_000, step_e4=100_000, rungs=11
)
OTHER = "other"


async def until(true, what, seconds=10.0):
    """Wait until something holds; fail with its name when it does not in time."""
    give_up_s = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < give_up_s, f"waited {seconds} s for {what}"
        await asyncio.sleep(0.01)
    return found


class Stack:
    """One account, one exchange, one hub, and a broker that can be started again and again."""

    def __init__(self, directory, before_target_s, rate):
        self.directory = directory
        directory.mkdir(exist_ok=True)
        self.clock = ScaledClock(time.time_ns(), TARGET_NS - round(before_target_s * S), rate)
        self.numbers = itertools.count(1)
        self.hub = MemoryHub(self.clock.now_ns)
        self.risk = self.hub.bus(Service.RISK)
        self.feeds = self.hub.bus(Service.FEEDS)
        self.server = None
        self.runner = None
        self.app = None
        self._running = None
        self.changes = {}
        self.exchange_changes = {}
        self.make_app = BrokerApp
        self.make_bus = self.hub.bus

    async def start_exchange(self):
        keys = self.directory / "keys"
        keys.mkdir()
        public = PRIVATE_KEY.public_key().public_bytes(
            Encoding.PEM, PublicFormat.SubjectPublicKeyInfo
        )
        (keys / f"{KEY_ID}.pub.pem").write_bytes(public)
        key_file = self.directory / "broker.pem"
        key_file.touch(mode=0o600)
        key_file.write_bytes(
            PRIVATE_KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        )
        (self.directory / "token").write_text("a-token-for-tests")
        values = {
            "keys_dir": str(keys),
            "truth_path": str(self.directory / "truth.jsonl"),
            "ladders": (LADDER,),
            "tier": "prestige",
            "reads_per_s": 10_000.0,
            "settlement_timer_s": 1.0,
        }
        config = ExchangeConfig(**values | self.exchange_changes)
        self.server = await serve(
            config, self.clock, settlement_level=lambda symbol, at_ns: 68_000_000
        )
        self.server.engine.open_account(OTHER, 10**12)

    def config(self):
        port = self.server.port
        values = {
            "service": "broker",
            "nats_url": "memory",
            "nats_password_file": "",
            "admin_token_file": str(self.directory / "token"),
            "log_level": "error",
            "exchange_rest_url": f"http://127.0.0.1:{port}/trade-api/v2",
            "exchange_ws_url": f"ws://127.0.0.1:{port}/trade-api/ws/v2",
            "key_id": KEY_ID,
            "key_file": str(self.directory / "broker.pem"),
            "poll_s": 0.2,
            "instance": "broker-a",
            "policy": Policy(settle_after_s=1.0, settle_every_s=1.0, verdict_age_s_max=60.0),
        }
        return BrokerConfig(**values | self.changes)

    async def start_broker(self, release=True):
        self.app = self.make_app(self.config())
        self.runner = Runner(self.app, self.make_bus(Service.BROKER), self.clock, self.app.config)
        self._running = asyncio.create_task(self.runner.run())
        await until(lambda: self.app.core.phase == "live" or self._running.done(), "READY")
        if self._running.done():
            self._running.result()
        if release:
            await self.app.switch.release("test", "test")

    async def stop_broker(self):
        self.runner.stop()
        await self._running

    async def crash_broker(self):
        """End the broker as a crash would, as far as one process can: no drain."""
        self.app.drain = _no_drain
        self._running.cancel()
        with suppress(asyncio.CancelledError):
            await self._running
        await self.app.exchange.client.close()
        fatal = self.runner.context.fatal
        assert not fatal.done() or fatal.exception(), "read, so that asyncio does not complain"

    async def ended(self):
        """Wait for the broker to end by itself and return what it raised."""
        done, _ = await asyncio.wait([self._running], timeout=20)
        assert done, "the broker did not end"
        return self._running.exception()

    def give(self, *quotes, **changes):
        """Publish a verdict as risk does."""
        fields = {"provenance": "synthetic"} | changes
        message = verdict(f"{next(self.numbers)}", self.clock.now_ns(), quotes, **fields)
        self.risk.publish(subject_of(message), encode(message), message_id=message.id)
        return message

    def trade(self, ticker, side, price_e4, count_e2):
        """Let another participant take."""
        order = NewOrder(ticker=ticker, side=side, price_e4=price_e4, count_e2=count_e2)
        return self.server.engine.place(OTHER, order, self.clock.now_ns())

    # The truth and the log

    def resting(self):
        return {
            (one.ticker, one.side): (one.price_e4, one.remaining_e2)
            for one in self.server.engine.resting(KEY_ID)
        }

    def log(self, stream, kind):
        messages = [decode(stored.data) for stored in self.hub.log(stream).after(0)]
        return [one for one in messages if isinstance(one, kind)]

    def states(self):
        return {one.client_order_id: one.state for one in self.log("ORDERS", OrderUpdate)}

    def intents(self, action):
        return [one for one in self.log("ORDERS", OrderIntent) if one.action == action]

    def fills(self):
        return self.log("FILLS", Fill)


async def _no_drain(context):
    del context


@asynccontextmanager
async def stack(directory, before_target_s=300.0, rate=1.0, **exchange_changes):
    """Run exchange and broker; end both, whatever happened."""
    running = Stack(directory, before_target_s, rate)
    running.exchange_changes = exchange_changes
    await running.start_exchange()
    try:
        yield running
    finally:
        if running._running is not None and not running._running.done():
            await running.crash_broker()
        await running.server.stop()
