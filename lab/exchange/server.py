"""The simulated exchange on one port: REST, WebSocket, and the passing of its time."""

import asyncio
import logging
from collections.abc import Callable
from email.utils import formatdate
from pathlib import Path
from typing import Protocol
from urllib.parse import parse_qs, unquote

import msgspec
from aiohttp import web

from lab.exchange.auth import Authenticator, load_keys
from lab.exchange.call import BODY_BYTES_MAX, Call, Json
from lab.exchange.config import ExchangeConfig
from lab.exchange.engine import Engine
from lab.exchange.errors import (
    ApiError,
    bare,
    flat,
    internal,
    method_not_allowed,
    not_found,
    too_many,
    v1_gone,
)
from lab.exchange.feed import Feed
from lab.exchange.http import ShapedServer
from lab.exchange.ladders import build_ladder
from lab.exchange.limits import Limits
from lab.exchange.model import NS_PER_S, Event, MarketStatus
from lab.exchange.routes import WS_PATH, Access, Found, Route, Router
from lab.exchange.truth import TruthLog
from lab.exchange.ws import Connection
from libs.common.clock import Clock, SystemClock

BODY_TIMEOUT_S = 10.0
QUERY_FIELDS_MAX = 1_000
STEPS_PER_TURN = 50
CONNECTIONS_MAX = 1_000
KEY_HEADER = "KALSHI-ACCESS-KEY"

_encoder = msgspec.json.Encoder()
_log = logging.getLogger("lab.exchange")

SettlementLevel = Callable[[str, int], int | None]


class Flow(Protocol):
    """The other participants: called once for each step of the time grid, in order."""

    def step(self, engine: Engine, now_ns: int) -> None:
        """Do what the participants do at `now_ns`."""
        ...


