"""The exchange's core: one object that takes orders and time, and tells what happened.

Pure and deterministic: no clock, no input or output; `now_ns` is an argument and never runs back.
Every call first does what was due by then (openings, expiries, closings, settlements).
"""

from collections.abc import Callable

from msgspec import Struct, structs

from lab.exchange.accounts import Account, Position
from lab.exchange.charges import Charges
from lab.exchange.execution import Execution
from lab.exchange.groups import Groups
from lab.exchange.lifecycle import Lifecycle
from lab.exchange.model import (
    ONE_DOLLAR_E4,
    AccountOpened,
    Amendment,
    BookView,
    Event,
    Ladder,
    MarketStatus,
    NewOrder,
    Order,
    Placed,
    Reason,
    Reduced,
    Rejected,
    Rules,
    Structure,
)
from lab.exchange.rules import (
    INACTIVE,
    NOT_FOUND,
    PAUSED,
    refuse_amendment,
    refuse_funds,
    refuse_new,
    refuse_pause,
    refuse_unfillable,
)
from lab.exchange.state import History, Market, State
from libs.domain.fee_table import EXCHANGE_FEES, FeeTable
from libs.domain.money import COUNT_ONE_E2

DEFAULT_RULES = Rules()


def _ignore(event: Event) -> None:
    del event


