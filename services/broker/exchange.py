"""The exchange as the broker uses it: budgeted calls whose every outcome is one of five words.

`refused`, `not_sent` and `rate_limited` prove that nothing was done. Everything else that is no
answer is `unknown`; nothing here sends a write twice.
"""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Literal, TypeVar

from msgspec import Struct

from libs.common.clock import NS_PER_S, Clock
from libs.common.logs import Logger
from libs.common.metrics import Metrics
from libs.kalshi import endpoints as at
from libs.kalshi import errors
from libs.kalshi.endpoints import Endpoint
from libs.kalshi.rate import BASIC_LIMITS, NEVER_NS, RateBudget
from libs.kalshi.rest import KalshiClient
from libs.kalshi.rest_orders import ItemRefused
from libs.kalshi.wire import orders as wire
from libs.kalshi.wire import portfolio
from libs.kalshi.wire.frames import FillUpdate
from libs.kalshi.wire.frames import OrderUpdate as OrderFrame
from services.broker.events import (
    AmendOrder,
    CancelTarget,
    ExchangeFill,
    ExchangeGroup,
    ExchangeOrder,
    ExchangePayout,
    Outcome,
    SubmitOrder,
)

Gate = Callable[[], str]
"""Return why a write may not go out now, "" if it may; asked right before it is sent."""

E6_PER_CENT = 10_000
ReadType = TypeVar("ReadType")

_NO_AUTH = (401, 403)


class Attempt(Struct, frozen=True, kw_only=True):
    """What became of one write."""

    outcome: Outcome
    code: str = ""
    order_id: str = ""
    filled_e2: int | None = None
    remaining_e2: int | None = None
    reduced_e2: int | None = None
    exchange_ns: int = 0