class ExchangeServer:
    """One running exchange; `start` it, use `port` and `engine`, `stop` it."""

    def __init__(
        self,
        config: ExchangeConfig,
        clock: Clock,
        *,
        flow: Flow | None = None,
        settlement_level: SettlementLevel | None = None,
    ) -> None:
        """Load keys and open the truth log. Raises KeysError or TruthLogError."""
        self._config = config
        self._clock = clock
        self._flow = flow
        self._settlement_level = settlement_level
        keys = load_keys(Path(config.keys_dir))
        self._authenticator = Authenticator(
            keys,
            round(config.skew_past_s * NS_PER_S),
            round(config.skew_future_s * NS_PER_S),
            SystemClock() if config.wall_signatures else None,
        )
        self._accounts = {key_id: config.accounts.get(key_id, key_id) for key_id in keys}
        self._limits = Limits(config.tier, config.reads_per_s)
        self._router = Router()
        self._truth = TruthLog(Path(config.truth_path))
        self.engine = Engine(config.seed, rules=config.rules())
        self._feed = Feed(self.engine)
        self._step_ns = config.step_ms * 1_000_000
        self._next_step_ns = 0
        self._flush_is_due = False
        self._connections: set[Connection] = set()
        self._date = (0, "")
        self._runner: web.ServerRunner | None = None
        self._timer: asyncio.Task[None] | None = None
        self.port = 0

    async def start(self) -> None:
        """List the ladders, open the accounts, listen.

        Raises OSError when the port is taken, and then leaves nothing behind.
        """
        try:
            await self._start()
        except BaseException:
            await self.stop()
            self._truth.remove()
            raise

    async def _start(self) -> None:
        self.engine.listen(self._take)
        now_ns = self._clock.now_ns()
        self.engine.advance(now_ns)
        for ladder in self._config.ladders:
            self.engine.add_ladder(build_ladder(ladder), now_ns)
        for account in sorted(set(self._accounts.values())):
            self.engine.open_account(account, self._config.balance_e6, netting=self._config.netting)
        self._next_step_ns = -(-now_ns // self._step_ns) * self._step_ns
        http = ShapedServer(self._answer, lambda: self._date_text(self._clock.now_ns()))
        self._runner = web.ServerRunner(http, handle_signals=False)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._config.host, self._config.port)
        await site.start()
        self.port = self._runner.addresses[0][1]
        self._timer = asyncio.create_task(self._keep_time())

    async def stop(self) -> None:
        """Close every connection and the truth log; stopping again does nothing."""
        if self._timer is not None:
            self._timer.cancel()
            await asyncio.gather(self._timer, return_exceptions=True)
            self._timer = None
        await asyncio.gather(*(connection.close() for connection in list(self._connections)))
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None
        self._truth.close()

    async def failed(self) -> None:
        """Return when the passing of time broke; raises what broke it."""
        assert self._timer is not None, "start the server first"
        await self._timer

    # Time

    async def _keep_time(self) -> None:
        while True:
            await self._clock.sleep_until(self._next_step_ns)
            while self._catch_up(self._clock.now_ns(), STEPS_PER_TURN):
                await asyncio.sleep(0)

    def _catch_up(self, now_ns: int, steps_max: int | None = None) -> bool:
        """Do the steps that are due, in order; say whether some were left."""
        done = 0
        while self._next_step_ns <= now_ns:
            if done == steps_max:
                return True
            at_ns = self._next_step_ns
            self._next_step_ns += self._step_ns
            self.engine.advance(at_ns)
            self._settle(at_ns)
            if self._flow is not None:
                self._flow.step(self.engine, at_ns)
            done += 1
        return False

    def _settle(self, at_ns: int) -> None:
        if self._settlement_level is None:
            return
        state = self.engine.state
        for event in state.events.values():
            if event.target_ns > at_ns:
                continue
            markets = state.event_markets[event.ticker]
            if markets[0].status is not MarketStatus.CLOSED:
                continue
            level_e4 = self._settlement_level(event.symbol, event.target_ns)
            if level_e4 is not None:
                timer_ns = round(self._config.settlement_timer_s * NS_PER_S)
                self.engine.settle(event.ticker, level_e4, at_ns, settlement_timer_ns=timer_ns)

    def _take(self, event: Event) -> None:
        self._truth.write(event)
        self._feed.take(event)
        if self._feed.changed_tickers and not self._flush_is_due:
            self._flush_is_due = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        self._flush_is_due = False
        self._feed.flush_tickers(self.engine.state.now_ns)

    # Requests

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        received_ns = self._clock.now_ns()
        path = request.raw_path.partition("?")[0]
        try:
            if path == WS_PATH:
                return await self._websocket(request, received_ns)
            body = await _read_body(request)
            now_ns = self._clock.now_ns()
            self._catch_up(now_ns)
            self.engine.advance(now_ns)
            found = self._router.find(request.method, path)
            if found.route is None or not found.route.writes:
                return self._rest(request, found, path, body, now_ns)
            return self._write(request, found, path, body, received_ns, now_ns)
        except Exception as error:  # noqa: BLE001  a fault of ours answers 500, never hangs a client
            return self._refuse(request, error, self._clock.now_ns())

    def _write(
        self,
        request: web.BaseRequest,
        found: Found,
        path: str,
        body: bytes | ApiError,
        received_ns: int,
        now_ns: int,
    ) -> web.Response:
        """Answer a write request, with it and its answer in the truth log."""
        key_id = request.headers.get(KEY_HEADER, "")
        call = f"{request.method} {request.raw_path}"
        sent = body if isinstance(body, bytes) else b""
        self._truth.begin(now_ns, received_ns, key_id, call, sent)
        try:
            response = self._rest(request, found, path, body, now_ns)
        except Exception as error:  # noqa: BLE001  told in the log like any other answer
            response = self._refuse(request, error, now_ns)
        assert response.body is None or isinstance(response.body, bytes), "answers are bytes"
        self._truth.end(now_ns, response.status, response.body)
        return response

    def _refuse(self, request: web.BaseRequest, error: Exception, now_ns: int) -> web.Response:
        if isinstance(error, ApiError):
            return self._reply(error.status, error.body, now_ns)
        _log.error("request failed: %s %s", request.method, request.path, exc_info=error)
        return self._reply(500, internal().body, now_ns)

    def _rest(
        self,
        request: web.BaseRequest,
        found: Found,
        path: str,
        body: bytes | ApiError,
        now_ns: int,
    ) -> web.Response:
        route = found.route
        if isinstance(body, ApiError):
            raise body
        if route is None:
            moved = path.rstrip("/")
            if path.endswith("/") and self._router.find(request.method, moved).route is not None:
                response = self._reply(301, None, now_ns)
                response.headers["Location"] = moved
                return response
            raise method_not_allowed() if found.known else not_found()
        account = self._authenticate(request, route, path, now_ns)
        if route.access is Access.GONE:
            raise v1_gone()
        self._charge(request, route, account, body, now_ns)
        try:
            query = parse_qs(
                request.raw_path.partition("?")[2],
                keep_blank_values=True,
                max_num_fields=QUERY_FIELDS_MAX,
            )
        except ValueError:
            raise bare("Invalid query: too many parameters") from None
        call = Call(
            engine=self.engine,
            limits=self._limits,
            account=account,
            operation=route.operation,
            path={name: unquote(value) for name, value in found.names.items()},
            query=query,
            body=body,
            now_ns=now_ns,
        )
        return self._reply(route.status, route.handler(call), now_ns)

    def _authenticate(
        self, request: web.BaseRequest, route: Route, path: str, now_ns: int
    ) -> str | None:
        if route.access is Access.PUBLIC and KEY_HEADER not in request.headers:
            return None
        key_id = self._authenticator.key_of(request.headers, request.method, path, now_ns)
        return self._accounts[key_id]

    def _charge(
        self,
        request: web.BaseRequest,
        route: Route,
        account: str | None,
        body: bytes,
        now_ns: int,
    ) -> None:
        if account is None:
            if not self._limits.take_public(request.remote or "", now_ns):
                raise too_many()
            return
        cost = route.cost if isinstance(route.cost, int) else route.cost(body)
        writes = route.access is Access.WRITE
        take = self._limits.take_write if writes else self._limits.take_read
        if not take(account, cost, now_ns):
            raise too_many()

    async def _websocket(self, request: web.BaseRequest, now_ns: int) -> web.StreamResponse:
        key_id = self._authenticator.key_of(request.headers, request.method, WS_PATH, now_ns)
        if request.headers.get("Upgrade", "").lower() != "websocket":
            raise flat("expected a WebSocket handshake")
        if len(self._connections) >= CONNECTIONS_MAX:
            raise too_many()
        connection = Connection(
            self._feed,
            self._clock,
            self._accounts[key_id],
            self._config.queue_frames_max,
            self._config.ping_s,
        )
        self._connections.add(connection)
        try:
            return await connection.serve(request, self._date_text(now_ns))
        finally:
            self._connections.discard(connection)

    def _reply(self, status: int, body: Json | None, now_ns: int) -> web.Response:
        headers = {"Date": self._date_text(now_ns)}
        if body is None:
            return web.Response(status=status, headers=headers)
        return web.Response(
            body=_encoder.encode(body),
            status=status,
            headers=headers,
            content_type="application/json",
        )

    def _date_text(self, now_ns: int) -> str:
        second = now_ns // NS_PER_S
        if self._date[0] != second:
            self._date = (second, formatdate(second, usegmt=True))
        return self._date[1]


async def _read_body(request: web.BaseRequest) -> bytes | ApiError:
    """Return the body, or the refusal of one that cannot be read."""
    if not request.body_exists:
        return b""
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            body = await request.read()
    except TimeoutError:
        return flat("request body: timed out")
    except (web.HTTPException, web.RequestPayloadError):
        return flat("request body: unreadable or too large")
    if len(body) > BODY_BYTES_MAX:
        return flat(f"request body: expected at most {BODY_BYTES_MAX} bytes")
    return body