class Engine:
    """Markets, accounts and orders of one simulated exchange."""

    def __init__(
        self,
        seed: int = 0,
        emit: Callable[[Event], None] = _ignore,
        fee_table: FeeTable = EXCHANGE_FEES,
        rules: Rules = DEFAULT_RULES,
    ) -> None:
        charges = Charges(fee_table, direct_members=rules.direct_members)
        self.state = State(seed, emit, charges, rules)
        self._execution = Execution(self.state)
        self.groups = Groups(self.state, self._execution)
        self._lifecycle = Lifecycle(self.state, self._execution)

    # Set-up

    def listen(self, emit: Callable[[Event], None]) -> None:
        """Hand every later event to `emit`, at once and in order."""
        self.state.emit = emit

    def open_account(
        self, name: str, cash_e6: int, *, keep_history: bool = True, netting: bool = False
    ) -> None:
        """Open an account; without history its ended orders and fills are forgotten."""
        assert name not in self.state.accounts, f"account {name} is open already"
        self.state.accounts[name] = Account(name, cash_e6, netting=netting)
        self.state.deposits_e6 += cash_e6
        if keep_history:
            self.state.histories[name] = History([], [], [])
        self.state.emit(AccountOpened(account=name, cash_e6=cash_e6, at_ns=self.state.now_ns))

    def add_ladder(self, ladder: Ladder, now_ns: int) -> None:
        """List an event with its markets; each opens and closes at its own times."""
        self.advance(now_ns)
        self._lifecycle.add_ladder(ladder)
        self.advance(now_ns)

    # Time

    def advance(self, now_ns: int) -> None:
        """Do all that is due by `now_ns`, each thing at its own time and in order."""
        self._lifecycle.advance(now_ns)

    def settle(self, event_ticker: str, level_e4: int, now_ns: int) -> None:
        """Determine a closed event at the level; it pays after its settlement timer."""
        self.advance(now_ns)
        self._lifecycle.determine(event_ticker, level_e4)

    def set_pause(self, *, exchange_active: bool, trading_active: bool, now_ns: int) -> None:
        """Stop or resume the exchange; orders with `cancel_on_pause` end when trading stops."""
        self.advance(now_ns)
        self._new_action()
        self._lifecycle.pause(exchange_active=exchange_active, trading_active=trading_active)

    def keep_hours(self, now_ns: int) -> None:
        """Pause trading in the exchange's weekly window from now on."""
        self.advance(now_ns)
        self._lifecycle.keep_hours()

    def set_market_active(self, ticker: str, *, active: bool, now_ns: int) -> None:
        """Stop or resume one market; resuming cancels everything that rests in it."""
        self.advance(now_ns)
        self._new_action()
        self._lifecycle.set_active(ticker, active=active)

    def set_structure(self, ticker: str, structure: Structure, now_ns: int) -> None:
        """Give a market another tick grid; what rests keeps its price."""
        self.advance(now_ns)
        self._lifecycle.set_structure(ticker, structure)

    # Orders

    def place(self, account: str, new: NewOrder, now_ns: int) -> Placed | Rejected:
        """Take an order: match it, rest what may rest, and say what it did at once."""
        self.advance(now_ns)
        self._new_action()
        state = self.state
        refusal = refuse_new(state, account, new)
        if refusal is not None:
            return refusal
        market = state.markets[new.ticker]
        order = self._make(account, new)
        refusal = refuse_funds(state, order, market)
        if refusal is None and new.time_in_force == "fill_or_kill":
            refusal = refuse_unfillable(order, market)
        if refusal is None and new.group_id is not None:
            refusal = self.groups.refuse(account, new.group_id)
        if refusal is not None:
            return refusal
        self._accept(order)
        rests = new.time_in_force == "good_till_canceled"
        capped = order.remaining_e2 < order.initial_e2
        return self._run(order, market, rests=rests, capped=capped)

    def cancel(self, account: str, order_id: str, now_ns: int) -> Reduced | Rejected:
        """Cancel a resting order of that account."""
        self.advance(now_ns)
        self._new_action()
        order = self._reducible(account, order_id)
        if isinstance(order, Rejected):
            return order
        return self._reduced(order, self._execution.end(order, Reason.CANCEL))

    def cancel_all(self, account: str, now_ns: int) -> list[Reduced] | Rejected:
        """Cancel every resting order of that account in an active market, oldest first."""
        self.advance(now_ns)
        self._new_action()
        state = self.state
        if not state.exchange_active:
            return PAUSED
        state.accounts[account].cancelling_until_ns = (
            state.now_ns + state.rules.cancel_all_lingers_ns
        )
        return [
            self._reduced(order, self._execution.end(order, Reason.CANCEL))
            for order in self.resting(account)
            if state.markets[order.ticker].status is MarketStatus.ACTIVE
        ]

    def decrease(
        self,
        account: str,
        order_id: str,
        now_ns: int,
        *,
        by_e2: int | None = None,
        to_e2: int | None = None,
    ) -> Reduced | Rejected:
        """Make a resting order smaller in place; more than remains is all that remains."""
        assert (by_e2 is None) != (to_e2 is None), "expected exactly one of by_e2 and to_e2"
        self.advance(now_ns)
        self._new_action()
        order = self._reducible(account, order_id)
        if isinstance(order, Rejected):
            return order
        if by_e2 is None:
            assert to_e2 is not None, "checked above"
            by_e2 = max(0, order.remaining_e2 - to_e2)
        if by_e2 >= order.remaining_e2:
            return self._reduced(order, self._execution.end(order, Reason.DECREASE))
        if by_e2:
            self._execution.reduce(order, by_e2)
            order.updated_ns = self.state.now_ns
            self._execution.changed(order, Reason.DECREASE, by_e2)
        return self._reduced(order, by_e2)

    def amend(
        self, account: str, order_id: str, change: Amendment, now_ns: int
    ) -> Placed | Rejected:
        """Change a resting order.

        A smaller count or another expiry keeps the queue place; a new price or a larger count
        goes to the back and may trade at once. The averages answer for the fills of this call.
        """
        self.advance(now_ns)
        self._new_action()
        order = self.state.orders.get(order_id)
        if order is None or order.account != account or order.status != "resting":
            return NOT_FOUND
        market = self.state.markets[order.ticker]
        refusal = refuse_pause(self.state) or refuse_amendment(self.state, order, market, change)
        if refusal is not None:
            return refusal
        if change.new_client_order_id:
            self.state.accounts[account].client_ids.add(change.new_client_order_id)
            order.client_order_id = change.new_client_order_id
        if change.expiration_ns is not None:
            order.expiration_ns = change.expiration_ns or None
            self._lifecycle.watch_expiry(order)
        remaining_e2 = change.count_e2 - order.filled_e2
        order.initial_e2 = max(order.initial_e2, change.count_e2)
        order.updated_ns = self.state.now_ns
        if change.price_e4 == order.price_e4 and remaining_e2 <= order.remaining_e2:
            reduced_e2 = order.remaining_e2 - remaining_e2
            if reduced_e2:
                self._execution.reduce(order, reduced_e2)
            self._execution.changed(order, Reason.AMEND, reduced_e2)
            placed = _placed(order, _Spent.of(order), self.state.now_ns)
            return structs.replace(placed, resized=reduced_e2 > 0)
        rested_e2 = order.remaining_e2
        self._execution.lift(order, market)
        order.price_e4 = change.price_e4
        order.remaining_e2 = remaining_e2
        self._execution.changed(order, Reason.AMEND)
        placed = self._run(order, market, rests=True)
        return structs.replace(placed, resized=placed.remaining_e2 != rested_e2)

    # Questions

    def book(self, ticker: str) -> BookView:
        """Return the YES book now, best first. Raises KeyError for an unknown ticker."""
        return self.state.markets[ticker].book.view()

    def market(self, ticker: str) -> Market:
        """Return a market's live state. Raises KeyError for an unknown ticker."""
        return self.state.markets[ticker]

    def event_markets(self, event_ticker: str) -> list[Market]:
        """Return an event's markets in rung order."""
        return self.state.event_markets[event_ticker]

    def resting(self, account: str, ticker: str | None = None) -> list[Order]:
        """Return an account's resting orders, oldest first."""
        return self.state.accounts[account].resting_orders(ticker)

    def position(self, account: str, ticker: str) -> Position:
        """Return an account's position in a market; all zero when there is none."""
        return self.state.accounts[account].positions.get(ticker, Position(ticker=ticker))

    def account(self, name: str) -> Account:
        """Return an account. Raises KeyError for an unknown name."""
        return self.state.accounts[name]

    # Inside

    def _new_action(self) -> None:
        self.state.action += 1

    def _reducible(self, account: str, order_id: str) -> Order | Rejected:
        """Return an account's resting order if it may be cancelled or decreased now."""
        if not self.state.exchange_active:
            return PAUSED
        order = self.state.orders.get(order_id)
        if order is None or order.account != account:
            return NOT_FOUND
        if self.state.markets[order.ticker].status is not MarketStatus.ACTIVE:
            return INACTIVE
        return order if order.status == "resting" else NOT_FOUND

    def _make(self, account: str, new: NewOrder) -> Order:
        state = self.state
        count_e2 = new.count_e2
        if new.reduce_only:
            held_e2 = state.accounts[account].count_e2(new.ticker)
            count_e2 = min(count_e2, max(0, held_e2 if new.side == "ask" else -held_e2))
        order_id = state.next_id("order")
        return Order(
            order_id=order_id,
            account=account,
            client_order_id=new.client_order_id or order_id,
            ticker=new.ticker,
            side=new.side,
            price_e4=new.price_e4,
            initial_e2=new.count_e2,
            remaining_e2=count_e2,
            time_in_force=new.time_in_force,
            self_trade=new.self_trade,
            post_only=new.post_only,
            cancel_on_pause=new.cancel_on_pause,
            expiration_ns=new.expiration_ns,
            group_id=new.group_id,
            created_ns=state.now_ns,
            updated_ns=state.now_ns,
            number=state.next_number(),
        )

    def _accept(self, order: Order) -> None:
        state = self.state
        state.orders[order.order_id] = order
        history = state.histories.get(order.account)
        if history is not None:
            history.orders.append(order)
            state.accounts[order.account].client_ids.add(order.client_order_id)
        self._lifecycle.watch_expiry(order)
        self._execution.changed(order, Reason.NEW)

    def _run(self, order: Order, market: Market, *, rests: bool, capped: bool = False) -> Placed:
        spent = _Spent.of(order)
        ended = self._execution.match(order, market)
        if order.remaining_e2 == 0 or ended is not None or not rests:
            if ended is None and order.remaining_e2:
                ended = Reason.UNFILLED
            elif ended is None and capped:
                ended = Reason.REDUCE_ONLY
            self._execution.finish(order, ended or Reason.TRADE)
        else:
            if order.filled_e2 > spent.filled_e2:
                self._execution.changed(order, Reason.TRADE)
            self._execution.rest(order, market)
        placed = _placed(order, spent, self.state.now_ns)
        if self.state.group_fills:
            self.groups.count_matches()
        if self.state.now_ns < self.state.accounts[order.account].cancelling_until_ns:
            self._cancel_late(order)
        return placed

    def _cancel_late(self, order: Order) -> None:
        """Cancel what was placed too soon after a cancel-all; its answer does not know yet."""
        if order.status == "resting":
            self._execution.end(order, Reason.CANCEL)

    def _reduced(self, order: Order, reduced_e2: int) -> Reduced:
        return Reduced(
            order_id=order.order_id,
            client_order_id=order.client_order_id,
            reduced_e2=reduced_e2,
            remaining_e2=order.remaining_e2,
            at_ns=self.state.now_ns,
        )


class _Spent(Struct, frozen=True):
    """An order's totals at one moment, to tell later what came on top."""

    filled_e2: int
    cost_e6: int
    fees_e6: int

    @staticmethod
    def of(order: Order) -> "_Spent":
        return _Spent(
            order.filled_e2,
            order.taker_cost_e6 + order.maker_cost_e6,
            order.taker_fees_e6 + order.maker_fees_e6,
        )


def _placed(order: Order, before: _Spent, now_ns: int) -> Placed:
    after = _Spent.of(order)
    filled_e2 = after.filled_e2 - before.filled_e2
    price_e4 = fee_e6 = None
    if filled_e2:
        paid_e4 = (after.cost_e6 - before.cost_e6) / filled_e2
        price_e4 = paid_e4 if order.side == "bid" else ONE_DOLLAR_E4 - paid_e4
        fee_e6 = (after.fees_e6 - before.fees_e6) * COUNT_ONE_E2 / filled_e2
    return Placed(
        order_id=order.order_id,
        client_order_id=order.client_order_id,
        filled_e2=filled_e2,
        remaining_e2=order.remaining_e2,
        average_price_e4=price_e4,
        average_fee_e6=fee_e6,
        at_ns=now_ns,
    )
