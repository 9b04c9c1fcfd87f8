"""The real simulated exchange without sockets: its engine, routes, limits and feed, behind a wire
that loses, delays and repeats what an internet connection may.
"""

import asyncio
from email.utils import formatdate
from urllib.parse import parse_qs, unquote

import msgspec

from lab.exchange.call import Call
from lab.exchange.commands import Commands
from lab.exchange.engine import Engine
from lab.exchange.errors import ApiError, not_found, too_many
from lab.exchange.feed import Feed
from lab.exchange.ladders import LadderConfig, build_ladder
from lab.exchange.limits import Limits
from lab.exchange.model import NewOrder, OrderChanged, Rejected
from lab.exchange.routes import Router
from lab.exchange.server import _BUCKETS
from lab.exchange.settling import settle_closed
from lab.exchange.wire import order_object, wire_ms
from libs.common.clock import NS_PER_S
from libs.kalshi.errors import NoAnswerError, NotSentError
from libs.kalshi.transport import Answer
from libs.kalshi.ws_session import SessionLimits, StreamSession

OURS, CROWD = "ours", "crowd"
STALE_NS = 360_000_000
"""A read may show the time this long before it (kalshi-api.md §2.3)."""
APART_S = 1e-6
LATE_S_MAX = 2.5
"""A request whose connection broke arrives this much later at most."""
STATUS_BODY = b'{"exchange_active": true, "trading_active": true}'
_encode = msgspec.json.Encoder().encode
_ROUTER = Router()
_KINDS = {
    ("POST", "CreateOrderV2"): "place",
    ("POST", "AmendOrderV2"): "amend",
    ("DELETE", "BatchCancelOrdersV2"): "cancel",
    ("DELETE", "CancelOrderV2"): "cancel",
    ("DELETE", "CancelAllOrders"): "cancel_all",
    ("POST", "CreateOrderGroup"): "group",
    ("PUT", "TriggerOrderGroup"): "group",
    ("PUT", "ResetOrderGroup"): "group",
    ("PUT", "UpdateOrderGroupLimit"): "group",
    ("DELETE", "DeleteOrderGroup"): "group",
}


class Venue:
    """The exchange's side of the wire, at true time."""

    def __init__(self, world, ladder: LadderConfig, *, belt):
        self.world = world
        self.belt = belt
        """Off: the exchange forgets expiration times, only the broker's cancels are left."""
        self.engine = Engine(world.seed)
        self.limits = Limits("advanced", 1_000.0)
        self.feed = Feed(self.engine)
        self.connections: set[SimSocket] = set()
        self.orders_seen: list[tuple[int, dict]] = []
        self.engine.listen(self._take)
        self.engine.add_ladder(build_ladder(ladder, NS_PER_S), world.true_ns())
        for account in (OURS, CROWD):
            self.engine.open_account(account, 10**11)

    def _take(self, event):
        if isinstance(event, OrderChanged) and event.order.account == OURS:
            self.orders_seen.append((event.at_ns, order_object(event.order)))
        self.world.truth.take(event)
        self.feed.take(event)

    def advance(self):
        """Do what is due at the exchange, and tell of it."""
        now_ns = self.world.true_ns()
        self.engine.advance(now_ns)
        settle_closed(self.engine, lambda *_: self.world.settlement_level_e4, now_ns)
        self.feed.flush_tickers(now_ns)

    def trade(self, ticker, side, price_e4, count_e2):
        """Let another participant take what rests."""
        order = NewOrder(
            ticker=ticker,
            side=side,
            price_e4=price_e4,
            count_e2=count_e2,
            time_in_force="immediate_or_cancel",
        )
        return not isinstance(self.engine.place(CROWD, order, self.world.true_ns()), Rejected)

    def answer(self, method, path, query, body, *, stale=False):
        """Return (status, body) as the server would, now."""
        now_ns = self.world.true_ns()
        try:
            found = _ROUTER.find(method, path)
            route, names = found.route, found.names
            if route is None:
                raise not_found()
            if (bucket := _BUCKETS.get(route.access)) is not None:
                cost = route.cost if isinstance(route.cost, int) else route.cost(body)
                if not self.limits.take(bucket, OURS, cost, now_ns):
                    raise too_many()
            self.advance()
            if stale and (old := self._old_orders(route.operation, names, query)) is not None:
                return 200, _encode(old)
            call = Call(
                engine=self.engine,
                limits=self.limits,
                account=OURS,
                operation=route.operation,
                path={name: unquote(value) for name, value in names.items()},
                query=query,
                body=self._without_belt(route.operation, body),
                now_ns=now_ns,
            )
            shown = route.handler(call)
        except ApiError as error:
            return error.status, _encode(error.body)
        return route.status, b"" if shown is None else _encode(shown)

    def _without_belt(self, operation, body):
        if self.belt or operation != "CreateOrderV2":
            return body
        order = msgspec.json.decode(body)
        order.pop("expiration_time", None)
        return _encode(order)

    def _old_orders(self, operation, names, query):
        """Return the orders as they were `STALE_NS` ago, None for any other read."""
        then = {}
        for at_ns, shown in self.orders_seen:
            if at_ns <= self.world.true_ns() - STALE_NS:
                then[shown["order_id"]] = shown
        if operation == "GetOrder":
            found = then.get(names["order_id"])
            return None if found is None else {"order": found}
        if operation != "GetOrders":
            return None
        status = query.get("status", [""])[0]
        events = query.get("event_ticker", [""])[0]
        chosen = [
            shown
            for shown in reversed(then.values())
            if status in ("", shown["status"])
            and (not events or shown["ticker"].startswith(f"{events}-"))
        ]
        return {"orders": chosen, "cursor": ""}


