"""Order requests a second that the simulated exchange serves on one core.

    python tests/bench/bench_exchange.py [--json OUT] [--requests 12000]

The server is a process of its own, pinned to one processor, this generator to another. Creates,
amends and cancels in turn, over kept connections, by eight members (four RSA, four Ed25519 keys).
Every request is signed, and signed ahead: an RSA signature costs the generator more than the
server's whole work. Aim (issue 3): 2,000 order requests a second.

`requests_per_s` is what came back in the time that passed; `server_cpu_us` is what the server's
own processor time says, which neighbours on a busy machine change less.
"""

import asyncio
import base64
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import msgspec
import psutil
import yaml
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from lab.exchange.ladders import LadderConfig, build_ladder  # noqa: E402
from libs.domain.tickers import parse_event_ticker  # noqa: E402
from tests.bench.command import parser_of, show  # noqa: E402

ORDERS = "/trade-api/v2/portfolio/events/orders"
LADDER = LadderConfig(
    series="KXINXU",
    target_ns=parse_event_ticker("KXINXU-26OCT02H1100").target_ns,
    centre_e4=78_700_000,
    step_e4=100_000,
    rungs=40,
)
TICKERS = [market.ticker for market in build_ladder(LADDER).markets]
MEMBERS_BY_KIND = 4
CONNECTIONS_BY_MEMBER = 4
CREATE, AMEND, CANCEL = "create", "amend", "cancel"

PrivateKey = rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey


class Member:
    """One API key with its account, and the requests that it has ready."""

    def __init__(self, number: int, key: PrivateKey) -> None:
        self.key_id = f"{number:08d}-0000-4000-8000-000000000000"
        self.key = key
        self.orders: list[tuple[str, str]] = []
        self.ready: list[bytes] = []

    def request(self, method: str, path: str, body: dict[str, Any] | None) -> bytes:
        """Return the bytes of one signed request."""
        now_ms = time.time_ns() // 1_000_000
        message = f"{now_ms}{method}{path}".encode()
        content = b"" if body is None else json.dumps(body).encode()
        if isinstance(self.key, rsa.RSAPrivateKey):
            pss = padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=32)
            signature = self.key.sign(message, pss, hashes.SHA256())
        else:
            signature = self.key.sign(message)
        head = (
            f"{method} {path} HTTP/1.1\r\nHost: bench\r\nAccept: */*\r\n"
            f"KALSHI-ACCESS-KEY: {self.key_id}\r\nKALSHI-ACCESS-TIMESTAMP: {now_ms}\r\n"
            f"KALSHI-ACCESS-SIGNATURE: {base64.b64encode(signature).decode()}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
        )
        return head.encode() + content

    def create(self, number: int) -> bytes:
        """Return a create request; prices keep members from trading with each other."""
        body = {
            "ticker": _ticker(number),
            "side": "bid",
            "count": "1.00",
            "price": f"0.{10 + number % 30}00",
            "time_in_force": "good_till_canceled",
            "self_trade_prevention_type": "taker_at_cross",
            "client_order_id": f"{self.key_id}-{number}",
            "post_only": True,
            "exchange_index": 0,
        }
        return self.request("POST", ORDERS, body)

    def amend(self, order_id: str, ticker: str, number: int) -> bytes:
        """Return an amend request to another price."""
        price = f"0.{40 + number % 30}00"
        body = {"ticker": ticker, "side": "bid", "price": price, "count": "2.00"}
        return self.request("POST", f"{ORDERS}/{order_id}/amend", body)

    def cancel(self, order_id: str) -> bytes:
        """Return a cancel request."""
        return self.request("DELETE", f"{ORDERS}/{order_id}", None)


