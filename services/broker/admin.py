"""gRPC `BrokerAdmin`: what operators may ask. Every answer is what the exchange showed."""

import asyncio
import time
from collections.abc import Callable
from typing import Any, Protocol

import grpc

from libs.common.bus import BusError
from libs.kalshi.errors import KalshiError
from proto import broker_pb2 as pb
from proto import broker_pb2_grpc
from services.broker.core import BrokerCore
from services.broker.events import CancelAllAsked, GroupResetAsked
from services.broker.exchange import Exchange
from services.broker.killswitch import KillSwitchKeeper
from services.broker.orders import Order

ORDERS_MAX = 10_000
TEXT_MAX = 500


class Desk(Protocol):
    """What the admin calls need of the running broker."""

    core: BrokerCore
    exchange: Exchange
    switch: KillSwitchKeeper

    def dispatch(self, event: CancelAllAsked | GroupResetAsked) -> object:
        """Hand an event to the core."""
        ...

    def now_ns(self) -> int:
        """Return the present time of the run's clock."""
        ...

    def detail(self) -> str:
        """Return the broker's one-line summary."""
        ...


class BrokerAdmin(broker_pb2_grpc.BrokerAdminServicer):
    """Answer operators once the broker has recovered; before that it holds no lease and
    places nothing.
    """

    def __init__(self, confirm_s: float, confirm_every_s: float) -> None:
        self._confirm_s = confirm_s
        self._confirm_every_s = confirm_every_s
        self._desk: Desk | None = None

    def attach(self, desk: Desk) -> None:
        """Begin to answer."""
        self._desk = desk

    def add_to(self, server: grpc.aio.Server) -> str:
        """Register with a server; return the service's full name."""
        broker_pb2_grpc.add_BrokerAdminServicer_to_server(self, server)
        return str(pb.DESCRIPTOR.services_by_name["BrokerAdmin"].full_name)

    async def EngageKillSwitch(  # noqa: N802
        self, request: pb.KillSwitchRequest, context: Any
    ) -> pb.CancelReply:
        desk = await self._ready(context)
        await _demand_words(request, context)
        started_s = time.perf_counter()
        problem = ""
        try:
            await desk.switch.engage(request.reason, request.by)
        except (BusError, TimeoutError) as error:
            problem = f"engaged in this process but not stored: {error}"[:TEXT_MAX]
        return await self._confirm(desk, lambda _: True, started_s, problem)

    async def ReleaseKillSwitch(  # noqa: N802
        self, request: pb.KillSwitchRequest, context: Any
    ) -> pb.BrokerState:
        desk = await self._ready(context)
        await _demand_words(request, context)
        try:
            await desk.switch.release(request.reason, request.by)
        except (BusError, TimeoutError) as error:
            text = f"not released, it could not be stored: {error}"[:TEXT_MAX]
            await context.abort(grpc.StatusCode.UNAVAILABLE, text)
        return _state(desk)

    async def GetState(  # noqa: N802
        self, request: pb.GetStateRequest, context: Any
    ) -> pb.BrokerState:
        del request
        return _state(await self._ready(context))

    async def ListOrders(  # noqa: N802
        self, request: pb.ListOrdersRequest, context: Any
    ) -> pb.OrderList:
        desk = await self._ready(context)
        books = desk.core.state
        orders = list(books.orders.values()) if request.include_ended else books.open_orders()
        return pb.OrderList(orders=[_order(order) for order in orders[-ORDERS_MAX:]])

    async def CancelAll(  # noqa: N802
        self, request: pb.CancelAllRequest, context: Any
    ) -> pb.CancelReply:
        desk = await self._ready(context)
        wanted = request.event_ticker
        if wanted and wanted not in desk.core.state.events:
            text = f"event_ticker: expected an event that was quoted, got {wanted[:80]!r}"
            await context.abort(grpc.StatusCode.NOT_FOUND, text)
        started_s = time.perf_counter()
        reason = request.reason or "operator"
        asked = CancelAllAsked(now_ns=desk.now_ns(), event_ticker=wanted, reason=reason)
        desk.dispatch(asked)
        prefix = f"{wanted}-" if wanted else ""
        return await self._confirm(desk, lambda ticker: ticker.startswith(prefix), started_s, "")

    async def ResetOrderGroup(  # noqa: N802
        self, request: pb.ResetOrderGroupRequest, context: Any
    ) -> pb.BrokerState:
        desk = await self._ready(context)
        event = desk.core.state.events.get(request.event_ticker)
        if event is None or not event.group_triggered_ns:
            text = f"event_ticker: expected one that is stopped, got {request.event_ticker[:80]!r}"
            await context.abort(grpc.StatusCode.NOT_FOUND, text)
        desk.dispatch(GroupResetAsked(now_ns=desk.now_ns(), event_ticker=request.event_ticker))
        return _state(desk)

    async def _confirm(
        self, desk: Desk, concerns: Callable[[str], bool], started_s: float, problem: str
    ) -> pb.CancelReply:
        """Read the exchange until nothing concerned rests or may come to rest, or time is up."""
        resting, detail, confirmed = 0, "", False
        while True:
            open_orders = [one for one in desk.core.state.open_orders() if concerns(one.ticker)]
            flying = [one for one in open_orders if one.in_flight is not None]
            unknown = sum(one.state == "unknown" for one in open_orders)
            if not flying:
                try:
                    shown = await desk.exchange.resting_orders()
                    resting = sum(concerns(order.ticker) for order in shown)
                    confirmed = resting == 0 and unknown == 0 and not problem
                    detail = ""
                except KalshiError as error:
                    detail = f"the exchange could not be read: {error}"[:TEXT_MAX]
            elapsed_s = time.perf_counter() - started_s
            if confirmed or (problem and resting == unknown == 0 and not flying):
                break
            if elapsed_s > self._confirm_s:
                detail = detail or f"not confirmed within {self._confirm_s:.0f} s"
                break
            await asyncio.sleep(self._confirm_every_s)
        return pb.CancelReply(
            confirmed_zero=confirmed,
            resting=resting,
            unknown=unknown,
            elapsed_ms=elapsed_s * 1_000,
            detail=" ".join(part for part in (problem, detail) if part),
        )

    async def _ready(self, context: Any) -> Desk:
        if self._desk is None:
            await context.abort(
                grpc.StatusCode.UNAVAILABLE,
                "the broker is recovering or standing by and places nothing; ask again shortly",
            )
        assert self._desk is not None, "abort raises"
        return self._desk


