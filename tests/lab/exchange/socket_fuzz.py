"""Any bytes on the exchange's two ports, and what must hold whatever comes.

    python -m tests.lab.exchange.socket_fuzz [--seconds 60] [--seed 1]

runs for a while and prints how many inputs were tried; test_socket_fuzz.py runs a few for CI.
Inputs are noise or, mostly, right requests and frames with a few things wrong, signed so that they
get far. Every answer is one of the exchange's shapes below 500, every frame its JSON, nothing is
logged as an error, and the exchange serves the next one.
"""

import asyncio
import collections
import json
import logging
import random
import struct
import sys
import tempfile
import time
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from lab.exchange.routes import PREFIX, ROUTES
from tests.fuzz_command import fuzz
from tests.lab.exchange.harness import (
    ED_ID,
    EVENT,
    MARKET,
    ORDERS,
    RSA_ID,
    WS_PATH,
    Exchange,
    order_body,
    running_exchange,
    sign_headers,
)
from tests.libs.kalshi.socket_fuzz import garbled, some_json, spoilt

HANG_S = 10.0
QUIET_S = 0.05
"""An input that leaves the server waiting for more is given up after that long."""
TOKEN = "fuzz"
ADMIN = "admin"
BODIES: list[Any] = [
    order_body(),
    order_body(client_order_id="x", expiration_time=4_000_000_000, post_only=True),
    {"orders": [order_body(), order_body(side="ask", price="0.9000")]},
    {"orders": [{"order_id": "x"}]},
    {"ticker": MARKET, "side": "bid", "price": "0.3000", "count": "2.00"},
    {"reduce_by": "1.00"},
    {"contracts_limit": 5},
]
FAULTS: list[Any] = [
    {"fault": "gap", "frames": 2, "when": {"nth": [3]}},
    {"fault": "stale_read", "where": {"methods": ["GET"]}, "when": {"probability": 0.5}},
    {"fault": "tick_grid", "markets": [MARKET], "structure": "deci_cent"},
    [{"fault": "answer", "status": 429, "when": {"count": 1}}],
]
QUERIES = ("", "?limit=5", "?cursor=abc", f"?tickers={MARKET}&depth=3", "?status=open&limit=x")
COMMANDS: list[Any] = [
    {"id": 1, "cmd": "subscribe", "params": {"channels": [channel], "market_tickers": [MARKET]}}
    for channel in ("orderbook_delta", "ticker", "trade", "fill", "user_orders")
]
COMMANDS += [
    {"id": 2, "cmd": "subscribe", "params": {"channels": ["communications"], "shard_factor": 3}},
    {"id": 3, "cmd": "unsubscribe", "params": {"sids": [1]}},
    {
        "id": 4,
        "cmd": "update_subscription",
        "params": {"sid": 1, "action": "add_markets", "market_tickers": [EVENT]},
    },
    {
        "id": 5,
        "cmd": "update_subscription",
        "params": {"sids": [1], "action": "get_snapshot", "market_ticker": MARKET},
    },
    {"id": 6, "cmd": "list_subscriptions"},
]