class Wire:
    """How the internet is at the moment: which faults may happen, and how often."""

    FAULTS = (
        "late",
        "no connection",
        "request lost",
        "answer lost",
        "late",
        "429",
        "500 undone",
        "500 done",
        "503 undone",
        "503 done",
        "slow",
    )

    def __init__(self):
        self.rate = 0.0
        self.faults = self.FAULTS
        self.stale_rate = 0.0
        self.is_down = False

    def pick(self, dice):
        if self.is_down:
            return dice.choice(("no connection", "request lost", "answer lost"))
        if self.rate and dice.random() < self.rate:
            return dice.choice(self.faults)
        return ""


class SimTransport:
    """Carries the requests of one process."""

    def __init__(self, world, process, timeout_s):
        self.world = world
        self.process = process
        self.timeout_s = timeout_s
        self.closed = False

    async def send(self, method, url, headers, body):
        world, dice = self.world, self.world.dice
        path, _, query_text = url.partition("://")[2].partition("/")[2].partition("?")
        route = _ROUTER.find(method, f"/{path}").route
        kind = _KINDS.get((method, route.operation), "read") if route else "read"
        call = f"{method} {path}"
        if self.closed:
            raise NotSentError(call, "closed")
        world.at(f"http.{kind}.unsent")
        fault = world.wire.pick(dice)
        world.count_fault(f"http {fault}" if fault else "")
        world.sent(self.process, kind, path, body)
        if fault == "no connection":
            raise NotSentError(call, "simulated")
        if fault == "429":
            return Answer(429, b'{"error": "too many requests"}')
        request = (method, f"/{path}", parse_qs(query_text), body or b"")
        there_s = 0.002 + 0.01 * dice.random() ** 2
        if fault == "late":
            world.loop.outside(dice.random() * LATE_S_MAX, self._arrive, kind, request, None)
        answered = world.loop.create_future()
        if fault in ("", "answer lost", "500 done", "503 done", "slow"):
            there_s += 3.0 * dice.random() if fault == "slow" else 0.0
            world.loop.outside(there_s, self._arrive, kind, request, (answered, fault))
            world.at(f"http.{kind}.flying")
        if fault in ("request lost", "answer lost", "late"):
            await asyncio.sleep(dice.choice((0.01, 0.3, self.timeout_s)))
            raise NoAnswerError(call, f"simulated: {fault}")
        if fault == "500 undone":
            return Answer(500, b"{}")
        if fault == "503 undone":
            return Answer(503, STATUS_BODY)
        try:
            async with asyncio.timeout(self.timeout_s):
                status, shown = await answered
        except TimeoutError:
            raise NoAnswerError(call, "no whole answer in time") from None
        world.at(f"http.{kind}.answered")
        date = formatdate(world.true_ns() // NS_PER_S, usegmt=True)
        if fault == "500 done":
            return Answer(500, b"{}", date)
        return (
            Answer(503, STATUS_BODY, date) if fault == "503 done" else Answer(status, shown, date)
        )

    def _arrive(self, kind, request, back):
        world = self.world
        stale = kind == "read" and world.dice.random() < world.wire.stale_rate
        status, shown = world.venue.answer(*request, stale=stale)
        if back is not None:
            world.kill_at(f"http.{kind}.done", self.process)
            answered, fault = back
            if fault != "answer lost":
                back_s = 0.002 + 0.01 * world.dice.random() ** 2
                back_s += 3.0 * world.dice.random() if fault == "slow" else 0.0
                world.loop.outside(back_s, self._settle, answered, status, shown)

    @staticmethod
    def _settle(answered, status, shown):
        if not answered.done():
            answered.set_result((status, shown))

    async def close(self):
        self.closed = True


class SimSocket:
    """One WebSocket connection: the exchange's frames, in order, as far as they come through."""

    def __init__(self, world):
        self.world = world
        self.frames = asyncio.Queue()
        self.over = False
        self._last_s = 0.0
        self.commands = Commands(
            world.venue.feed, OURS, self._put, self._put_numbered, world.true_ns
        )
        world.venue.connections.add(self)

    def _put_numbered(self, subscription, frame):
        del subscription
        self._put(frame)

    def _put(self, frame):
        """Send a frame towards the client; the channel's own faults apply."""
        world = self.world
        fault = world.pick_frame_fault()
        if self.over or fault == "gap":
            return
        text = _encode({**frame, "sending_ts_ms": wire_ms(world.true_ns())}).decode()
        self.deliver(text[: len(text) // 2] if fault == "garbage" else text)
        if fault == "twice":
            self.deliver(text)

    def deliver(self, text):
        now_s = self.world.loop.time()
        takes_s = 0.001 + 0.02 * self.world.dice.random()
        self._last_s = max(self._last_s + APART_S, now_s + takes_s, self.world.silent_until_s)
        self.world.loop.outside(self._last_s - now_s, self.frames.put_nowait, text)

    def say_error(self, code):
        """Send one of the exchange's terminal errors."""
        self.deliver(f'{{"type":"error","msg":{{"code":{code},"msg":"simulated"}}}}')

    def cut(self):
        """End the connection; what is on its way is lost."""
        if not self.over:
            self.over = True
            self.commands.close()
            self.world.venue.connections.discard(self)
            self.world.loop.outside(0.001, self.frames.put_nowait, None)

    # What `StreamSession` asks of a socket

    async def send(self, text):
        if not self.over:
            self.world.loop.outside(0.002, self._run, text)

    def _run(self, text):
        if not self.over:
            self.commands.run(text)

    async def recv(self):
        text = await self.frames.get()
        self.world.at("frame.given")
        if text is None:
            raise ConnectionError("simulated: cut")
        return text


class SimSession(StreamSession):
    """The real session on a simulated socket."""

    world = None

    def __init__(self, url, stream, headers, handler, clock):
        limits = SessionLimits(poll_s=1.0)
        super().__init__(url, stream, headers, handler, clock, limits, self.world.dice)

    async def _one_connection(self):
        await self._headers()
        await asyncio.sleep(0.02)
        if self.world.wire.is_down:
            return "connection lost: simulated"
        self._socket = SimSocket(self.world)
        try:
            return await self._serve(self._socket)
        except ConnectionError as error:
            return f"connection lost: {error}"
        finally:
            self._socket.cut()
            self._socket = None
