"""Carry out the core's writes: intent acknowledged, everything checked again, one call, its
outcome handed back.

Right before a place or an amend leaves, with nothing awaited in between, the gate is asked: mode,
fence, lease, kill switch (read again while the intent was being stored), drain, clock and time.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence

from libs.common.bus import FenceRefused
from libs.common.clock import NS_PER_S
from libs.common.effects import Effect
from libs.common.runner import Context
from libs.kalshi.errors import KalshiError
from libs.kalshi.rate import NEVER_NS
from services.broker import events as e
from services.broker.exchange import Attempt, Exchange
from services.broker.killswitch import KillSwitchKeeper
from services.broker.lease import Lease

SKEW_MAX_NS = 5_000_000_000
"""With a clock further off than this nothing is signed (domain.md §1, `clock`)."""
PATIENCE = 4
"""A cancel that is not urgent waits so many times longer for NATS than one that is."""


class Writer:
    """Perform the broker's effects; each runs as a task of its own."""

    def __init__(
        self,
        context: Context,
        exchange: Exchange,
        switch: KillSwitchKeeper,
        lease: Lease,
        *,
        urgent_wait_s: float,
        fills_since: Callable[[], int | None],
        withheld: Callable[[str], str],
    ) -> None:
        self._context = context
        self._exchange = exchange
        self._switch = switch
        self._lease = lease
        self._urgent_wait_s = urgent_wait_s
        self._fills_since = fills_since
        self._withheld = withheld
        self.deposed = ""
        self.draining = False

    def perform(self, effect: Effect, after: Sequence[asyncio.Future[int]]) -> None:
        """Start one effect."""
        name = type(effect).__name__
        if isinstance(effect, e.Alert):
            self._context.metrics.alerts_total.labels(effect.kind).inc()
            self._context.log.warning("alert", kind=effect.kind, text=effect.text)
        elif isinstance(effect, e.Stopped):
            took_s = effect.took_ns / NS_PER_S
            self._context.metrics.stop_to_zero_s.labels(effect.reason).observe(took_s)
            self._context.log.info("nothing rests", reason=effect.reason, took_s=took_s)
        else:
            self._context.spawn(self._task(effect, after), name)

    def _task(
        self, effect: Effect, after: Sequence[asyncio.Future[int]]
    ) -> Coroutine[None, None, None]:
        if isinstance(effect, e.SubmitOrder):
            return self._submit(effect, after)
        if isinstance(effect, e.AmendOrder):
            return self._amend(effect, after)
        if isinstance(effect, e.CancelOrders):
            return self._cancel(effect, after)
        if isinstance(effect, e.CancelEverything):
            return self._cancel_everything()
        if isinstance(effect, e.CreateGroup | e.ResetGroup | e.DeleteGroup):
            return self._change_group(effect)
        if isinstance(effect, e.LookupOrders):
            return self._look_up(effect)
        assert isinstance(effect, e.FetchSettlements), f"no one performs {type(effect).__name__}"
        return self._fetch_payouts(effect)

    # Checks

    async def _cleared(self, after: Sequence[asyncio.Future[int]]) -> str:
        """Wait for the intents and read the switch meanwhile; return why not to go on."""
        readable, *stored = await asyncio.gather(
            self._switch.read(), *after, return_exceptions=True
        )
        for outcome in stored:
            if isinstance(outcome, BaseException):
                self._note(outcome)
                return f"intent not stored: {type(outcome).__name__}"
        return "" if readable is True else "kill switch unreadable"

    def _gate(self, not_after_ns: int, ticker: str) -> str:
        if reason := self._withheld(ticker):
            return reason
        skew_ns = self._exchange.client.last_skew_ns or 0
        uncertain_ns = self._exchange.client.last_skew_uncertainty_ns or 0
        if self.deposed:
            return self.deposed
        if not self._lease.held:
            return "lease not held"
        if self._switch.engaged:
            return "kill switch"
        if self.draining:
            return "draining"
        if abs(skew_ns) - uncertain_ns > SKEW_MAX_NS:
            return "clock skew"
        return "too late" if self._context.now_ns() >= not_after_ns else ""

    def _note(self, error: BaseException) -> None:
        if isinstance(error, FenceRefused):
            self.deposed = "another broker took over"

    async def _briefly(self, after: Sequence[asyncio.Future[int]], patience: int) -> str:
        """Give NATS a moment to store the intents of a cancel, then go without.

        Only risk is taken away, and what rests while NATS is stuck costs money. Returns what
        failed meanwhile, "" for nothing.
        """
        failed = ""
        if after:
            done, _ = await asyncio.wait(after, timeout=patience * self._urgent_wait_s)
            for future in done:
                if not future.cancelled() and (error := future.exception()):
                    self._note(error)
                    failed = f"intent not stored: {type(error).__name__}"
        return failed

    # Writes

    async def _submit(self, effect: e.SubmitOrder, after: Sequence[asyncio.Future[int]]) -> None:
        began_s = time.perf_counter()
        withheld = await self._cleared(after)
        attempt = await self._exchange.place(
            effect,
            lambda: withheld or self._gate(effect.not_after_ns, effect.ticker),
            lambda: self._started(effect.client_order_id),
        )
        self._context.metrics.submit_latency_s.observe(time.perf_counter() - began_s)
        self._answer("place", effect.client_order_id, attempt)

    def _started(self, client_order_id: str) -> None:
        now_ns = self._context.now_ns()
        self._context.dispatch(e.WriteStarted(now_ns=now_ns, client_order_id=client_order_id))

    async def _amend(self, effect: e.AmendOrder, after: Sequence[asyncio.Future[int]]) -> None:
        withheld = await self._cleared(after)
        attempt = await self._exchange.amend(
            effect, lambda: withheld or self._gate(effect.not_after_ns, effect.ticker)
        )
        self._answer("amend", effect.client_order_id, attempt)

    async def _cancel(self, effect: e.CancelOrders, after: Sequence[asyncio.Future[int]]) -> None:
        failed = await self._briefly(after, 1 if effect.urgent else PATIENCE)
        withheld = failed if not effect.urgent else ""
        attempts = await self._exchange.cancel(effect.targets, lambda: withheld or self.deposed)
        for target, attempt in zip(effect.targets, attempts, strict=True):
            self._answer("cancel", target.client_order_id, attempt)

    async def _cancel_everything(self) -> None:
        """Cancel the account at once: the kill switch waits for no record."""
        attempt = await self._exchange.cancel_everything(lambda: self.deposed)
        now_ns = self._context.now_ns()
        self._context.dispatch(e.EverythingCancelled(now_ns=now_ns, outcome=attempt.outcome))

    async def _change_group(self, effect: e.CreateGroup | e.ResetGroup | e.DeleteGroup) -> None:
        """Make, reset or delete an order group. What lets orders in asks all that an order asks."""
        call: e.GroupCall = "delete"
        if isinstance(effect, e.DeleteGroup):
            group_id = effect.order_group_id
            attempt = await self._exchange.delete_group(group_id, lambda: self.deposed)
        else:
            withheld = await self._cleared(())

            def gate() -> str:
                return withheld or self._gate(NEVER_NS, effect.event_ticker)

            if isinstance(effect, e.CreateGroup):
                call = "create"
                attempt = await self._exchange.create_group(effect.limit_e2, gate)
            else:
                call = "reset"
                attempt = await self._exchange.reset_group(effect.order_group_id, gate)
        self._context.dispatch(
            e.GroupAnswer(
                now_ns=self._context.now_ns(),
                event_ticker=effect.event_ticker,
                call=call,
                outcome=attempt.outcome,
                code=attempt.code,
                order_group_id=attempt.order_id,
            )
        )

    def _answer(self, call: e.Call, client_order_id: str, attempt: Attempt) -> None:
        self._context.dispatch(
            e.OrderAnswer(
                now_ns=self._context.now_ns(),
                call=call,
                client_order_id=client_order_id,
                outcome=attempt.outcome,
                code=attempt.code,
                order_id=attempt.order_id,
                filled_e2=attempt.filled_e2,
                remaining_e2=attempt.remaining_e2,
                reduced_e2=attempt.reduced_e2,
                exchange_ns=attempt.exchange_ns,
            )
        )

    # Reads that the core asked for

    async def _look_up(self, effect: e.LookupOrders) -> None:
        """Read the orders, then the fills, and tell the fills first: so that an order that is
        shown as ended has no fill still to come.
        """
        context = self._context
        started_ns = context.now_ns()
        orders: tuple[e.ExchangeOrder, ...] = ()
        complete = True
        try:
            orders = await self._exchange.event_orders(effect.event_ticker, effect.order_ids)
            fills = await self._exchange.fills(self._fills_since())
        except KalshiError as error:
            context.log.warning("lookup failed", event_ticker=effect.event_ticker, why=str(error))
            complete, fills = False, []
        for fill in fills:
            context.dispatch(e.FillSeen(now_ns=context.now_ns(), fill=fill))
        context.dispatch(
            e.OrdersRead(
                now_ns=context.now_ns(),
                event_ticker=effect.event_ticker,
                started_ns=started_ns,
                complete=complete,
                orders=orders if complete else (),
            )
        )

    async def _fetch_payouts(self, effect: e.FetchSettlements) -> None:
        context = self._context
        payouts: tuple[e.ExchangePayout, ...] = ()
        complete = True
        try:
            payouts = await self._exchange.payouts(effect.event_ticker)
        except KalshiError as error:
            context.log.warning("payouts unread", event_ticker=effect.event_ticker, why=str(error))
            complete = False
        context.dispatch(
            e.SettlementsRead(
                now_ns=context.now_ns(),
                event_ticker=effect.event_ticker,
                complete=complete,
                payouts=payouts,
            )
        )
