"""What time does to markets and orders: opening, expiry, closing, settlement, pauses."""

import heapq
from enum import IntEnum

from msgspec import structs

from lab.exchange.execution import Execution
from lab.exchange.hours import weekly_pause
from lab.exchange.model import (
    ONE_DOLLAR_E4,
    Ladder,
    MarketChanged,
    MarketStatus,
    MarketStep,
    Order,
    PauseChanged,
    Reason,
    Settled,
    Structure,
)
from lab.exchange.state import Market, State


class _Due(IntEnum):
    """What falls due; of things due at one time, in this order."""

    OPEN = 0
    EXPIRE = 1
    CLOSE = 2
    SWEEP = 3
    PAY = 4
    PAUSE = 5
    RESUME = 6


class Lifecycle:
    """Keep the timers of one exchange and run what is due, in order of time."""

    def __init__(self, state: State, execution: Execution) -> None:
        self._state = state
        self._execution = execution
        self._due: list[tuple[int, int, int, str]] = []

    def add_ladder(self, ladder: Ladder) -> None:
        """List an event with its markets at the state's present time."""
        state, series, event = self._state, ladder.series, ladder.event
        assert event.ticker not in state.events, f"event {event.ticker} is listed already"
        state.series[series.ticker] = series
        state.events[event.ticker] = event
        state.event_markets[event.ticker] = []
        for spec in ladder.markets:
            assert spec.ticker not in state.markets, f"market {spec.ticker} is listed already"
            market = Market(spec, event, series, state.now_ns)
            state.markets[spec.ticker] = market
            state.event_markets[event.ticker].append(market)
            self._schedule(spec.open_ns, _Due.OPEN, spec.ticker)
            self._schedule(spec.close_ns, _Due.CLOSE, spec.ticker)
            self._tell(market, "created")

    def watch_expiry(self, order: Order) -> None:
        """End the order at its present expiration time, if it still has it then."""
        if order.expiration_ns is not None:
            self._schedule(order.expiration_ns, _Due.EXPIRE, order.order_id)

    def keep_hours(self) -> None:
        """Pause trading every week from now on, at once if its time is now."""
        begins_ns, _ = weekly_pause(self._state.now_ns)
        self._schedule(begins_ns, _Due.PAUSE, "")
        self.advance(self._state.now_ns)

    def pause(self, *, exchange_active: bool, trading_active: bool) -> None:
        """Stop or resume the exchange; orders with `cancel_on_pause` end when trading stops."""
        state = self._state
        trading_active = trading_active and exchange_active
        stops = state.trading_active and not trading_active
        state.exchange_active, state.trading_active = exchange_active, trading_active
        state.resume_ns = None
        state.emit(
            PauseChanged(
                exchange_active=exchange_active,
                trading_active=trading_active,
                at_ns=state.now_ns,
            )
        )
        if stops:
            for account in state.accounts.values():
                for order in account.resting_orders():
                    if order.cancel_on_pause:
                        self._execution.end(order, Reason.HALT)

    def advance(self, now_ns: int) -> None:
        """Move time to `now_ns`; an earlier time than the present one changes nothing."""
        state, due = self._state, self._due
        while due and due[0][0] <= now_ns:
            at_ns, kind, _, key = heapq.heappop(due)
            state.now_ns = max(state.now_ns, at_ns)
            state.action += 1
            self._do(kind, key, at_ns)
        state.now_ns = max(state.now_ns, now_ns)

    def _do(self, kind: int, key: str, at_ns: int) -> None:
        state = self._state
        match kind:
            case _Due.OPEN:
                self._open(state.markets[key])
            case _Due.EXPIRE:
                self._expire(key, at_ns)
            case _Due.CLOSE:
                self._close(state.markets[key])
            case _Due.SWEEP:
                self._cancel_book(state.markets[key], Reason.CLOSE)
            case _Due.PAY:
                self._pay_event(key)
            case _Due.PAUSE:
                self.pause(exchange_active=state.exchange_active, trading_active=False)
                state.resume_ns = weekly_pause(at_ns)[1]
                self._schedule(state.resume_ns, _Due.RESUME, "")
            case _Due.RESUME:
                self.pause(exchange_active=state.exchange_active, trading_active=True)
                self._schedule(weekly_pause(at_ns)[0], _Due.PAUSE, "")

    def determine(self, event_ticker: str, level_e4: int) -> None:
        """Fix the results of a closed event; all are paid after the longest settlement timer."""
        state = self._state
        timer_ns = 0
        for market in state.event_markets[event_ticker]:
            assert market.status is MarketStatus.CLOSED, (
                f"{market.spec.ticker}: expected closed to determine, got {market.status}"
            )
            timer_ns = max(timer_ns, market.spec.settlement_timer_ns)
            self._cancel_book(market, Reason.CLOSE)
            market.status = MarketStatus.DETERMINED
            market.level_e4 = level_e4
            market.result = "yes" if market.spec.rung.settles_yes(level_e4) else "no"
            self._tell(market, "determined")
        self._schedule(state.now_ns + timer_ns, _Due.PAY, event_ticker)
        self.advance(state.now_ns)

    def set_active(self, ticker: str, *, active: bool) -> None:
        """Stop or resume one market; resuming cancels everything that rests in it."""
        market = self._state.markets[ticker]
        now, then = MarketStatus.INACTIVE, MarketStatus.ACTIVE
        if not active:
            now, then = then, now
        assert market.status is now, f"{ticker}: expected {now}, got {market.status}"
        if active:
            self._cancel_book(market, Reason.HALT)
        market.status = then
        self._tell(market, "activated" if active else "deactivated")

    def set_structure(self, ticker: str, structure: Structure) -> None:
        """Give a market another tick grid; what rests keeps its price."""
        market = self._state.markets[ticker]
        market.spec = structs.replace(market.spec, structure=structure)
        self._tell(market, "price_level_structure_updated")

    def _schedule(self, at_ns: int, kind: int, key: str) -> None:
        heapq.heappush(self._due, (at_ns, kind, self._state.next_number(), key))

    def _tell(self, market: Market, event_type: MarketStep) -> None:
        now_ns = self._state.now_ns
        market.updated_ns = now_ns
        self._state.emit(
            MarketChanged(ticker=market.spec.ticker, event_type=event_type, at_ns=now_ns)
        )

    def _expire(self, order_id: str, at_ns: int) -> None:
        order = self._state.orders.get(order_id)
        if order is not None and order.status == "resting" and order.expiration_ns == at_ns:
            self._execution.end(order, Reason.EXPIRY)

    def _open(self, market: Market) -> None:
        if market.status is MarketStatus.INITIALIZED:
            market.status = MarketStatus.ACTIVE
            self._tell(market, "opened")

    def _close(self, market: Market) -> None:
        assert market.status in (MarketStatus.ACTIVE, MarketStatus.INACTIVE), (
            f"{market.spec.ticker}: expected an open market to close, got {market.status}"
        )
        market.status = MarketStatus.CLOSED
        self._tell(market, "closed")
        self._schedule(
            self._state.now_ns + self._state.rules.close_cancel_ns, _Due.SWEEP, market.spec.ticker
        )

    def _cancel_book(self, market: Market, reason: Reason) -> None:
        for side in (market.book.bids, market.book.asks):
            for order in sorted(side.in_priority(), key=lambda order: order.number):
                self._execution.end(order, reason)

    def _pay_event(self, event_ticker: str) -> None:
        """Pay all markets of an event, then take back what was returned of its collateral."""
        for market in self._state.event_markets[event_ticker]:
            self._pay(market)
        for account in self._state.accounts.values():
            if event_ticker in account.returned_e6:
                self._execution.return_collateral(account, event_ticker, 0)

    def _pay(self, market: Market) -> None:
        state = self._state
        assert market.result, f"{market.spec.ticker} has no result to pay"
        market.status = MarketStatus.FINALIZED
        market.settled_ns = state.now_ns
        wins_yes = market.result == "yes"
        paid_e6 = 0
        for account in state.accounts.values():
            position = account.positions.get(market.spec.ticker)
            if position is None or position.settled:
                continue
            count_e2 = position.count_e2
            won_e2 = max(0, count_e2 if wins_yes else -count_e2)
            revenue_e6 = ONE_DOLLAR_E4 * won_e2
            account.cash_e6 += revenue_e6
            paid_e6 += revenue_e6
            settled = Settled(
                account=account.name,
                ticker=market.spec.ticker,
                event_ticker=market.event.ticker,
                result=market.result,
                level_e4=market.level_e4 or 0,
                yes_e2=max(0, count_e2),
                no_e2=max(0, -count_e2),
                yes_cost_e6=position.cost_e6 if count_e2 > 0 else 0,
                no_cost_e6=position.cost_e6 if count_e2 < 0 else 0,
                fees_e6=position.fees_e6,
                revenue_e6=revenue_e6,
                at_ns=state.now_ns,
            )
            position.realized_e6 += revenue_e6 - position.cost_e6
            position.cost_e6 = 0
            position.count_e2 = 0
            position.settled = True
            position.updated_ns = state.now_ns
            history = state.histories.get(account.name)
            if history is not None:
                history.settlements.append(settled)
            state.emit(settled)
        owed_e6 = ONE_DOLLAR_E4 * market.open_interest_e2
        assert paid_e6 == owed_e6, f"{market.spec.ticker}: paid {paid_e6}, pool holds {owed_e6}"
        market.open_interest_e2 = 0
        self._tell(market, "settled")
