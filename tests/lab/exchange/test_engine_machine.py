"""Random calls against the engine, checked after each one against conservation laws and a naive
book kept beside it."""

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from lab.exchange.model import Amendment, NewOrder, Order, Placed, Rejected, Side
from tests.lab.exchange.harness import EVENT, MARKET, START_NS, TARGET_NS, S, small_engine

ACCOUNTS = st.sampled_from(["a", "b", "c"])
SIDES: st.SearchStrategy[Side] = st.sampled_from(["bid", "ask"])
# Few prices and counts, so that orders meet and share levels
PRICES = st.sampled_from([3_000, 4_800, 4_900, 5_000, 5_100, 7_000])
COUNTS = st.sampled_from([1, 33, 100, 100, 250, 30_000, 120_000])
PICKS = st.integers(0, 10**6)
OTHER = f"{EVENT}-T7879.9999"
TICKERS = st.sampled_from([MARKET, OTHER])
DEPOSITS_E6 = 3 * 1_000_000_000
# What rounding a balance to $0.0001 can take below zero, per fill
ROUNDING_E6 = 100


class NaiveOrder:
    def __init__(self, order_id: str, account: str, new: NewOrder, arrival: int) -> None:
        self.order_id = order_id
        self.account = account
        self.ticker = new.ticker
        self.side = new.side
        self.price_e4 = new.price_e4
        self.left_e2 = new.count_e2
        self.arrival = arrival


class NaiveBooks:
    """Price-time priority in the plainest way: one list, sorted at each match."""

    def __init__(self) -> None:
        self.resting: list[NaiveOrder] = []
        self.arrivals = 0

    def place(self, order_id: str, account: str, new: NewOrder) -> None:
        self.arrivals += 1
        self.run(NaiveOrder(order_id, account, new, self.arrivals), new)

    def run(self, taker: NaiveOrder, new: NewOrder) -> None:
        sign = 1 if taker.side == "bid" else -1
        for maker in sorted(self.resting, key=lambda o: (sign * o.price_e4, o.arrival)):
            if maker.ticker != taker.ticker or maker.side == taker.side:
                continue
            if sign * maker.price_e4 > sign * taker.price_e4 or taker.left_e2 == 0:
                break
            if maker.account == taker.account:
                if new.self_trade == "maker":
                    self.resting.remove(maker)
                    continue
                return
            traded_e2 = min(maker.left_e2, taker.left_e2)
            maker.left_e2 -= traded_e2
            taker.left_e2 -= traded_e2
            if maker.left_e2 == 0:
                self.resting.remove(maker)
        if taker.left_e2 and new.time_in_force == "good_till_canceled":
            self.resting.append(taker)

    def find(self, order_id: str) -> NaiveOrder:
        return next(order for order in self.resting if order.order_id == order_id)


