"""A running exchange on a loopback port with generated keys, and a client that signs for it."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from msgspec import structs
from websockets.asyncio.client import ClientConnection, connect

from lab.exchange.app import serve
from lab.exchange.config import ExchangeConfig
from lab.exchange.engine import Engine
from lab.exchange.ladders import LadderConfig, build_ladder
from lab.exchange.model import NewOrder, Placed, Rules, Side, Structure
from lab.exchange.server import ExchangeServer, Flow
from libs.common.clock import ManualClock
from libs.domain.tickers import parse_event_ticker
from tests.lab.exchange.schemas import check_frame

API = "/trade-api/v2"
WS_PATH = "/trade-api/ws/v2"
ORDERS = "/portfolio/events/orders"
S = 1_000_000_000
EVENT = "KXINXU-26OCT02H1100"
TARGET_NS = parse_event_ticker(EVENT).target_ns
START_NS = TARGET_NS - 900 * S
LADDER = LadderConfig(
    series="KXINXU", target_ns=TARGET_NS, centre_e4=78_700_000, step_e4=100_000, rungs=5
)
RANGES = LadderConfig(
    series="KXINX", target_ns=TARGET_NS, centre_e4=78_700_000, step_e4=250_000, rungs=5
)
MARKET = f"{EVENT}-T7869.9999"
RSA_ID = "11111111-1111-4111-8111-111111111111"
ED_ID = "22222222-2222-4222-8222-222222222222"
RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
ED_KEY = ed25519.Ed25519PrivateKey.generate()


def write_keys(directory: Path) -> Path:
    """Write the public keys of both test keys as the simulator wants them."""
    directory.mkdir()
    for key_id, key in ((RSA_ID, RSA_KEY), (ED_ID, ED_KEY)):
        pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        (directory / f"{key_id}.pub.pem").write_bytes(pem)
    return directory


def sign_headers(
    method: str, path: str, now_ns: int, key_id: str = RSA_ID, salt: int = 32
) -> dict[str, str]:
    """Sign as kalshi-api.md section 1 says."""
    timestamp = str(now_ns // 1_000_000)
    message = f"{timestamp}{method}{path}".encode()
    if key_id == ED_ID:
        raw = ED_KEY.sign(message)
    else:
        pss = padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=salt)
        raw = RSA_KEY.sign(message, pss, hashes.SHA256())
    return {
        "KALSHI-ACCESS-KEY": key_id,
        "KALSHI-ACCESS-TIMESTAMP": timestamp,
        "KALSHI-ACCESS-SIGNATURE": base64.b64encode(raw).decode(),
    }


def order_body(**changes: Any) -> dict[str, Any]:
    """Return a valid create request, with changes."""
    body = {
        "ticker": MARKET,
        "side": "bid",
        "count": "10.00",
        "price": "0.4000",
        "time_in_force": "good_till_canceled",
        "self_trade_prevention_type": "taker_at_cross",
        "exchange_index": 0,
    }
    return {**body, **changes}


@dataclass
class Exchange:
    """A running server, its clock, and a signing HTTP client."""

    server: ExchangeServer
    clock: ManualClock
    http: httpx.AsyncClient
    truth_path: Path
    levels: dict[str, int] = field(default_factory=dict)

    @property
    def engine(self) -> Engine:
        return self.server.engine

    @property
    def ws_url(self) -> str:
        return f"ws://127.0.0.1:{self.server.port}{WS_PATH}"

    async def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        key_id: str | None = RSA_ID,
        content: bytes | None = None,
    ) -> httpx.Response:
        full = API + path
        signed = full.partition("?")[0]
        headers = {}
        if key_id is not None:
            headers = sign_headers(method, signed, self.clock.now_ns(), key_id)
        if body is not None:
            content = json.dumps(body).encode()
        if content is not None:
            headers["Content-Type"] = "application/json"
        return await self.http.request(method, full, headers=headers, content=content)

    def other_places(self, side: Side, price_e4: int, count_e2: int, **changes: Any) -> Placed:
        """Let another participant place an order in the market."""
        order = NewOrder(ticker=MARKET, side=side, price_e4=price_e4, count_e2=count_e2, **changes)
        placed = self.engine.place("maker", order, self.clock.now_ns())
        assert isinstance(placed, Placed), placed
        return placed


@asynccontextmanager
async def running_exchange(
    tmp_path: Path, flow: Flow | None = None, **changes: Any
) -> AsyncIterator[Exchange]:
    """Serve an exchange with two ladders and one other participant, `maker`."""
    keys = tmp_path / "keys"
    if not keys.exists():
        write_keys(keys)
    settings: dict[str, Any] = {
        "keys_dir": str(keys),
        "truth_path": str(tmp_path / "truth.jsonl"),
        "ladders": (LADDER, RANGES),
        "tier": "prestige",
        "reads_per_s": 10_000.0,
        "settlement_timer_s": 2.0,
    }
    config = ExchangeConfig(**{**settings, **changes})
    clock = ManualClock(START_NS)
    levels: dict[str, int] = {}
    server = await serve(
        config, clock, flow=flow, settlement_level=lambda symbol, target_ns: levels.get(symbol)
    )
    server.engine.open_account("maker", 10**12, keep_history=False)
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.port}") as http:
            yield Exchange(server, clock, http, Path(config.truth_path), levels)
    finally:
        await server.stop()


def small_engine(
    seed: int = 1,
    *,
    settlement_timer_ns: int = 0,
    structure: Structure = "linear_cent",
    **rules: Any,
) -> Engine:
    """Return an engine with one ladder open and accounts a, b, c of 1,000 dollars."""
    engine = Engine(seed, rules=Rules(**rules))
    for name in ("a", "b", "c"):
        engine.open_account(name, 1_000_000_000)
    ladder = structs.replace(LADDER, structure=structure)
    engine.add_ladder(build_ladder(ladder, settlement_timer_ns), START_NS)
    return engine


class Socket:
    """A WebSocket client that checks each frame against the official schema."""

    def __init__(self, socket: ClientConnection) -> None:
        self.raw = socket
        self._ids = 100

    async def send(self, command: Any) -> None:
        await self.raw.send(json.dumps(command))

    async def next(self) -> dict[str, Any]:
        text = await asyncio.wait_for(self.raw.recv(), 5)
        assert isinstance(text, str), "frames are text"
        assert text.endswith("\n"), "text frames end with a newline"
        frame: dict[str, Any] = json.loads(text)
        assert isinstance(frame["sending_ts_ms"], int)
        check_frame(frame)
        del frame["sending_ts_ms"]
        return frame

    async def take(self, count: int) -> list[dict[str, Any]]:
        return [await self.next() for _ in range(count)]

    async def rest(self) -> list[dict[str, Any]]:
        """Return every frame up to now: all that comes before the answer to a last command."""
        self._ids += 1
        await self.send({"id": self._ids, "cmd": "list_subscriptions"})
        frames = []
        while (frame := await self.next()).get("id") != self._ids:
            frames.append(frame)
        return frames

    async def subscribe(self, *channels: str, **params: Any) -> list[dict[str, Any]]:
        """Subscribe and return all frames that follow at once."""
        self._ids += 1
        params = {"channels": list(channels), **params}
        await self.send({"id": self._ids, "cmd": "subscribe", "params": params})
        return await self.rest()


@asynccontextmanager
async def open_socket(exchange: Exchange, key_id: str = RSA_ID) -> AsyncIterator[Socket]:
    """Connect with a signed handshake."""
    headers = sign_headers("GET", WS_PATH, exchange.clock.now_ns(), key_id)
    async with connect(exchange.ws_url, additional_headers=headers, max_queue=None) as socket:
        yield Socket(socket)