class Errors(logging.Handler):
    """Remember what was logged as an error."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


class Fuzz:
    """A running exchange, and one kind of input after the other."""

    def __init__(self, exchange: Exchange, errors: Errors) -> None:
        self.exchange = exchange
        self.errors = errors

    async def one(self, kind: str, rng: random.Random) -> str:
        """Try one input; return what came of it."""
        async with asyncio.timeout(HANG_S):
            if kind == "ws":
                outcome = await self._websocket(rng)
            else:
                outcome = await self._http(rng, kind)
        assert not self.errors.lines, self.errors.lines[0]
        return outcome

    # HTTP

    async def _http(self, rng: random.Random, kind: str) -> str:
        port = self.exchange.server.port
        make = self._request
        if kind == ADMIN:
            port, make = self.exchange.server.admin_port, self._admin_request
        data = b"".join(make(rng) for _ in range(rng.choice((1, 1, 2, 3))))
        if rng.random() < 0.8:
            data = garbled(rng, data)
        elif rng.random() < 0.1:
            data = rng.randbytes(rng.randint(1, 300))
        answers = await self._answers(port, data)
        for status, body in answers:
            if kind == ADMIN:
                assert status < 500, (status, body, data)
                assert status < 300 or {"error", "code"} & set(json.loads(body)), (body, data)
            else:
                assert_shaped(status, body, data)
        return ",".join(str(status) for status, _ in answers) or "waits"

    async def heal(self) -> None:
        """Lift what faults were asked for, and see that the exchange serves."""
        headers = {"Authorization": f"Bearer {TOKEN}"}
        lift = request_bytes("DELETE", "/faults", headers, b"")
        assert await self._answers(self.exchange.server.admin_port, lift) == [(204, b"")]
        answer = await self.exchange.call("DELETE", ORDERS, key_id=ED_ID)
        assert answer.status_code == 204, answer.text

    async def _answers(self, port: int, data: bytes) -> list[tuple[int, bytes]]:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(data)
            return read_answers(await read_all(reader))
        finally:
            writer.transport.abort()

    def _request(self, rng: random.Random) -> bytes:
        route = rng.choice(ROUTES)
        path = PREFIX + route.path.replace("{ticker}", MARKET).replace("{event_ticker}", EVENT)
        for name in ("order_id", "order_group_id", "series_ticker"):
            path = path.replace(f"{{{name}}}", rng.choice(("x", "KXINXU", "%ff", "..")))
        method = route.method
        if rng.random() < 0.05:
            method, path = "GET", WS_PATH
        key_id = rng.choice((RSA_ID, ED_ID, ED_ID, ED_ID))
        headers = sign_headers(method, path, self.exchange.clock.now_ns(), key_id)
        body = b"" if method == "GET" else some_json(rng, BODIES)
        return request_bytes(method, path + rng.choice(QUERIES), headers, body)

    def _admin_request(self, rng: random.Random) -> bytes:
        method, path = rng.choice(
            (("GET", "/state"), ("GET", "/faults"), ("DELETE", "/faults"), ("POST", "/faults"))
        )
        body = some_json(rng, FAULTS) if method == "POST" else b""
        return request_bytes(method, path, {"Authorization": f"Bearer {TOKEN}"}, body)

    # WebSocket

    async def _websocket(self, rng: random.Random) -> str:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.exchange.server.port)
        headers = sign_headers("GET", WS_PATH, self.exchange.clock.now_ns(), ED_ID)
        headers |= {"Upgrade": "websocket", "Connection": "Upgrade"}
        headers |= {"Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==", "Sec-WebSocket-Version": "13"}
        squeezes = rng.random() < 0.3
        if squeezes:
            headers["Sec-WebSocket-Extensions"] = "permessage-deflate"
        try:
            writer.write(request_bytes("GET", WS_PATH, headers, b""))
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 101"), head
            data = b"".join(client_frame(rng, squeezes) for _ in range(rng.randint(1, 6)))
            if rng.random() < 0.5:
                data = garbled(rng, data)
            writer.write(data)
            self.exchange.other_places("bid", 100 * rng.randint(1, 98), 100)
            came = await read_all(reader)
        finally:
            writer.transport.abort()
        return read_frames(came)


async def read_all(reader: asyncio.StreamReader) -> bytes:
    """Return what comes until the end, or until nothing came for a while."""
    came = b""
    while True:
        try:
            async with asyncio.timeout(QUIET_S):
                part = await reader.read(1 << 16)
        except (TimeoutError, ConnectionError):
            return came
        if not part:
            return came
        came += part


def request_bytes(method: str, target: str, headers: dict[str, str], body: bytes) -> bytes:
    """Return the bytes of a right request."""
    lines = [f"{method} {target} HTTP/1.1", "Host: fuzz"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if body:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode() + body


def client_frame(rng: random.Random, squeezes: bool) -> bytes:
    """Return a frame as a client sends it: mostly a command, rightly masked."""
    value = rng.choice(COMMANDS)
    payload = json.dumps(value if rng.random() < 0.4 else spoilt(rng, value)).encode()
    if rng.random() < 0.02:
        payload = b"[" * 5_000
    first = 0x81
    if squeezes and rng.random() < 0.7:
        packer = zlib.compressobj(wbits=-15)
        payload = (packer.compress(payload) + packer.flush(zlib.Z_SYNC_FLUSH))[:-4]
        first |= 0x40
    if rng.random() < 0.15:
        first = rng.randrange(256)
    mask = rng.randbytes(4)
    masked = bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))
    if len(payload) < 126:
        return bytes((first, 0x80 | len(payload))) + mask + masked
    return bytes((first, 0x80 | 126)) + struct.pack(">H", len(payload)) + mask + masked


def read_answers(data: bytes) -> list[tuple[int, bytes]]:
    """Return status and body of every whole answer; what follows an upgrade is left out."""
    found: list[tuple[int, bytes]] = []
    while b"\r\n\r\n" in data:
        head, _, data = data.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/"), head  # in the version that was asked in
        status = int(head[9:12])
        if status == 101:
            break
        length = head.lower().partition(b"content-length: ")[2].partition(b"\r")[0]
        body, data = data[: int(length or 0)], data[int(length or 0) :]
        found.append((status, body))
    return found


def assert_shaped(status: int, body: bytes, data: bytes) -> None:
    """Assert success, or one of the exchange's shapes below 500."""
    assert status < 500, (status, body, data)
    if status < 400 or not body:  # a HEAD has no body
        return
    value = json.loads(body)
    inner = value.get("error")
    nested = isinstance(inner, dict) and {"code", "message"} <= set(inner)
    shaped = nested or inner == "too many requests" or {"code", "message"} <= set(value)
    assert shaped or set(value) == {"msg"}, (body, data)


