"""Carry out what the fault book decides: on requests, on connections, and in time."""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import msgspec
from aiohttp import web

from lab.exchange.engine import Engine
from lab.exchange.errors import ApiError, internal, nested, too_many
from lab.exchange.fault_book import FaultBook, RequestPlan
from lab.exchange.faults import Fault, RequestFacts
from lab.exchange.model import NS_PER_S, Event, MarketStatus, Structure
from lab.exchange.past_orders import PastOrders
from lab.exchange.rest_public import status_object
from lab.exchange.ws import Connection
from libs.common.clock import Clock

Respond = Callable[[ApiError | None], web.Response]
Refuse = Callable[[ApiError], web.Response]


class Injector:
    """The faults of one running exchange. `advance` brings the engine to the present time."""

    def __init__(
        self,
        seed: int,
        clock: Clock,
        engine: Engine,
        connections: Collection[Connection],
        advance: Callable[[int], None],
    ) -> None:
        self.book = FaultBook(seed)
        self._clock = clock
        self._engine = engine
        self._connections = connections
        self._advance = advance
        self._past = PastOrders()
        self._stopped = (False, False)
        self._halted: set[str] = set()
        self._old_grids: dict[str, Structure] = {}
        self._timer: asyncio.Task[None] | None = None
        self._closing = asyncio.Event()

    def add(self, faults: Sequence[Fault]) -> list[int]:
        """Put faults in force from now on; return their numbers. Raises ValueError when full."""
        now_ns = self._clock.now_ns()
        numbers: list[int] = []
        try:
            for fault in faults:
                numbers.append(self.book.add(fault, now_ns))
        except ValueError:
            for number in numbers:
                self.book.remove(number)
            raise
        finally:
            self._changed()
        return numbers

    def remove(self, number: int) -> bool:
        """Lift a fault at once, with what it holds back; say whether it was there."""
        found = self.book.remove(number)
        self._lifted()
        return found

    def clear(self) -> None:
        """Lift every fault at once."""
        self.book.clear()
        self._lifted()

    async def stop(self) -> None:
        """End the timer and every request that is held."""
        self._closing.set()
        if self._timer is not None:
            self._timer.cancel()
            await asyncio.gather(self._timer, return_exceptions=True)

    def take(self, event: Event) -> None:
        """See an event of the engine."""
        if self.book.reads_stale_ns:
            self._past.take(event)

    def date_ns(self, now_ns: int) -> int:
        """Return the time that `Date` shows."""
        return now_ns + self.book.clock_offset_ns(now_ns, checked=False)

    # Requests

    async def answer(
        self, request: web.BaseRequest, facts: RequestFacts, respond: Respond, refuse: Refuse
    ) -> web.Response:
        """Answer a request as the faults in force want it.

        `respond` carries it out or refuses it at once; `refuse` only makes an answer.
        """
        now_ns = self._clock.now_ns()
        plan = self.book.on_request(facts, now_ns, self._cancel_age_ns(facts, now_ns))
        if plan is None:
            return respond(None)
        if plan.delay_ns:
            await self._wait(plan.delay_ns / NS_PER_S)
        if plan.drop:
            return cut(request)
        response = self._carried_out(facts, plan, respond)
        if plan.answer is not None and plan.answer.carried_out:
            response = refuse(injected_error(plan.answer.status))
        if plan.answer_delay_ns:
            await self._wait(plan.answer_delay_ns / NS_PER_S)
        if plan.lost is not None:
            await self._wait(plan.lost.hold_s)
            return cut(request)
        return response

    async def before_handshake(
        self, request: web.BaseRequest, facts: RequestFacts
    ) -> web.Response | None:
        """Return how a handshake fails, or None when it may go on. Raises ApiError."""
        plan = self.book.on_request(facts, self._clock.now_ns())
        if plan is None:
            return None
        if plan.delay_ns:
            await self._wait(plan.delay_ns / NS_PER_S)
        if plan.lost is not None:
            await self._wait(plan.lost.hold_s)
        if plan.drop or plan.lost is not None:
            return cut(request)
        if plan.answer is not None:
            raise injected_error(plan.answer.status)
        return None

    def _carried_out(
        self, facts: RequestFacts, plan: RequestPlan, respond: Respond
    ) -> web.Response:
        if plan.answer is not None and not plan.answer.carried_out:
            return respond(injected_error(plan.answer.status))
        if plan.stale_ns:
            now_ns = self._clock.now_ns()
            self._advance(now_ns)  # nothing may become due while the past is shown
            with self._past.restored(self._engine.state, facts.account, now_ns - plan.stale_ns):
                return respond(None)
        first = respond(None)
        if plan.twice is None:
            return first
        second = respond(None)
        return first if plan.twice.shown == "first" else second

    def _cancel_age_ns(self, facts: RequestFacts, now_ns: int) -> int | None:
        if not self.book.reads_stale_ns:
            return None
        one = facts.path.rpartition("/")[2] if facts.operation == "GetOrder" else None
        return self._past.newest_age_ns(facts.account, one, now_ns)

    async def _wait(self, seconds: float) -> None:
        """Wait in the exchange's time, or until the server stops."""
        waits = [
            asyncio.ensure_future(self._clock.sleep(seconds)),
            asyncio.ensure_future(self._closing.wait()),
        ]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    # Time

    def _changed(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.create_task(self._keep_time())

    def _lifted(self) -> None:
        for connection in self._connections:
            connection.release()
        self._changed()

    async def _keep_time(self) -> None:
        next_ns: int | None = self._clock.now_ns()
        while next_ns is not None:
            await self._clock.sleep_until(next_ns)
            now_ns = self._clock.now_ns()
            self._apply_states(now_ns)
            for entry in self.book.due(now_ns):
                for connection in list(self._connections):
                    connection.strike(entry, now_ns)
            next_ns = self.book.next_moment_ns(now_ns)

    def _apply_states(self, now_ns: int) -> None:
        self._advance(now_ns)
        engine, tickers = self._engine, list(self._engine.state.markets)
        stopped = self.book.stops(now_ns)
        if stopped != self._stopped:
            self._stopped = stopped
            trading, exchange = stopped
            engine.set_pause(
                exchange_active=not exchange, trading_active=not trading, now_ns=now_ns
            )
        halted = self.book.halted(now_ns, tickers)
        for ticker in tickers:
            status = engine.market(ticker).status
            if ticker in halted and status is MarketStatus.ACTIVE:
                self._halted.add(ticker)
                engine.set_market_active(ticker, active=False, now_ns=now_ns)
            elif ticker in self._halted - halted:
                self._halted.discard(ticker)
                if status is MarketStatus.INACTIVE:
                    engine.set_market_active(ticker, active=True, now_ns=now_ns)
        grids = self.book.tick_grids(now_ns, tickers)
        for ticker in {*grids, *self._old_grids}:
            now = engine.market(ticker).spec.structure
            wanted = grids.get(ticker) or self._old_grids.pop(ticker)
            if ticker in grids:
                self._old_grids.setdefault(ticker, now)
            if wanted != now:
                engine.set_structure(ticker, wanted, now_ns)


def injected_error(status: int) -> ApiError:
    """Return the exchange's own answer with that status."""
    if status == 409:
        return nested(409, "order_already_exists", "order already exists")
    if status == 429:
        return too_many()
    if status == 503:
        return ApiError(503, status_object(exchange_active=False, trading_active=False))
    return internal()


def cut(request: web.BaseRequest) -> web.Response:
    """End the connection of a request without a word."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=500)  # nobody gets it: the connection is gone


def markets_named(
    engine: Engine, names: Mapping[str, str], query: Mapping[str, Sequence[str]], body: bytes
) -> tuple[str, ...]:
    """Return the markets that a request names, itself or by its orders."""
    found: list[object] = [names.get("ticker")]
    for name in ("ticker", "tickers", "market_tickers"):
        for text in query.get(name, ()):
            found += text.split(",")
    order_ids: list[object] = [names.get("order_id")]
    for item in _order_items(body):
        found.append(item.get("ticker"))
        order_ids.append(item.get("order_id"))
    orders = engine.state.orders
    found += [orders[key].ticker for key in order_ids if isinstance(key, str) and key in orders]
    return tuple(ticker for ticker in found if isinstance(ticker, str) and ticker)


def _order_items(body: bytes) -> list[dict[str, Any]]:
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return []
    if not isinstance(value, dict):
        return []
    orders = value.get("orders")
    return [
        item
        for item in (value, *(orders if isinstance(orders, list) else ()))
        if isinstance(item, dict)
    ]