def naive_lock_e6(side: str, orders: list[Order], closing_e2: int) -> int:
    """Collateral contract by contract (of 0.01): the best-priced ones close the position."""
    prices = [order.price_e4 for order in orders for _ in range(order.remaining_e2 // 100)]
    loose = [(order.price_e4, order.remaining_e2 % 100) for order in orders]
    units = [(price, 100) for price in prices] + [unit for unit in loose if unit[1]]
    units.sort(key=lambda unit: -unit[0] if side == "bid" else unit[0])
    total_e6 = 0
    for price_e4, count_e2 in units:
        opens_e2 = count_e2 - min(count_e2, max(0, closing_e2))
        closing_e2 -= count_e2
        total_e6 += (price_e4 if side == "bid" else 10_000 - price_e4) * opens_e2
    return total_e6


class ExchangeMachine(RuleBasedStateMachine):
    @initialize()
    def begin(self) -> None:
        self.engine = small_engine()
        self.books = NaiveBooks()
        self.now_ns = START_NS

    @rule(
        account=ACCOUNTS,
        ticker=TICKERS,
        side=SIDES,
        price_e4=PRICES,
        count_e2=COUNTS,
        time_in_force=st.sampled_from(["good_till_canceled", "immediate_or_cancel"]),
        self_trade=st.sampled_from(["taker_at_cross", "maker"]),
        post_only=st.booleans(),
    )
    def place(self, account: str, post_only: bool, **fields: Any) -> None:
        post_only = post_only and fields["time_in_force"] == "good_till_canceled"
        new = NewOrder(post_only=post_only, **fields)
        placed = self.engine.place(account, new, self.now_ns)
        if isinstance(placed, Placed):
            assert placed.filled_e2 + placed.remaining_e2 <= new.count_e2
            self.books.place(placed.order_id, account, new)
        else:
            assert placed.code in ("insufficient_balance", "invalid_order")

    def _pick(self, pick: int) -> NaiveOrder | None:
        resting = self.books.resting
        return resting[pick % len(resting)] if resting else None

    @rule(pick=PICKS)
    def cancel(self, pick: int) -> None:
        order = self._pick(pick)
        if order is not None:
            cancelled = self.engine.cancel(order.account, order.order_id, self.now_ns)
            assert not isinstance(cancelled, Rejected)
            assert cancelled.reduced_e2 == order.left_e2
            self.books.resting.remove(order)

    @rule(pick=PICKS, by_e2=COUNTS)
    def decrease(self, pick: int, by_e2: int) -> None:
        order = self._pick(pick)
        if order is not None:
            reduced = self.engine.decrease(order.account, order.order_id, self.now_ns, by_e2=by_e2)
            assert not isinstance(reduced, Rejected)
            order.left_e2 -= min(by_e2, order.left_e2)
            if order.left_e2 == 0:
                self.books.resting.remove(order)

    @rule(pick=PICKS, price_e4=PRICES, left_e2=COUNTS)
    def amend(self, pick: int, price_e4: int, left_e2: int) -> None:
        order = self._pick(pick)
        if order is None:
            return
        live = self.engine.state.orders[order.order_id]
        change = Amendment(
            ticker=order.ticker,
            side=order.side,
            price_e4=price_e4,
            count_e2=live.filled_e2 + left_e2,
        )
        keeps = price_e4 == order.price_e4 and left_e2 <= order.left_e2
        amended = self.engine.amend(order.account, order.order_id, change, self.now_ns)
        if isinstance(amended, Rejected):
            assert amended.code in ("insufficient_balance", "invalid_order")
            return
        order.left_e2 = left_e2
        if not keeps:
            self.books.resting.remove(order)
            self.books.arrivals += 1
            order.price_e4, order.arrival = price_e4, self.books.arrivals
            as_new = NewOrder(
                ticker=order.ticker,
                side=order.side,
                price_e4=price_e4,
                count_e2=left_e2,
                self_trade=live.self_trade,
            )
            self.books.run(order, as_new)

    @rule(account=ACCOUNTS)
    def cancel_all(self, account: str) -> None:
        self.engine.cancel_all(account, self.now_ns)
        self.books.resting = [o for o in self.books.resting if o.account != account]

    @rule(seconds=st.integers(1, 30))
    def wait(self, seconds: int) -> None:
        self.now_ns = min(self.now_ns + seconds * S, TARGET_NS - S)
        self.engine.advance(self.now_ns)

    @invariant()
    def cash_and_collateral_are_conserved(self) -> None:
        state = self.engine.state
        cash_e6 = sum(account.cash_e6 for account in state.accounts.values())
        pool_e6 = sum(10_000 * market.open_interest_e2 for market in state.markets.values())
        assert cash_e6 + pool_e6 + state.fees_e6 == DEPOSITS_E6

    @invariant()
    def every_contract_has_two_sides(self) -> None:
        for ticker in (MARKET, OTHER):
            held = [self.engine.position(name, ticker).count_e2 for name in "abc"]
            assert sum(held) == 0
            longs_e2 = sum(count for count in held if count > 0)
            assert longs_e2 == self.engine.market(ticker).open_interest_e2

    @invariant()
    def books_are_not_crossed_and_equal_the_naive_ones(self) -> None:
        for ticker in (MARKET, OTHER):
            book = self.engine.market(ticker).book
            best_bid, best_ask = book.bids.best_price_e4(), book.asks.best_price_e4()
            assert best_bid is None or best_ask is None or best_bid < best_ask
            for side, sign in (("bid", -1), ("ask", 1)):
                naive = [o for o in self.books.resting if (o.ticker, o.side) == (ticker, side)]
                naive.sort(key=lambda o, sign=sign: (sign * o.price_e4, o.arrival))  # type: ignore[misc]
                real = list(book.side(side).in_priority())  # type: ignore[arg-type]
                assert [(o.order_id, o.remaining_e2) for o in real] == [
                    (o.order_id, o.left_e2) for o in naive
                ]
                depth = book.side(side).depth()  # type: ignore[arg-type]
                assert sum(count for _, count in depth) == sum(o.left_e2 for o in naive)

    @invariant()
    def locks_are_right_and_covered(self) -> None:
        for account in self.engine.state.accounts.values():
            lock_e6 = 0
            for ticker in (MARKET, OTHER):
                held_e2 = account.count_e2(ticker)
                for side, closing_e2 in (("bid", -held_e2), ("ask", held_e2)):
                    mine = [o for o in account.resting_orders(ticker) if o.side == side]
                    lock_e6 += naive_lock_e6(side, mine, closing_e2)
            assert account.locked_e6 == lock_e6
            fills = len(self.engine.state.histories[account.name].fills)
            assert account.available_e6 >= -ROUNDING_E6 * fills

    def teardown(self) -> None:
        if not hasattr(self, "engine"):
            return
        self.engine.advance(TARGET_NS)
        self.engine.settle(EVENT, 78_750_000, TARGET_NS + S)
        state = self.engine.state
        assert all(not account.locked_e6 for account in state.accounts.values())
        cash_e6 = sum(account.cash_e6 for account in state.accounts.values())
        assert cash_e6 + state.fees_e6 == DEPOSITS_E6


ExchangeMachine.TestCase.settings = settings(max_examples=80, stateful_step_count=50, deadline=None)
TestExchangeMachine = ExchangeMachine.TestCase
