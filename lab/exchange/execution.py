"""Matching, resting and ending of orders: every change of a book or a balance happens here."""

from lab.exchange.accounts import Account, paid_e4
from lab.exchange.model import (
    ONE_DOLLAR_E4,
    BookChanged,
    CollateralReturned,
    EventSpec,
    Filled,
    Order,
    OrderChanged,
    Reason,
    Traded,
)
from lab.exchange.netting import guaranteed_e2
from lab.exchange.state import Market, State
from libs.domain.fees import Role


class Execution:
    """Apply orders to books and accounts, and tell every change as an event."""

    def __init__(self, state: State) -> None:
        self._state = state

    def match(self, order: Order, market: Market) -> Reason | None:
        """Trade an incoming order against the book; return why it must end, if it must."""
        state = self._state
        opposite = market.book.against(order.side)
        while order.remaining_e2 and market.book.crosses(order.side, order.price_e4):
            maker = opposite.best()
            assert maker is not None, "a crossing book has a best order"
            if maker.account == order.account:
                if order.self_trade == "taker_at_cross":
                    return Reason.SELF_TRADE
                self.end(maker, Reason.SELF_TRADE)
                continue
            self._trade(order, maker, market, state.now_ns)
        return None

    def rest(self, order: Order, market: Market) -> None:
        """Put what remains of an order on the book and lock its collateral."""
        market.book.side(order.side).add(order)
        self._state.accounts[order.account].rest(order, market.event.ticker)
        self._book_changed(market, order, order.price_e4, order.remaining_e2)

    def lift(self, order: Order, market: Market) -> None:
        """Take a resting order off the book without ending it."""
        market.book.side(order.side).remove(order)
        self._state.accounts[order.account].unrest(order)
        self._book_changed(market, order, order.price_e4, -order.remaining_e2)

    def reduce(self, order: Order, by_e2: int) -> None:
        """Take `by_e2` off a resting order, which keeps its place; some of it must stay."""
        assert by_e2 < order.remaining_e2, f"cannot leave {order.remaining_e2} - {by_e2} resting"
        market = self._state.markets[order.ticker]
        market.book.side(order.side).reduce(order, by_e2)
        self._state.accounts[order.account].shrink(order, by_e2)
        self._book_changed(market, order, order.price_e4, -by_e2)

    def end(self, order: Order, reason: Reason) -> int:
        """Cancel a resting order and return the count it gave up, in e2."""
        self.lift(order, self._state.markets[order.ticker])
        return self.finish(order, reason)

    def finish(self, order: Order, reason: Reason) -> int:
        """Close an order that is not on the book; what remained is given up."""
        given_up_e2 = order.remaining_e2
        order.remaining_e2 = 0
        cut_short = given_up_e2 or reason is Reason.REDUCE_ONLY
        order.status = "canceled" if cut_short else "executed"
        order.updated_ns = self._state.now_ns
        self.changed(order, reason, given_up_e2)
        if order.account not in self._state.histories:
            del self._state.orders[order.order_id]
        return given_up_e2

    def changed(self, order: Order, reason: Reason, reduced_e2: int = 0) -> None:
        """Tell that an order changed."""
        self._state.emit(
            OrderChanged(
                order=order, reason=reason, reduced_e2=reduced_e2, at_ns=self._state.now_ns
            )
        )

    def _trade(self, taker: Order, maker: Order, market: Market, now_ns: int) -> None:
        state = self._state
        count_e2 = min(taker.remaining_e2, maker.remaining_e2)
        price_e4 = maker.price_e4
        trade_id = state.next_id("trade")
        paired_before = self._open_longs(taker, maker)
        market.book.side(maker.side).reduce(maker, count_e2)
        state.accounts[maker.account].shrink(maker, count_e2)
        taker.remaining_e2 -= count_e2
        self._book_changed(market, maker, price_e4, -count_e2)
        market.last_price_e4 = price_e4
        market.last_trade_e2 = count_e2
        market.volume_e2 += count_e2
        market.volume_e6 += ONE_DOLLAR_E4 * count_e2
        traded = Traded(
            trade_id=trade_id,
            ticker=market.spec.ticker,
            price_e4=price_e4,
            count_e2=count_e2,
            taker_side=taker.side,
            at_ns=now_ns,
        )
        state.print_trade(traded)
        self._fill(maker, market, traded, is_taker=False)
        self._fill(taker, market, traded, is_taker=True)
        market.open_interest_e2 += self._open_longs(taker, maker) - paired_before
        market.candles.trade(now_ns, price_e4, count_e2, market.open_interest_e2)
        state.emit(traded)
        for name in (maker.account, taker.account):
            state.accounts[name].relock(maker.ticker)
        if maker.remaining_e2:
            maker.updated_ns = now_ns
            self.changed(maker, Reason.TRADE)
        else:
            self.finish(maker, Reason.TRADE)

    def _fill(self, order: Order, market: Market, traded: Traded, *, is_taker: bool) -> None:
        state = self._state
        account = state.accounts[order.account]
        position = account.position(order.ticker)
        count_e2, price_e4 = traded.count_e2, traded.price_e4
        revenue_e6 = position.trade(order.side, price_e4, count_e2)
        role: Role = "taker" if is_taker else "maker"
        fee_e6 = state.charges.charge(state.schedule(market), order, role, price_e4, count_e2)
        cost_e6 = paid_e4(order.side, price_e4) * count_e2
        order.filled_e2 += count_e2
        if is_taker:
            order.taker_cost_e6 += cost_e6
            order.taker_fees_e6 += fee_e6
        else:
            order.maker_cost_e6 += cost_e6
            order.maker_fees_e6 += fee_e6
        account.cash_e6 += revenue_e6 - fee_e6
        state.fees_e6 += fee_e6
        position.fees_e6 += fee_e6
        position.updated_ns = traded.at_ns
        filled = Filled(
            trade_id=traded.trade_id,
            account=order.account,
            order_id=order.order_id,
            client_order_id=order.client_order_id,
            ticker=order.ticker,
            side=order.side,
            is_taker=is_taker,
            price_e4=price_e4,
            count_e2=count_e2,
            fee_e6=fee_e6,
            cash_change_e6=revenue_e6 - fee_e6,
            position_e2=position.count_e2,
            at_ns=traded.at_ns,
        )
        if order.group_id is not None:
            state.group_fills.append((order.group_id, count_e2))
        history = state.histories.get(order.account)
        if history is not None:
            history.fills.append(filled)
        state.emit(filled)
        if account.netting or account.returned_e6:
            self._net(account, market.event)

    def _net(self, account: Account, event: EventSpec) -> None:
        markets = self._state.event_markets[event.ticker]
        counts = [account.count_e2(market.spec.ticker) for market in markets]
        safe_e2 = guaranteed_e2(counts, mutually_exclusive=event.mutually_exclusive)
        self.return_collateral(account, event.ticker, ONE_DOLLAR_E4 * safe_e2)

    def return_collateral(self, account: Account, event_ticker: str, guaranteed_e6: int) -> None:
        """Fit the collateral returned to what the account's positions pay at worst."""
        change_e6 = account.net(event_ticker, guaranteed_e6)
        if change_e6:
            self._state.returned_e6 += change_e6
            self._state.emit(
                CollateralReturned(
                    account=account.name,
                    event_ticker=event_ticker,
                    returned_e6=account.returned_e6.get(event_ticker, 0),
                    cash_change_e6=change_e6,
                    at_ns=self._state.now_ns,
                )
            )

    def _open_longs(self, taker: Order, maker: Order) -> int:
        accounts, ticker = self._state.accounts, taker.ticker
        return sum(
            max(0, accounts[name].count_e2(ticker)) for name in (taker.account, maker.account)
        )

    def _book_changed(self, market: Market, order: Order, price_e4: int, delta_e2: int) -> None:
        state = self._state
        if market.action != state.action:
            market.action = state.action
            market.book.clock += 1
        book = market.book
        market.candles.quote(state.now_ns, book.bids.best_price_e4(), book.asks.best_price_e4())
        state.emit(
            BookChanged(
                ticker=market.spec.ticker,
                side=order.side,
                price_e4=price_e4,
                delta_e2=delta_e2,
                clock=book.clock,
                account=order.account,
                client_order_id=order.client_order_id,
                at_ns=state.now_ns,
            )
        )
