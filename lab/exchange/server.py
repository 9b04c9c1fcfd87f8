"""The simulated exchange on one port: REST, WebSocket, and the passing of its time."""

import asyncio
import logging
from collections import Counter
from contextlib import suppress
from email.utils import formatdate
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import parse_qs, unquote

import msgspec
from aiohttp import web
from msgspec import Struct

from lab.exchange.admin import AdminServer
from lab.exchange.auth import Authenticator, load_keys
from lab.exchange.call import Call, Json
from lab.exchange.config import ExchangeConfig
from lab.exchange.engine import Engine
from lab.exchange.errors import (
    ApiError,
    bare,
    flat,
    internal,
    method_not_allowed,
    not_found,
    rejected,
    too_many,
    v1_gone,
)
from lab.exchange.faults import HANDSHAKE, RequestFacts, check_operations
from lab.exchange.feed import Feed
from lab.exchange.http import ShapedServer, read_body
from lab.exchange.injector import Injector, markets_named
from lab.exchange.ladders import build_ladder
from lab.exchange.limits import BucketName, Limits
from lab.exchange.model import NS_PER_S, Event
from lab.exchange.routes import OPERATIONS, PREFIX, WS_PATH, Access, Found, Route, Router
from lab.exchange.rules import PAUSED
from lab.exchange.settling import SettlementLevel, settle_closed
from lab.exchange.truth import TruthLog
from lab.exchange.ws import Connection
from libs.common.clock import Clock, SystemClock
from libs.common.config import read_secret

QUERY_FIELDS_MAX = 1_000
STEPS_PER_TURN = 50
CONNECTIONS_MAX = 1_000
CONNECTIONS_BY_ACCOUNT_MAX = 200
KEY_HEADER = "KALSHI-ACCESS-KEY"

_BUCKETS: dict[Access, BucketName] = {
    Access.PUBLIC: "read",
    Access.READ: "read",
    Access.BALANCE: "balance",
    Access.WRITE: "write",
}
_encoder = msgspec.json.Encoder()
_log = logging.getLogger("lab.exchange")


class Flow(Protocol):
    """The other participants: called once for each step of the time grid, in order."""

    def step(self, engine: Engine, now_ns: int) -> None:
        """Do what the participants do at `now_ns`."""
        ...