async def _demand_words(request: pb.KillSwitchRequest, context: Any) -> None:
    for name in ("reason", "by"):
        value = getattr(request, name)
        if not value.strip() or len(value) > TEXT_MAX:
            text = f"{name}: expected 1 to {TEXT_MAX} characters for the record, got {len(value)}"
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, text)


def _state(desk: Desk) -> pb.BrokerState:
    open_orders = desk.core.state.open_orders()
    switch = desk.switch
    return pb.BrokerState(
        kill_switch_engaged=switch.engaged,
        kill_switch_reason=switch.state.reason,
        kill_switch_by=switch.state.by,
        kill_switch_at_ns=switch.state.at_ns,
        epoch=desk.core.epoch,
        accepting_verdicts=desk.core.phase == "live" and not desk.core.draining,
        resting=sum(one.state in ("resting", "partially_filled") for one in open_orders),
        unknown=sum(one.state == "unknown" for one in open_orders),
        detail=desk.detail(),
    )


def _order(order: Order) -> pb.Order:
    return pb.Order(
        client_order_id=order.client_order_id,
        order_id=order.order_id,
        event_ticker=order.event_ticker,
        ticker=order.ticker,
        side=order.side,
        price_e4=order.price_e4,
        count_e2=order.count_e2,
        filled_e2=order.filled_e2,
        state=order.state,
    )
