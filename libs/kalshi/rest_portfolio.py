"""Private reads: balance, positions, fills, settlements, orders, limits."""

from libs.kalshi import endpoints as at
from libs.kalshi.caller import Caller, query_of
from libs.kalshi.errors import RefusedError
from libs.kalshi.fields import NS_PER_S, decoder
from libs.kalshi.wire import portfolio as wire

PER_PAGE = 1000

_balance = decoder(wire.Balance)
_positions = decoder(wire.PositionsPage)
_fills = decoder(wire.FillsPage)
_settlements = decoder(wire.SettlementsPage)
_orders = decoder(wire.OrdersPage)
_order = decoder(wire.OrderAnswer)
_queue = decoder(wire.QueuePositionsAnswer)
_queue_of_one = decoder(wire.QueuePositionAnswer)
_resting = decoder(wire.RestingValue)
_limits = decoder(wire.AccountLimits)
_costs = decoder(wire.EndpointCosts)


class PortfolioReads:
    """Calls about our own account. All raise KalshiError (errors.py).

    `since_ns` is cut down to the exchange's whole seconds, less one: a read returns rather too
    much than too little.
    """

    _caller: Caller

    async def account_limits(self) -> wire.AccountLimits:
        """Return the tier and its two token buckets."""
        return await self._caller.call(at.ACCOUNT_LIMITS, _limits)

    async def endpoint_costs(self) -> wire.EndpointCosts:
        """Return what the calls cost in tokens."""
        return await self._caller.call(at.ENDPOINT_COSTS, _costs)

    async def balance(self) -> wire.Balance:
        """Return the cash balance, in all and per shard."""
        return await self._caller.call(at.BALANCE, _balance)

    async def positions(
        self, *, event_ticker: str = "", settlement_status: str = ""
    ) -> list[wire.Position]:
        """Return positions; `settlement_status` is unsettled (the default), settled or all."""
        query = query_of(
            [
                ("event_ticker", event_ticker),
                ("settlement_status", settlement_status),
                ("limit", PER_PAGE),
            ]
        )
        return await self._caller.pages(at.POSITIONS, _positions, query)

    async def fills(
        self, *, ticker: str = "", order_id: str = "", since_ns: int | None = None
    ) -> list[wire.Fill]:
        """Return our fills since the historical cutoff, newest first."""
        query = query_of(
            [
                ("ticker", ticker),
                ("order_id", order_id),
                ("min_ts", second_before(since_ns)),
                ("limit", PER_PAGE),
            ]
        )
        return await self._caller.pages(at.FILLS, _fills, query)

    async def settlements(
        self, *, ticker: str = "", event_ticker: str = "", since_ns: int | None = None
    ) -> list[wire.Settlement]:
        """Return payouts of settled markets."""
        query = query_of(
            [
                ("ticker", ticker),
                ("event_ticker", event_ticker),
                ("min_ts", second_before(since_ns)),
                ("limit", PER_PAGE),
            ]
        )
        return await self._caller.pages(at.SETTLEMENTS, _settlements, query)

    async def orders(
        self,
        *,
        ticker: str = "",
        event_ticker: str = "",
        status: str = "",
        since_ns: int | None = None,
    ) -> list[wire.Order]:
        """Return orders; `status` is resting, canceled, executed or "" for all.

        The exchange has no filter by client order id: search the list.
        """
        query = query_of(
            [
                ("ticker", ticker),
                ("event_ticker", event_ticker),
                ("status", status),
                ("min_ts", second_before(since_ns)),
                ("limit", PER_PAGE),
            ]
        )
        return await self._caller.pages(at.ORDERS, _orders, query)

    async def order(self, order_id: str) -> wire.Order | None:
        """Return one order, or None on 404: a single missing read proves nothing (§2.3)."""
        try:
            answer = await self._caller.call(at.ORDER, _order, names={"order_id": order_id})
        except RefusedError as refused:
            if refused.status == 404:
                return None
            raise
        return answer.order

    async def queue_positions(
        self, *, tickers: tuple[str, ...] = (), event_ticker: str = ""
    ) -> tuple[wire.QueuePosition, ...]:
        """Return the contracts ahead of our resting orders in these markets or this event."""
        if not tickers and not event_ticker:
            raise ValueError("queue_positions: expected tickers or an event")
        query = query_of([("market_tickers", ",".join(tickers)), ("event_ticker", event_ticker)])
        answer = await self._caller.call(at.QUEUE_POSITIONS, _queue, query=query)
        return answer.queue_positions or ()

    async def queue_position(self, order_id: str) -> int:
        """Return the contracts ahead of one resting order, as count_e2."""
        names = {"order_id": order_id}
        return (await self._caller.call(at.QUEUE_POSITION, _queue_of_one, names=names)).ahead_e2

    async def resting_value(self) -> wire.RestingValue:
        """Return the collateral that resting orders lock, in all and per shard."""
        return await self._caller.call(at.RESTING_VALUE, _resting)


def second_before(since_ns: int | None) -> int | None:
    """Return the exchange's whole second before a time, for a filter that must not lose any."""
    return None if since_ns is None else max(0, since_ns // NS_PER_S - 1)
