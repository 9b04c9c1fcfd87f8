"""Servers that answer the client with anything at all, and what must hold whatever they answer.

    python -m tests.libs.kalshi.socket_fuzz [--seconds 60] [--seed 1]

runs for a while and prints how many answers were tried; test_socket_fuzz.py runs a few for CI.
Bytes are either noise or, mostly, a right answer with a few things wrong.
"""

import asyncio
import base64
import collections
import gzip
import hashlib
import json
import random
import sys
import time
import zlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from libs.common.clock import SystemClock
from libs.kalshi.errors import KalshiError
from libs.kalshi.rest import KalshiClient
from libs.kalshi.transport import AiohttpTransport, Timeouts
from libs.kalshi.ws import BOOKS, KalshiStream
from libs.kalshi.ws_events import Snapshot, StreamEvent
from libs.kalshi.ws_session import SessionLimits, StreamSession
from tests.fuzz_command import fuzz
from tests.libs.kalshi.client_calls import CALLS, READS, PlainSigner

TIMEOUTS = Timeouts(connect_s=1.0, total_s=0.15)
HANG_S = 10.0
"""No answer may hold a call or a session longer; a whole process would stand still."""
LIMITS = SessionLimits(
    open_timeout_s=0.2, backoff_first_s=0.0005, backoff_max_s=0.001, frame_bytes_max=64 * 1024
)
ORDER: dict[str, Any] = {"order_id": "o", "fill_count": "0.00", "remaining_count": "1.00"}
BODIES: list[Any] = [
    {},
    {"error": {"code": "not_found", "message": "not found"}},
    {"error": {"code": "header_timestamp_expired", "message": "header timestamp expired"}},
    {"error": "too many requests"},
    {"msg": "Parameter validation failed"},
    {"exchange_active": True, "trading_active": False},
    ORDER | {"ts_ms": 1, "reduced_by": "1.00", "client_order_id": "c"},
    {"orders": [ORDER | {"ts_ms": 1, "reduced_by": "1.00"}], "cursor": "x"},
    {"balance_dollars": "1.0000", "updated_ts": 1},
    {"orderbook_fp": {"yes_dollars": [["0.4700", "1.00"]], "no_dollars": []}},
    {"fills": [], "cursor": ""},
    {"default_cost": 10, "endpoint_costs": []},
]
FRAMES: list[Any] = [
    {"type": "subscribed", "id": 1, "msg": {"channel": BOOKS, "sid": 1}},
    {"type": "orderbook_snapshot", "sid": 1, "seq": 1, "msg": {"market_ticker": "T1", "clock": 1}},
    {
        "type": "orderbook_delta",
        "sid": 1,
        "seq": 2,
        "msg": {
            "market_ticker": "T1",
            "price_dollars": "0.4700",
            "delta_fp": "3.00",
            "side": "yes",
            "clock": 2,
            "ts_ms": 1,
        },
    },
    {"type": "ok", "id": 1, "sid": 1, "seq": 3, "msg": {"market_tickers": ["T1"]}},
    {"type": "ok", "id": 2, "msg": []},
    {"type": "error", "sid": 1, "msg": {"code": 25, "msg": "Subscription buffer overflow"}},
    {"type": "error", "id": 1, "msg": {"code": 7, "msg": "Unknown subscription ID"}},
    {"type": "unsubscribed", "sid": 1, "seq": 4},
    {"type": "fill", "sid": 2, "msg": {}},
    {"type": "something_new", "sid": 1, "seq": 5},
]
NASTY: list[Any] = [None, True, 0, -1, 2**70, 1.5, "", "x" * 300, "\u0000", "0.4700", [], {}, [[]]]


def garbled(rng: random.Random, data: bytes) -> bytes:
    """Change a few places of some bytes."""
    out = bytearray(data)
    for _ in range(rng.choice((0, 1, 1, 2, 5))):
        at = rng.randint(0, len(out))
        match rng.randrange(5):
            case 0:
                out[at : at + 1] = rng.randbytes(1)
            case 1:
                out[at:at] = rng.randbytes(rng.randint(1, 8))
            case 2:
                del out[at : at + rng.randint(1, 20)]
            case 3:
                del out[at:]
            case _:
                out[at:at] = out[max(0, at - rng.randint(1, 60)) : at]
    return bytes(out)


def spoilt(rng: random.Random, value: Any) -> Any:
    """Return JSON with some of its values, keys or depth replaced."""
    if rng.random() < 0.15:
        return rng.choice(NASTY)
    if isinstance(value, dict):
        return {
            (key if rng.random() < 0.95 else "x"): spoilt(rng, inner)
            for key, inner in value.items()
            if rng.random() < 0.97
        }
    if isinstance(value, list):
        return [spoilt(rng, inner) for inner in value for _ in range(rng.choice((1, 1, 1, 2)))]
    return value