class _Asked(Struct, frozen=True, kw_only=True):
    """A REST request that was read; the body may be the refusal of one that could not be."""

    http: web.BaseRequest
    path: str
    found: Found
    body: bytes | ApiError
    received_ns: int


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
        """Load keys and open the truth log. Raises ConfigError, KeysError or TruthLogError."""
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
        check_operations(config.faults, "faults", OPERATIONS)
        token = (
            read_secret(config.admin_token_file, "admin token")
            if config.admin_port is not None
            else ""
        )
        self._truth = TruthLog(Path(config.truth_path))
        self.engine = Engine(config.seed, fee_table=config.fee_table(), rules=config.rules())
        self._feed = Feed(self.engine)
        self._step_ns = config.step_ms * 1_000_000
        self._next_step_ns = 0
        self._flush_is_due = False
        self._connections: set[Connection] = set()
        self._connected = 0
        self._counts: Counter[str] = Counter()
        self._started_ns = 0
        self._injector = Injector(config.seed, clock, self.engine, self._connections, self._advance)
        self._admin = AdminServer(self._injector, token, OPERATIONS, self._state)
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
            timer_ns = round(self._config.settlement_timer_s * NS_PER_S)
            self.engine.add_ladder(build_ladder(ladder, timer_ns), now_ns)
        for account in sorted(set(self._accounts.values())):
            self.engine.open_account(account, self._config.balance_e6, netting=self._config.netting)
        if self._config.weekly_pause:
            self.engine.keep_hours(now_ns)
        self._next_step_ns = -(-now_ns // self._step_ns) * self._step_ns
        http = ShapedServer(self._answer, self._date_text)
        self._runner = web.ServerRunner(http, handle_signals=False)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._config.host, self._config.port)
        await site.start()
        self.port = self._runner.addresses[0][1]
        if self._config.admin_port is not None:
            await self._admin.start(self._config.admin_port)
        self._started_ns = self._clock.now_ns()
        self._injector.add(self._config.faults)
        self._timer = asyncio.create_task(self._keep_time())

    async def stop(self) -> None:
        """Close every connection and the truth log; stopping again does nothing."""
        if self._timer is not None:
            self._timer.cancel()
            await asyncio.gather(self._timer, return_exceptions=True)
            self._timer = None
        await self._injector.stop()
        await self._admin.stop()
        await asyncio.gather(*(connection.close() for connection in list(self._connections)))
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None
        self._truth.close()

    @property
    def admin_port(self) -> int:
        """Return the port of the admin endpoint, 0 when there is none."""
        return self._admin.port

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
            self._feed.tell_fees(at_ns)
            if self._flow is not None:
                self._flow.step(self.engine, at_ns)
            done += 1
        return False

    def _settle(self, at_ns: int) -> None:
        if self._settlement_level is not None:
            settle_closed(self.engine, self._settlement_level, at_ns)

    def _advance(self, now_ns: int) -> None:
        self._catch_up(now_ns)
        self.engine.advance(now_ns)

    def _take(self, event: Event) -> None:
        self._truth.write(event)
        self._injector.take(event)
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
                return await self._websocket(request)
            asked = _Asked(
                http=request,
                path=path,
                found=self._router.find(request.method, path),
                body=await read_body(request),
                received_ns=received_ns,
            )
            if not self._injector.book.watches_requests:
                return self._respond(asked)
            return await self._injector.answer(
                request,
                self._facts(asked),
                lambda refusal: self._respond(asked, refusal),
                lambda error: self._reply(error.status, error.body),
            )
        except Exception as error:  # noqa: BLE001  a fault of ours answers 500, never hangs a client
            return self._refuse(request, error)

    def _respond(self, asked: _Asked, refusal: ApiError | None = None) -> web.Response:
        """Carry a request out, or refuse it at once; a write is in the truth log either way."""
        now_ns = self._clock.now_ns()
        self._advance(now_ns)
        route = asked.found.route
        if route is None or not route.writes:
            return self._carry_out(asked, refusal, now_ns)
        key_id = asked.http.headers.get(KEY_HEADER, "")
        call = f"{asked.http.method} {asked.http.raw_path}"
        sent = asked.body if isinstance(asked.body, bytes) else b""
        self._truth.begin(now_ns, asked.received_ns, key_id, call, sent)
        response = self._carry_out(asked, refusal, now_ns)
        assert response.body is None or isinstance(response.body, bytes), "answers are bytes"
        self._truth.end(now_ns, response.status, response.body)
        return response

    def _carry_out(self, asked: _Asked, refusal: ApiError | None, now_ns: int) -> web.Response:
        try:
            if refusal is not None:
                raise refusal
            return self._rest(asked, now_ns)
        except Exception as error:  # noqa: BLE001  a fault of ours answers 500, never hangs a client
            return self._refuse(asked.http, error)

    def _refuse(self, request: web.BaseRequest, error: Exception) -> web.Response:
        if isinstance(error, ApiError):
            return self._reply(error.status, error.body)
        _log.error("request failed: %s %s", request.method, request.path, exc_info=error)
        return self._reply(500, internal().body)

    def _facts(self, asked: _Asked) -> RequestFacts:
        key_id = asked.http.headers.get(KEY_HEADER, "")
        route = asked.found.route
        markets: tuple[str, ...] = ()
        if self._injector.book.wants_markets and isinstance(asked.body, bytes):
            query = asked.http.raw_path.partition("?")[2]
            with suppress(ValueError):
                fields = parse_qs(query, max_num_fields=QUERY_FIELDS_MAX)
                markets = markets_named(self.engine, asked.found.names, fields, asked.body)
        return RequestFacts(
            operation=HANDSHAKE if asked.path == WS_PATH else route.operation if route else "",
            method=asked.http.method,
            path=asked.path.removeprefix(PREFIX),
            key_id=key_id,
            account=self._accounts.get(key_id, ""),
            markets=markets,
        )

    def _rest(self, asked: _Asked, now_ns: int) -> web.Response:
        request, route, body = asked.http, asked.found.route, asked.body
        if isinstance(body, ApiError):
            raise body
        if route is None:
            moved = asked.path.rstrip("/")
            if moved != asked.path and self._router.find(request.method, moved).route is not None:
                response = self._reply(301, None)
                response.headers["Location"] = moved
                return response
            raise method_not_allowed() if asked.found.known else not_found()
        self._counts[route.operation] += 1
        account = self._authenticate(asked, route, now_ns)
        if route.access is Access.GONE:
            raise v1_gone()
        self._charge(request, route, account, body, now_ns)
        if route.writes and not self.engine.state.exchange_active:
            raise rejected(PAUSED)
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
            path={name: unquote(value) for name, value in asked.found.names.items()},
            query=query,
            body=body,
            now_ns=now_ns,
        )
        return self._reply(route.status, route.handler(call))

    def _authenticate(self, asked: _Asked, route: Route, now_ns: int) -> str | None:
        if route.access is Access.PUBLIC and KEY_HEADER not in asked.http.headers:
            return None
        return self._accounts[self._key_of(asked.http, asked.path, now_ns)]

    def _key_of(self, request: web.BaseRequest, path: str, now_ns: int) -> str:
        offset_ns = self._injector.book.clock_offset_ns(now_ns, checked=True)
        return self._authenticator.key_of(request.headers, request.method, path, now_ns, offset_ns)

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
        if not self._limits.take(_BUCKETS[route.access], account, cost, now_ns):
            raise too_many()

    async def _websocket(self, request: web.BaseRequest) -> web.StreamResponse:
        if self._injector.book.watches_requests:
            now_ns = self._clock.now_ns()
            found = self._router.find(request.method, WS_PATH)
            asked = _Asked(http=request, path=WS_PATH, found=found, body=b"", received_ns=now_ns)
            failed = await self._injector.before_handshake(request, self._facts(asked))
            if failed is not None:
                return failed
        key_id = self._key_of(request, WS_PATH, self._clock.now_ns())
        if request.headers.get("Upgrade", "").lower() != "websocket":
            raise flat("expected a WebSocket handshake")
        account = self._accounts[key_id]
        own = sum(1 for connection in self._connections if connection.account == account)
        if own >= CONNECTIONS_BY_ACCOUNT_MAX or len(self._connections) >= CONNECTIONS_MAX:
            raise too_many()
        self._connected += 1
        connection = Connection(
            number=self._connected,
            key_id=key_id,
            account=account,
            feed=self._feed,
            clock=self._clock,
            faults=self._injector.book,
            frames_max=self._config.queue_frames_max,
            ping_s=self._config.ping_s,
        )
        self._connections.add(connection)
        try:
            return await connection.serve(request, self._date_text())
        finally:
            self._connections.discard(connection)

    def _reply(self, status: int, body: Json | None) -> web.Response:
        headers = {"Date": self._date_text()}
        if body is None:
            return web.Response(status=status, headers=headers)
        return web.Response(
            body=_encoder.encode(body),
            status=status,
            headers=headers,
            content_type="application/json",
        )

    def _date_text(self) -> str:
        second = self._injector.date_ns(self._clock.now_ns()) // NS_PER_S
        if self._date[0] != second:
            self._date = (second, formatdate(second, usegmt=True))
        return self._date[1]

    # Questions of the admin endpoint

    def _state(self) -> dict[str, Any]:
        state = self.engine.state
        return {
            "now_s": (self._clock.now_ns() - self._started_ns) / NS_PER_S,
            "injected": dict(self._injector.book.injected),
            "faults": self._injector.book.record(),
            "requests": dict(self._counts),
            "connections": [
                {
                    "key_id": connection.key_id,
                    "account": connection.account,
                    "channels": sorted(
                        each.channel for each in connection.commands.subscriptions.values()
                    ),
                }
                for connection in self._connections
            ],
            "resting": {
                name: len(account.resting_orders())
                for name, account in state.accounts.items()
                if name in state.histories
            },
            "exchange_active": state.exchange_active,
            "trading_active": state.trading_active,
        }