class Connection:
    """A kept connection with one request at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, port: int) -> "Connection":
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def call(self, request: bytes) -> tuple[int, bytes]:
        """Send a request and return its status and body."""
        self._writer.write(request)
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = head.lower().partition(b"content-length: ")[2].partition(b"\r")[0]
        body = await self._reader.readexactly(int(length)) if length else b""
        return int(head[9:12]), body

    def close(self) -> None:
        self._writer.close()


def _ticker(number: int) -> str:
    return TICKERS[number % len(TICKERS)]


def make_members(keys: Path) -> list[Member]:
    """Make keys of both kinds and write the public ones for the server."""
    kinds: list[PrivateKey] = []
    for _ in range(MEMBERS_BY_KIND):
        kinds.append(rsa.generate_private_key(public_exponent=65537, key_size=2048))
        kinds.append(ed25519.Ed25519PrivateKey.generate())
    members = [Member(number, key) for number, key in enumerate(kinds)]
    for member in members:
        public = member.key.public_key()
        pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        (keys / f"{member.key_id}.pub.pem").write_bytes(pem)
    return members


def start_server(home: Path) -> tuple[psutil.Popen, int]:
    """Start the bare exchange, pinned to the first processor; return it and its port."""
    now_ns = time.time_ns()
    config = {
        "keys_dir": str(home / "keys"),
        "truth_path": str(home / "truth.jsonl"),
        "tier": "prestige",
        "skew_past_s": 3_600.0,
        "ladders": [msgspec.to_builtins(LADDER)],
        "clock": {
            "wall_anchor_ns": now_ns,
            "virtual_anchor_ns": LADDER.target_ns - 900_000_000_000,
        },
        "wall_signatures": True,
    }
    path = home / "exchange.yaml"
    path.write_text(yaml.safe_dump(config))
    process = psutil.Popen(
        [sys.executable, "-m", "lab.exchange", "--config", str(path)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    process.cpu_affinity([_processors()[0]])
    line = process.stdout.readline()
    return process, int(line.split(":")[-1].split("/")[0])


def _processors() -> tuple[int, int]:
    known = sorted(os.sched_getaffinity(0))
    return known[0], known[-1]


async def run_all(port: int, members: list[Member], take: Any) -> list[float]:
    """Send what every member has ready; return how long each request took, in seconds."""
    waits: list[float] = []

    async def work(member: Member, connection: Connection) -> None:
        while member.ready:
            request = member.ready.pop()
            began = time.perf_counter()
            status, body = await connection.call(request)
            waits.append(time.perf_counter() - began)
            take(member, request, status, body)

    connections = [
        (member, await Connection.open(port))
        for member in members
        for _ in range(CONNECTIONS_BY_MEMBER)
    ]
    await asyncio.gather(*(work(member, connection) for member, connection in connections))
    for _, connection in connections:
        connection.close()
    return waits


async def measure(process: psutil.Popen, port: int, members: list[Member], count: int) -> Any:
    """Place orders unmeasured, then measure a mix of as many creates, amends and cancels."""
    each = count // len(members) // 3

    def keep(member: Member, request: bytes, status: int, body: bytes) -> None:
        assert status == 201, (status, body)
        placed = json.loads(body)
        number = int(placed["client_order_id"].rpartition("-")[2])
        member.orders.append((placed["order_id"], _ticker(number)))

    for member in members:
        member.ready = [member.create(number) for number in range(each)]
    await run_all(port, members, keep)
    for member in members:
        member.ready = []
        for number, (order_id, ticker) in enumerate(member.orders):
            member.ready += [
                member.cancel(order_id),
                member.amend(order_id, ticker, number),
                member.create(each + number),
            ]
    await asyncio.sleep(4)  # the rate limits' buckets fill up again
    refused: dict[int, int] = {}

    def check(member: Member, request: bytes, status: int, body: bytes) -> None:
        del member, request
        if status not in (200, 201):
            assert status in (404, 429), (status, body)
            refused[status] = refused.get(status, 0) + 1

    before, began = sum(process.cpu_times()[:2]), time.perf_counter()
    waits = sorted(await run_all(port, members, check))
    passed_s, cpu_s = time.perf_counter() - began, sum(process.cpu_times()[:2]) - before
    return {
        "requests": len(waits),
        "refused": refused,
        "requests_per_s": round(len(waits) / passed_s),
        "requests_per_s_min": 2_000,
        "server_cpu_us": round(cpu_s / len(waits) * 1e6, 1),
        "server_cpu_share": round(cpu_s / passed_s, 2),
        "wait_ms": {
            "p50": round(waits[len(waits) // 2] * 1e3, 2),
            "p99": round(waits[len(waits) * 99 // 100] * 1e3, 2),
        },
    }


def main() -> int:
    """Measure, print and write; return the exit code."""
    parser = parser_of(__doc__)
    parser.add_argument("--requests", type=int, default=12_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        (home / "keys").mkdir()
        members = make_members(home / "keys")
        process, port = start_server(home)
        try:
            os.sched_setaffinity(0, {_processors()[1]})
            result = asyncio.run(measure(process, port, members, options.requests))
        finally:
            process.terminate()
            process.wait(20)
    return show("exchange", result, options.json)


if __name__ == "__main__":
    raise SystemExit(main())