def some_json(rng: random.Random, choices: list[Any]) -> bytes:
    """Return a right body, a spoilt one, or one that is deep."""
    value = rng.choice(choices)
    if rng.random() < 0.02:
        return b"[" * 5_000
    text = json.dumps(value if rng.random() < 0.3 else spoilt(rng, value)).encode()
    return garbled(rng, text) if rng.random() < 0.3 else text


def http_answer(rng: random.Random) -> bytes:
    """Return the bytes of an HTTP answer, right or wrong."""
    if rng.random() < 0.1:
        return rng.randbytes(rng.randint(0, 400))
    body = some_json(rng, BODIES)
    if rng.random() < 0.5:  # so that as many reach the decoders as stop at the parser
        status = rng.choice((200, 201, 400, 401, 404, 409, 503))
        return b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body)
    status = rng.choice((200, 201, 204, 100, 101, 301, 304, 400, 401, 404, 408, 409, 429, 500, 503))
    headers = [f"Date: {rng.choice(('Thu, 11 Jun 2026 06:29:30 GMT', 'never', chr(0xFF)))}"]
    match rng.randrange(6):
        case 0:
            half = len(body) // 2
            parts = [body[:half], body[half:], b""]
            body = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts)
            headers.append("Transfer-Encoding: chunked")
        case 1:
            body = rng.choice((gzip.compress(body), body, zlib.compress(body)))
            headers += ["Content-Encoding: " + rng.choice(("gzip", "deflate", "br", "zstd", "no"))]
            headers.append(f"Content-Length: {len(body)}")
        case 2:
            headers.append(f"Content-Length: {rng.choice((0, 1, -1, 10**9, 10**30, 'x'))}")
        case 3:
            headers.append("Connection: close")
        case _:
            headers.append(f"Content-Length: {len(body)}")
    if rng.random() < 0.1:
        headers.append(rng.choice(("X: " + "y" * 20_000, ": ", "Content-Length: 3", "Location: /")))
    rng.shuffle(headers)
    head = f"HTTP/1.{rng.choice('1110')} {status} X\r\n" + "".join(f"{one}\r\n" for one in headers)
    data = head.encode("latin-1") + b"\r\n" + body
    return garbled(rng, data) if rng.random() < 0.3 else data


class AnswersAnything:
    """One server for many calls: each request gets the next bytes, then perhaps the end."""

    def __init__(self) -> None:
        self.data = b""
        self.hangs = False
        self.requests = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
                await reader.readexactly(int(length or 0))
                self.requests += 1
                writer.write(self.data)
                await writer.drain()
                if not self.hangs:
                    break
        writer.close()


class HttpFuzz:
    """A client and a server that answers it with anything."""

    async def __aenter__(self) -> "HttpFuzz":
        self.says = AnswersAnything()
        self.server = await asyncio.start_server(self.says.serve, "127.0.0.1", 0)
        port = self.server.sockets[0].getsockname()[1]
        url = f"http://127.0.0.1:{port}/trade-api/v2"
        self.client = KalshiClient(url, AiohttpTransport(TIMEOUTS), SystemClock(), PlainSigner())
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.client.close()
        self.server.close()

    async def one(self, rng: random.Random) -> str:
        """Make one call; return what came of it, a value or a KalshiError; raise all else."""
        name = rng.choice(list(CALLS))
        self.says.data = http_answer(rng)
        self.says.hangs = rng.random() < 0.05
        self.says.requests = 0
        try:
            async with asyncio.timeout(HANG_S):
                await CALLS[name](self.client)
            outcome = "value"
        except KalshiError as error:
            outcome = type(error).__name__
        if name not in READS:
            repeatable = b"header_timestamp_expired" in self.says.data
            sent = self.says.requests
            assert sent <= 1 + repeatable, f"{name} was sent {sent} times for {self.says.data!r}"
        return outcome


def ws_frame(rng: random.Random, payload: bytes) -> bytes:
    """Return one server frame, mostly a right one."""
    first, length = 0x81, len(payload)
    if rng.random() < 0.2:
        first = rng.choice((0x00, 0x01, 0x80, 0x82, 0x88, 0x89, 0x8A, 0x83, 0xC1, 0xF1, 0x09))
    if rng.random() < 0.05:
        length = rng.choice((0, 2**20, 2**40, 2**63))
    if length < 126:
        return bytes((first, length)) + payload
    if length < 65_536:
        return bytes((first, 126)) + length.to_bytes(2, "big") + payload
    return bytes((first, 127)) + length.to_bytes(8, "big") + payload


