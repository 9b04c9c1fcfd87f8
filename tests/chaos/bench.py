"""A real nats-server, a real simulated exchange and real broker processes, on loopback.

The harness speaks as risk (verdicts), as another participant (trades), as the operator (admin) and
reads as reporting. What the exchange truly did is in its own log.
"""

import asyncio
import itertools
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import aiohttp
import grpc
import msgspec
import yaml
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from cli.run_directory import free_ports
from lab.exchange.books import AccountBooks, read_books, read_requests
from libs.common.bus import BusError
from libs.common.clock import ClockSpec
from libs.common.messages import BadMessage, decode, encode
from libs.common.topology import Service, subject_of
from libs.kalshi.errors import KalshiError
from libs.kalshi.rest import KalshiClient
from libs.kalshi.transport import AiohttpTransport
from libs.kalshi.wire.orders import NewOrder
from proto import broker_pb2 as pb
from proto import broker_pb2_grpc
from services.broker.signing import Ed25519Signer
from tests.nats_fixture import NatsRig
from tests.services.broker.rig import EVENT, SERIES, TARGET_NS, S, verdict

ROOT = Path(__file__).resolve().parents[2]
KEY, TAKER = "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"
ACCOUNT = "alpha"
READY_S_MAX = 60.0
TICKERS = tuple(f"{EVENT}-T{level}9.9999" for level in range(674, 685))
TOKEN = "a-token-for-tests"