class Exchange:
    """Calls of one account, within its rate limits; creates and amends leave a reserve for
    cancels.
    """

    def __init__(
        self,
        client: KalshiClient,
        clock: Clock,
        metrics: Metrics,
        log: Logger,
        *,
        cancel_reserve_tokens: int,
        token_wait_s: float,
    ) -> None:
        self.client = client
        self._clock = clock
        self._metrics = metrics
        self._log = log
        self._reserve = cancel_reserve_tokens
        self._wait_ns = round(token_wait_s * NS_PER_S)
        self.auth_errors = 0
        """How many calls in a row the exchange refused for their key or signature."""
        self.accepted_ns = 0
        self._budget = RateBudget(BASIC_LIMITS, None, cancel_reserve_tokens, clock.now_ns())

    async def learn_limits(self) -> None:
        """Size the budget from the account's own limits. Raises KalshiError."""
        limits = await self.client.account_limits()
        costs = await self.client.endpoint_costs()
        self._budget = RateBudget(limits, costs, self._reserve, self._clock.now_ns())

    # Writes

    async def place(self, order: SubmitOrder, gate: Gate, started: Callable[[], None]) -> Attempt:
        """Place a post-only order; `started` is called right before it is sent.

        `taker_at_cross` leaves the order that rests alone, which costs no queue place.
        """
        request = wire.NewOrder(
            ticker=order.ticker,
            client_order_id=order.client_order_id,
            side=order.side,
            price_e4=order.price_e4,
            count_e2=order.count_e2,
            expires_ns=order.expiration_ns,
            self_trade_prevention="taker_at_cross",
            post_only=True,
            cancel_order_on_pause=True,
            order_group_id=order.order_group_id or None,
        )

        async def send() -> Attempt:
            started()
            created = await self.client.create_order(request)
            return Attempt(
                outcome="accepted",
                order_id=created.order_id,
                filled_e2=created.filled_e2,
                remaining_e2=created.remaining_e2,
                exchange_ns=created.processed_ns,
            )

        return (await self._write(at.CREATE_ORDER, 1, gate, send))[0]

    async def amend(self, change: AmendOrder, gate: Gate) -> Attempt:
        """Change an order's price and total."""
        request = wire.Amendment(
            ticker=change.ticker,
            side=change.side,
            price_e4=change.price_e4,
            total_e2=change.total_e2,
        )

        async def send() -> Attempt:
            amended = await self.client.amend_order(change.order_id, request)
            return Attempt(
                outcome="accepted",
                order_id=amended.order_id,
                filled_e2=amended.filled_e2,
                remaining_e2=amended.remaining_e2,
                exchange_ns=amended.processed_ns,
            )

        return (await self._write(at.AMEND_ORDER, 1, gate, send))[0]

    async def cancel(self, targets: Sequence[CancelTarget], gate: Gate) -> list[Attempt]:
        """Cancel orders in one call; one attempt for each target, in order."""

        async def send() -> list[Attempt]:
            ids = [target.order_id for target in targets]
            return [_cancelled(item) for item in await self.client.cancel_orders(ids)]

        return await self._write(at.BATCH_CANCEL, len(targets), gate, send)

    async def cancel_everything(self, gate: Gate) -> Attempt:
        """Cancel whatever rests on the account."""

        async def send() -> Attempt:
            await self.client.cancel_all()
            return Attempt(outcome="accepted")

        return (await self._write(at.CANCEL_ALL, 1, gate, send))[0]

    async def create_group(self, limit_e2: int, gate: Gate) -> Attempt:
        """Make an order group; its id is the attempt's `order_id`."""

        async def send() -> Attempt:
            group_id = await self.client.create_order_group(limit_e2)
            return Attempt(outcome="accepted", order_id=group_id)

        return (await self._write(at.CREATE_GROUP, 1, gate, send))[0]

    async def reset_group(self, order_group_id: str, gate: Gate) -> Attempt:
        """Let a triggered group take orders again."""

        async def send() -> Attempt:
            await self.client.reset_order_group(order_group_id)
            return Attempt(outcome="accepted")

        return (await self._write(at.RESET_GROUP, 1, gate, send))[0]

    async def delete_group(self, order_group_id: str, gate: Gate) -> Attempt:
        """Delete a group and with it what rests in it."""

        async def send() -> Attempt:
            await self.client.delete_order_group(order_group_id)
            return Attempt(outcome="accepted")

        return (await self._write(at.DELETE_GROUP, 1, gate, send))[0]

    async def _write(
        self,
        endpoint: Endpoint,
        items: int,
        gate: Gate,
        send: Callable[[], Awaitable[Attempt | list[Attempt]]],
    ) -> list[Attempt]:
        """Wait for tokens, ask the gate, send once; every item has an outcome."""
        call = f"{endpoint.method} {endpoint.template}"
        if not await self._tokens(endpoint, items):
            return self._counted(call, [Attempt(outcome="not_sent", code="budget")] * items)
        if reason := gate():
            return self._counted(call, [Attempt(outcome="not_sent", code=reason)] * items)
        try:
            done = await send()
        except errors.KalshiError as error:
            self._fared(error)
            attempt = _failed(error)
            if attempt.outcome == "rate_limited":
                self._budget.refused(endpoint, self._clock.now_ns())
            self._log.warning("write failed", call=call, outcome=attempt.outcome, why=str(error))
            return self._counted(call, [attempt] * items)
        self._fared(None)
        return self._counted(call, done if isinstance(done, list) else [done])

    def _fared(self, error: errors.KalshiError | None) -> None:
        """Count refusals of our key in a row; an answer of another kind says nothing of it."""
        if error is None:
            self.auth_errors, self.accepted_ns = 0, self._clock.now_ns()
        elif isinstance(error, errors.RefusedError) and error.status in _NO_AUTH:
            self.auth_errors += 1

    def _counted(self, call: str, attempts: list[Attempt]) -> list[Attempt]:
        for attempt in attempts:
            self._metrics.exchange_requests_total.labels(call, attempt.outcome).inc()
        return attempts

    async def _tokens(self, endpoint: Endpoint, items: int = 1) -> bool:
        """Take the call's tokens within the allowed wait; tell whether."""
        until_ns = self._clock.now_ns() + self._wait_ns
        while True:
            now_ns = self._clock.now_ns()
            if self._budget.take(endpoint, now_ns, items):
                return True
            wait_ns = self._budget.wait_ns(endpoint, now_ns, items)
            if wait_ns >= NEVER_NS or now_ns + wait_ns > until_ns:
                return False
            await self._clock.sleep_until(now_ns + wait_ns)

    # Reads

    async def event_orders(
        self, event_ticker: str, order_ids: Sequence[str]
    ) -> tuple[ExchangeOrder, ...]:
        """Return an event's orders of every status, and those ids that the list lacks.

        Raises KalshiError when the answer would not be complete.
        """
        found = await self._read(at.ORDERS, lambda: self.client.orders(event_ticker=event_ticker))
        known = {order.order_id for order in found}
        for order_id in order_ids:
            if order_id not in known:
                one = await self._read(at.ORDER, partial(self.client.order, order_id))
                found += [one] if one is not None else []
        return tuple(map(order_shown, found))

    async def resting_orders(self) -> tuple[ExchangeOrder, ...]:
        """Return all that rests on the account. Raises KalshiError."""
        found = await self._read(at.ORDERS, lambda: self.client.orders(status="resting"))
        return tuple(map(order_shown, found))

    async def groups(self) -> tuple[ExchangeGroup, ...]:
        """Return the account's order groups. Raises KalshiError."""
        found = await self._read(at.ORDER_GROUPS, self.client.order_groups)
        return tuple(
            ExchangeGroup(
                order_group_id=one.id,
                limit_e2=one.contracts_limit_e2,
                auto_cancel=one.is_auto_cancel_enabled,
            )
            for one in found
        )

    async def fills(self, since_ns: int | None) -> list[ExchangeFill]:
        """Return the account's fills since a time, oldest first. Raises KalshiError."""
        found = await self._read(at.FILLS, lambda: self.client.fills(since_ns=since_ns))
        return [_fill(one, "", one.created_ns or 0) for one in reversed(found)]

    async def cutoffs(self) -> tuple[int, int]:
        """Return before which times ended orders and fills are among the past ones alone.

        Raises KalshiError.
        """
        cutoff = await self._read(at.HISTORICAL_CUTOFF, self.client.historical_cutoff)
        return cutoff.orders_updated_ns, cutoff.trades_created_ns

    async def past_fills(self, since_ns: int) -> list[ExchangeFill]:
        """Return our fills before the cutoff, oldest first. Raises KalshiError."""
        call = partial(self.client.historical_fills, since_ns=since_ns)
        found = await self._read(at.HISTORICAL_FILLS, call)
        return [_fill(one, "", one.created_ns or 0) for one in reversed(found)]

    async def past_orders(self, ticker: str) -> tuple[ExchangeOrder, ...]:
        """Return a market's orders that ended before the cutoff. Raises KalshiError."""
        call = partial(self.client.historical_orders, ticker=ticker)
        return tuple(map(order_shown, await self._read(at.HISTORICAL_ORDERS, call)))

    async def positions(self) -> tuple[tuple[str, int], ...]:
        """Return the unsettled positions. Raises KalshiError."""
        found = await self._read(at.POSITIONS, self.client.positions)
        return tuple((one.ticker, one.position_e2) for one in found)

    async def balance(self) -> int:
        """Return the cash in e6. Raises KalshiError."""
        return (await self._read(at.BALANCE, self.client.balance)).balance_e6

    async def payouts(self, event_ticker: str) -> tuple[ExchangePayout, ...]:
        """Return what was paid for an event's markets. Raises KalshiError."""
        call = partial(self.client.settlements, event_ticker=event_ticker)
        return tuple(map(_payout, await self._read(at.SETTLEMENTS, call)))

    async def _read(self, endpoint: Endpoint, call: Callable[[], Awaitable[ReadType]]) -> ReadType:
        """Take tokens, then make the call; a read without tokens is made all the same, later."""
        for _ in range(10):
            if await self._tokens(endpoint):
                break
        label = f"{endpoint.method} {endpoint.template}"
        try:
            answer = await call()
        except errors.KalshiError as error:
            self._fared(error)
            self._metrics.exchange_requests_total.labels(label, _failed(error).outcome).inc()
            raise
        self._fared(None)
        self._metrics.exchange_requests_total.labels(label, "accepted").inc()
        return answer