def ws_bytes(rng: random.Random) -> bytes:
    """Return what a server may send after the handshake."""
    if rng.random() < 0.1:
        return rng.randbytes(rng.randint(0, 300))
    texts = [some_json(rng, FRAMES) for _ in range(rng.randint(1, 6))]
    data = b"".join(ws_frame(rng, text) for text in texts)
    return garbled(rng, data) if rng.random() < 0.2 else data


def accept_header(request: bytes) -> bytes:
    """Return the key that proves a handshake (RFC 6455)."""
    key = request.lower().partition(b"sec-websocket-key:")[2]
    start = len(request) - len(key)
    value = request[start:].partition(b"\r\n")[0].strip()
    digest = hashlib.sha1(value + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
    return base64.b64encode(digest)


class SocketSaysAnything:
    """Anything on the first connection of each case, then a right exchange."""

    def __init__(self) -> None:
        self.data = b""
        self.handshake: Callable[[bytes], bytes] = lambda right: right
        self.fuzzed = True

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            request = await reader.readuntil(b"\r\n\r\n")
            deflate = b"Sec-WebSocket-Extensions: permessage-deflate\r\n" if self.fuzzed else b""
            right = (
                b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Accept: " + accept_header(request) + b"\r\n" + deflate + b"\r\n"
            )
            if self.fuzzed:
                self.fuzzed = False
                writer.write(self.handshake(right) + self.data)
                await writer.drain()
            else:
                whole = random.Random(0)
                whole.random = lambda: 1.0  # type: ignore[method-assign] # nothing goes wrong
                frames = [ws_frame(whole, json.dumps(one).encode()) for one in FRAMES[:2]]
                writer.write(right + b"".join(frames))
                await reader.readexactly(1)  # its subscribe
                while chunk := await reader.read(65_536):
                    if b"\x88" in chunk[:1]:  # it closes
                        break
        writer.close()


class SocketFuzz:
    """A session against such a server: it must always find back to a whole book."""

    async def __aenter__(self) -> "SocketFuzz":
        self.says = SocketSaysAnything()
        self.server = await asyncio.start_server(self.says.serve, "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self.server.close()

    async def one(self, rng: random.Random) -> str:
        """Run one session from the nonsense to a whole book; return how the first one ended."""
        says, stream = self.says, KalshiStream()
        says.data, says.fuzzed = ws_bytes(rng), True
        wrong = rng.random() < 0.15
        says.handshake = (lambda right: garbled(rng, right)) if wrong else (lambda right: right)
        stream.want(BOOKS, ["T1"], now_ns=0)
        whole = asyncio.Event()

        async def hear(events: list[StreamEvent], received_ns: int) -> None:
            if not says.fuzzed and any(isinstance(event, Snapshot) for event in events):
                whole.set()

        session = StreamSession(
            f"ws://127.0.0.1:{self.port}/", stream, _no_headers, hear, SystemClock(), LIMITS
        )
        running = asyncio.ensure_future(session.run())
        heard = asyncio.ensure_future(whole.wait())
        try:
            async with asyncio.timeout(HANG_S):
                await asyncio.wait((running, heard), return_when=asyncio.FIRST_COMPLETED)
            if running.done():
                running.result()  # raises what ended it: nothing may
                raise AssertionError("the session ended by itself")
        finally:
            running.cancel()
            heard.cancel()
            await asyncio.gather(running, heard, return_exceptions=True)
        return (session.last_failure or "went on").split(":")[0]


async def _no_headers() -> Mapping[str, str]:
    return {}


async def run(seconds: float, seed: int) -> dict[str, Any]:
    """Fuzz both for half of the time each; return the counts."""
    found: dict[str, Any] = {"seed": seed, "seconds": seconds}
    for name, kind in (("http_answers", HttpFuzz), ("ws_sessions", SocketFuzz)):
        outcomes: collections.Counter[str] = collections.Counter()
        until = time.monotonic() + seconds / 2
        index = 0
        async with kind() as fuzz:
            while time.monotonic() < until:
                rng = random.Random(f"{seed}|{name}|{index}")
                try:
                    outcomes[await fuzz.one(rng)] += 1
                except BaseException:
                    sys.stderr.write(f"case {seed}|{name}|{index}\n")
                    raise
                index += 1
        found[name] = {"count": index, "outcomes": dict(outcomes.most_common(12))}
    return found


if __name__ == "__main__":
    raise SystemExit(fuzz(__doc__, run))