class Bench:
    """One exchange, one NATS, and brokers that are started and killed at will."""

    def __init__(self, directory, *, before_target_s=840.0, broker_changes=None, mutant=""):
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        self.spec = ClockSpec(
            rate=1.0,
            wall_anchor_ns=time.time_ns(),
            virtual_anchor_ns=TARGET_NS - round(before_target_s * S),
        )
        self.clock = self.spec.build()
        self.nats = NatsRig(directory / "nats")
        self.ports = free_ports(6)
        self.brokers = {}
        self.changes = broker_changes or {}
        self.mutant = mutant
        self.numbers = itertools.count(1)
        self.faults = Counter()
        self.engaged = []
        """When the kill switch was on: [from_ns, to_ns or None]."""
        self.acknowledged = []
        self.late = set()
        """Client order ids of requests that a stopped broker sent when it woke up."""
        self.clock_file = directory / "clock"
        self.exchange = None

    # Life

    async def __aenter__(self):
        self.nats.start()
        await self.nats.provision()
        self._write_keys()
        self._start_exchange()
        loop = asyncio.get_running_loop()
        line = await loop.run_in_executor(None, self.exchange.stdout.readline)
        assert b"ready" in line, line
        self.risk = await self.nats.connect(Service.RISK)
        self.reader = await self.nats.connect(Service.REPORTING)
        self.http = aiohttp.ClientSession(headers={"Authorization": f"Bearer {TOKEN}"})
        self.taker = KalshiClient(
            self.rest_url, AiohttpTransport(), self.clock, Ed25519Signer(TAKER, self._keys[TAKER])
        )
        return self

    async def __aexit__(self, *error):
        for process in self.brokers.values():
            with suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGCONT)
            process.kill()
            process.wait()
        for bus in (self.risk, self.reader):
            await bus.close()
        await self.http.close()
        await self.taker.close()
        self.exchange.terminate()
        self.exchange.wait(10)
        self.exchange.stdout.close()
        self.nats.kill()

    def _write_keys(self):
        keys = self.directory / "keys"
        keys.mkdir()
        self._keys = {name: ed25519.Ed25519PrivateKey.generate() for name in (KEY, TAKER)}
        for name, key in self._keys.items():
            (keys / f"{name}.pub.pem").write_bytes(
                key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
            )
        private = self.directory / "key.pem"
        private.touch(mode=0o600)
        private.write_bytes(
            self._keys[KEY].private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        )
        (self.directory / "token").write_text(TOKEN)
        (self.directory / "password").write_text(self.nats.passwords[Service.BROKER])
        self.clock_file.write_text("0")

    def _start_exchange(self):
        ladder = {
            "series": SERIES,
            "target_ns": TARGET_NS,
            "centre_e4": 68_000_000,
            "step_e4": 100_000,
            "rungs": 11,
        }
        config = self.directory / "exchange.yaml"
        values = {
            "keys_dir": str(self.directory / "keys"),
            "truth_path": str(self.truth_path),
            "port": self.ports[0],
            "admin_port": self.ports[1],
            "admin_token_file": str(self.directory / "token"),
            "clock": self._clock_values(),
            "ladders": [ladder],
            "accounts": {KEY: ACCOUNT, TAKER: "crowd"},
            "reads_per_s": 1_000.0,
        }
        config.write_text(yaml.safe_dump(values))
        self.exchange = subprocess.Popen(
            [sys.executable, "-m", "lab.exchange", "--config", str(config)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
        )

    def _clock_values(self):
        return {name: getattr(self.spec, name) for name in self.spec.__struct_fields__}

    @property
    def truth_path(self):
        return self.directory / "truth.jsonl"

    @property
    def rest_url(self):
        return f"http://127.0.0.1:{self.ports[0]}/trade-api/v2"

    # Brokers

    def start(self, number=0, *, point="", count=0, nats_url="", exchange_port=0, **changes):
        """Start a broker process, perhaps with a point at which it dies."""
        port = exchange_port or self.ports[0]
        values = {
            "service": "broker",
            "instance": f"broker-{number}",
            "nats_url": nats_url or self.nats.url,
            "nats_password_file": str(self.directory / "password"),
            "admin_token_file": str(self.directory / "token"),
            "exchange_rest_url": f"http://127.0.0.1:{port}/trade-api/v2",
            "exchange_ws_url": f"ws://127.0.0.1:{port}/trade-api/ws/v2",
            "key_id": KEY,
            "key_file": str(self.directory / "key.pem"),
            "account": ACCOUNT,
            "admin_port": self.ports[2 + number],
            "clock": self._clock_values(),
            **self.changes,
            **changes,
        }
        own = self.directory / f"broker-{number}.yaml"
        own.write_text(yaml.safe_dump(values))
        kept = {name: value for name, value in os.environ.items() if not name.startswith("CHAOS_")}
        environment = {
            **kept,
            "CHAOS_POINT": point,
            "CHAOS_COUNT": str(count),
            "CHAOS_CLOCK": str(self.clock_file),
            "CHAOS_MUTANT": self.mutant,
        }
        policy = ROOT / "configs" / "broker.yaml"
        command = [sys.executable, "-m", "tests.chaos.broker_process"]
        for config in (policy, own):
            command += ["--config", str(config)]
        with (self.directory / f"broker-{number}.log").open("ab") as log:
            process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)
        self.brokers[number] = process
        return process

    def kill(self, number=0):
        """SIGKILL a broker."""
        self.brokers[number].kill()
        self.brokers[number].wait()
        self.faults["SIGKILL"] += 1

    async def ended(self, number=0, seconds=20.0):
        """Return a broker's exit code once it ended; None if it did not in time."""
        until_s = time.monotonic() + seconds
        while time.monotonic() < until_s:
            if (code := self.brokers[number].poll()) is not None:
                return code
            await asyncio.sleep(0.01)
        return None

    async def ask(self, method, request, number=0, timeout_s=25.0):
        """Call the broker's admin."""
        address = f"127.0.0.1:{self.ports[2 + number]}"
        async with grpc.aio.insecure_channel(address) as channel:
            stub = broker_pb2_grpc.BrokerAdminStub(channel)
            metadata = (("authorization", f"Bearer {TOKEN}"),)
            return await getattr(stub, method)(request, metadata=metadata, timeout=timeout_s)

    async def ready(self, number=0, seconds=READY_S_MAX):
        """Return how long it took until a broker accepts verdicts."""
        began_s = time.monotonic()
        while time.monotonic() - began_s < seconds:
            with suppress(grpc.aio.AioRpcError):
                state = await self.ask("GetState", pb.GetStateRequest(), number, 2.0)
                if state.accepting_verdicts:
                    return time.monotonic() - began_s
            code = self.brokers[number].poll()
            assert code is None, f"broker {number} ended with {code} before it was ready"
            await asyncio.sleep(0.05)
        raise AssertionError(f"I8 broker {number} not ready within {seconds:.0f} s")

    async def release(self, number=0):
        await self.ask(
            "ReleaseKillSwitch", pb.KillSwitchRequest(reason="chaos", by="chaos"), number
        )
        if self.engaged:
            self.engaged[-1][1] = self.clock.now_ns()

    async def engage(self, number=0):
        self.engaged.append([self.clock.now_ns(), None])
        self.faults["kill switch"] += 1
        return await self.ask(
            "EngageKillSwitch", pb.KillSwitchRequest(reason="chaos", by="chaos"), number
        )

    async def calm(self, number=0, seconds=30.0):
        """Wait until the broker knows what became of every order; return how long it took."""
        began_s = time.monotonic()
        left = ["no answer"]
        while time.monotonic() - began_s < seconds:
            try:
                listed = await self.ask("ListOrders", pb.ListOrdersRequest(), number, 5.0)
            except grpc.aio.AioRpcError as error:
                left = [error.details()]
            else:
                doubtful = ("intent", "submitted", "unknown")
                left = [one for one in listed.orders if one.state in doubtful]
                if not left:
                    return time.monotonic() - began_s
            code = self.brokers[number].poll()
            assert code is None, f"broker {number} ended with {code} before all was resolved"
            await asyncio.sleep(0.1)
        raise AssertionError(f"I8 not resolved within {seconds:.0f} s: {left[:2]}")

    # Risk, other participants, the exchange

    async def give(self, *quotes, copies=1, **changes):
        """Publish a verdict as risk does; return it."""
        fields = {"provenance": "synthetic", "expires_at_ns": self.clock.now_ns() + 30 * S}
        message = verdict(f"{next(self.numbers)}", self.clock.now_ns(), quotes, **fields | changes)
        for copy in range(copies):
            await self._publish(message, f"{message.id}-{copy}")
        return message

    async def _publish(self, message, message_id):
        with suppress(BusError):
            data = encode(message)
            stored = self.risk.publish(subject_of(message), data, message_id=message_id)
            self.acknowledged.append((await stored, data))

    async def fault(self, *faults):
        """Ask the simulator for faults."""
        url = f"http://127.0.0.1:{self.ports[1]}/faults"
        async with self.http.post(url, json=list(faults)) as answer:
            assert answer.status == 201, await answer.text()

    async def lift(self):
        """Lift all of them, and count what was injected."""
        base = f"http://127.0.0.1:{self.ports[1]}"
        async with self.http.delete(f"{base}/faults"):
            pass
        async with self.http.get(f"{base}/state") as answer:
            injected = (await answer.json())["injected"]
        for kind, count in injected.items():
            self.faults[f"exchange {kind}"] = count

    async def trade(self, dice, count_e2=100):
        """Let another participant trade with one of our quotes; tell whether something rested."""
        resting = [one for one in self.books().orders.values() if one.ended_ns is None]
        if not resting:
            return False
        order = dice.choice(resting)
        line = self.order_lines()[order.order_id]
        request = NewOrder(
            ticker=order.ticker,
            client_order_id=f"taker-{next(self.numbers)}",
            side="ask" if line["side"] == "bid" else "bid",
            price_e4=line["price_e4"],
            count_e2=count_e2,
            time_in_force="immediate_or_cancel",
            post_only=False,
            expires_ns=None,
        )
        with suppress(KalshiError):
            await self.taker.create_order(request)
        return True

    # The truth and the log

    def books(self):
        """Return our account as the exchange has it."""
        return read_books(self.truth_path).get(ACCOUNT, AccountBooks(account=ACCOUNT))

    def order_lines(self):
        """Return the newest side and price of each of our orders, from the truth log."""
        found = {}
        with self.truth_path.open("rb") as file:
            for raw in file:
                if raw.endswith(b"\n") and (b'"order"' in raw or b'"amend"' in raw):
                    line = msgspec.json.decode(raw)
                    if line["kind"] in ("order", "amend") and line.get("account") == ACCOUNT:
                        found[line["order_id"]] = line
        return found

    def requests(self):
        """Return every write request of ours that the exchange got."""
        return [one for one in read_requests(self.truth_path) if one.key_id == KEY]

    def resting(self):
        return [one for one in self.books().orders.values() if one.ended_ns is None]

    async def log(self, stream):
        """Return a stream's messages, in order; what can't be read is left out."""
        found, after = [], 0
        while batch := await self.reader.read(stream, after, 1_000):
            for stored in batch:
                with suppress(BadMessage):
                    found.append(decode(stored.data))
            after = batch[-1].sequence
        return found

    async def until(self, true, what, seconds=15.0):
        """Wait until something holds; a violation of I8 when it does not in time."""
        until_s = time.monotonic() + seconds
        while not (found := true()):
            assert time.monotonic() < until_s, f"I8 waited {seconds:.0f} s for {what}"
            await asyncio.sleep(0.02)
        return found