def _failed(error: errors.KalshiError) -> Attempt:
    if isinstance(error, errors.RefusedError):
        return Attempt(outcome="refused", code=error.code or str(error.status))
    if isinstance(error, errors.RateLimitedError):
        return Attempt(outcome="rate_limited")
    if isinstance(error, errors.NotSentError):
        return Attempt(outcome="not_sent", code="no connection")
    return Attempt(outcome="unknown", code=type(error).__name__)


def _cancelled(item: wire.BatchCancelItem | ItemRefused) -> Attempt:
    if isinstance(item, ItemRefused):
        outcome: Outcome = "refused" if item.proven else "unknown"
        return Attempt(outcome=outcome, code=item.refusal.code)
    return Attempt(
        outcome="accepted",
        order_id=item.order_id,
        reduced_e2=item.reduced_by_e2,
        exchange_ns=item.processed_ns or 0,
    )


def order_shown(order: portfolio.Order | OrderFrame) -> ExchangeOrder:
    """Return an order of a read or a frame in the core's terms."""
    reason = order.last_update_reason if isinstance(order, OrderFrame) else ""
    return ExchangeOrder(
        order_id=order.order_id,
        client_order_id=order.client_order_id,
        ticker=order.ticker,
        side=order.side,
        price_e4=order.price_e4,
        filled_e2=order.filled_e2,
        remaining_e2=order.remaining_e2,
        status=order.status,
        reason=reason or "",
        expiration_ns=order.expiration_ns or 0,
        changed_ns=order.updated_ns or 0,
    )


def fill_shown(fill: FillUpdate) -> ExchangeFill:
    """Return a fill of the socket in the core's terms."""
    return _fill(fill, fill.client_order_id or "", fill.at_ns)


def _fill(
    fill: portfolio.Fill | FillUpdate, client_order_id: str, exchange_ns: int
) -> ExchangeFill:
    return ExchangeFill(
        trade_id=fill.trade_id,
        order_id=fill.order_id,
        client_order_id=client_order_id,
        ticker=fill.ticker,
        side=fill.side,
        price_e4=fill.price_e4,
        count_e2=fill.count_e2,
        is_taker=fill.is_taker,
        fee_e6=fill.fee_e6,
        exchange_ns=exchange_ns,
    )


def _payout(paid: portfolio.Settlement) -> ExchangePayout:
    results: dict[str, Literal["yes", "no", "scalar"]] = {"yes": "yes", "no": "no"}
    return ExchangePayout(
        ticker=paid.ticker,
        event_ticker=paid.event_ticker,
        result=results.get(paid.market_result, "scalar"),
        yes_count_e2=paid.yes_count_e2,
        no_count_e2=paid.no_count_e2,
        revenue_e6=paid.revenue_cents * E6_PER_CENT,
        fee_e6=paid.fee_e6,
        settled_ns=paid.settled_ns,
    )