def read_frames(data: bytes) -> str:
    """Check the server's frames; return the codes of errors and of the close."""
    codes: list[str] = []
    unpacker = zlib.decompressobj(wbits=-15)
    while len(data) >= 2:
        first, size = data[0], data[1]
        at = 2
        if size == 126:
            at, size = 4, int.from_bytes(data[2:4], "big")
        elif size == 127:
            at, size = 10, int.from_bytes(data[2:10], "big")
        payload, data = data[at : at + size], data[at + size :]
        if len(payload) < size:
            break
        if first & 0x40:
            payload = unpacker.decompress(payload + b"\x00\x00\xff\xff")
        if first & 0x0F == 1:
            frame = json.loads(payload)
            assert payload.endswith(b"\n"), payload
            assert "type" in frame, frame
            assert "sending_ts_ms" in frame, frame
            if frame["type"] == "error":
                codes.append(str(frame["msg"]["code"]))
        elif first & 0x0F == 8:
            codes.append(f"closed {int.from_bytes(payload[:2], 'big')}")
    return ",".join(sorted(set(codes))) or "quiet"


@asynccontextmanager
async def fuzzing(folder: Path) -> AsyncIterator[Fuzz]:
    """Serve an exchange that can be fuzzed."""
    token = folder / "token"
    token.write_text(TOKEN)
    errors = Errors()
    logging.getLogger().addHandler(errors)
    try:
        async with running_exchange(
            folder, admin_port=0, admin_token_file=str(token), seed=1
        ) as exchange:
            yield Fuzz(exchange, errors)
    finally:
        logging.getLogger().removeHandler(errors)


async def run(seconds: float, seed: int) -> dict[str, Any]:
    """Fuzz each kind for a third of the time, many at once; return the counts."""
    found: dict[str, Any] = {"seed": seed, "seconds": seconds}
    for kind in ("http", ADMIN, "ws"):
        with tempfile.TemporaryDirectory() as folder:
            async with fuzzing(Path(folder)) as fuzz:
                found[kind] = await _run_kind(fuzz, kind, seconds / 3, seed)
    return found


async def _run_kind(fuzz: Fuzz, kind: str, seconds: float, seed: int) -> dict[str, Any]:
    outcomes: collections.Counter[str] = collections.Counter()
    until = time.monotonic() + seconds
    indices = iter(range(10**9))

    async def work() -> None:
        while time.monotonic() < until:
            index = next(indices)
            try:
                outcomes[await fuzz.one(kind, random.Random(f"{seed}|{kind}|{index}"))] += 1
            except Exception:
                sys.stderr.write(f"case {seed}|{kind}|{index}\n")
                raise
            if index % 100 == 0:
                await fuzz.exchange.clock.advance_to(fuzz.exchange.clock.now_ns() + 10**8)

    async with asyncio.TaskGroup() as group:
        for _ in range(16):
            group.create_task(work())
    await fuzz.heal()
    return {"count": sum(outcomes.values()), "outcomes": dict(outcomes.most_common(15))}


if __name__ == "__main__":
    raise SystemExit(fuzz(__doc__, run))
