"""Collateral return, nested and partition: the published example, the refusals, and the laws.

Expectations come from the exchange's help page (an account can lose at settlement what its cash
does not hold, so a guaranteed payout is returned at once) and from trying every outcome.
"""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from lab.exchange.books import read_books
from lab.exchange.engine import Engine
from lab.exchange.ladders import build_ladder
from lab.exchange.model import NewOrder, Placed, Rejected, Side
from lab.exchange.netting import guaranteed_e2
from lab.exchange.state import Market
from lab.exchange.truth import TruthLog
from tests.lab.exchange.harness import (
    EVENT,
    LADDER,
    RANGES,
    START_NS,
    TARGET_NS,
    Exchange,
    S,
)
from tests.lab.exchange.schemas import check_answer

NOW = START_NS + S
PARTITION = "KXINX-26OCT02H1100"
# One level in every stretch between the strikes of both ladders, and some on the edges
LEVELS = [78_000_000, *range(78_150_000, 79_400_000, 12_500), 80_000_000]


def netting_engine(cash_e6: int = 1_000_000_000) -> Engine:
    engine = Engine(1)
    for name in "abc":
        engine.open_account(name, cash_e6, netting=name != "c")
    for ladder in (LADDER, RANGES):
        engine.add_ladder(build_ladder(ladder), START_NS)
    return engine


def ticker(engine: Engine, event: str, index: int) -> str:
    return engine.event_markets(event)[index].spec.ticker


def buy(engine: Engine, market: str, side: Side, price_e4: int, count_e2: int = 100) -> None:
    """Let `a` trade with `c`, who pays what is needed and has plenty."""
    other: Side = "ask" if side == "bid" else "bid"
    for account, one in (("c", other), ("a", side)):
        order = NewOrder(ticker=market, side=one, price_e4=price_e4, count_e2=count_e2)
        placed = engine.place(account, order, NOW)
        assert isinstance(placed, Placed), placed


def worst_e2(counts: list[int], markets: list[Market], *, none_may_win: bool) -> int:
    """Return the least that positions pay, by trying every outcome."""
    outcomes = [[market.spec.rung.settles_yes(level) for market in markets] for level in LEVELS]
    if none_may_win:
        outcomes.append([False] * len(markets))
    return min(
        sum(max(0, count if yes else -count) for count, yes in zip(counts, outcome, strict=True))
        for outcome in outcomes
    )


def test_the_exchanges_own_example() -> None:
    engine = netting_engine()
    first, second = (ticker(engine, PARTITION, index) for index in (1, 3))
    start_e6 = engine.account("a").cash_e6
    buy(engine, first, "ask", 4_000)  # NO at 0.60
    assert engine.account("a").cash_e6 == start_e6 - 600_000 - 16_800
    buy(engine, second, "ask", 3_000)  # NO at 0.70
    # "instead of taking the full $1.30 of your available funds, we take only $0.30"
    fees_e6 = 16_800 + 14_700
    assert engine.account("a").cash_e6 == start_e6 - 300_000 - fees_e6
    assert engine.account("a").returned_e6 == {PARTITION: 1_000_000}
    before_e6 = engine.account("a").cash_e6
    engine.advance(TARGET_NS)
    engine.settle(PARTITION, 78_000_000, TARGET_NS)  # both correct: one more dollar
    assert engine.account("a").cash_e6 == before_e6 + 1_000_000
    assert engine.account("a").returned_e6 == {}


def test_one_of_two_correct_pays_nothing_more() -> None:
    engine = netting_engine()
    market = engine.event_markets(PARTITION)[1]
    for index, price in ((1, 4_000), (3, 3_000)):
        buy(engine, ticker(engine, PARTITION, index), "ask", price)
    before_e6 = engine.account("a").cash_e6
    engine.advance(TARGET_NS)
    assert market.spec.rung.floor_e4 is not None
    engine.settle(PARTITION, market.spec.rung.floor_e4, TARGET_NS)
    assert engine.account("a").cash_e6 == before_e6


def test_selling_a_leg_gives_back_what_was_returned_for_it() -> None:
    engine = netting_engine()
    first, second = (ticker(engine, PARTITION, index) for index in (1, 3))
    buy(engine, first, "ask", 4_000)
    buy(engine, second, "ask", 3_000)
    before_e6 = engine.account("a").cash_e6
    buy(engine, first, "bid", 5_000)  # NO sold at 0.50, and its dollar was returned already
    assert engine.account("a").returned_e6 == {}
    assert engine.account("a").cash_e6 == before_e6 + 500_000 - 1_000_000 - 17_500


def test_a_partition_returns_nothing_for_yes() -> None:
    engine = netting_engine()
    for index in range(5):
        buy(engine, ticker(engine, PARTITION, index), "bid", 1_000)
    assert engine.account("a").returned_e6 == {}


def test_a_nested_ladder_returns_the_wide_yes_with_the_narrow_no() -> None:
    engine = netting_engine()
    start_e6 = engine.account("a").cash_e6
    buy(engine, ticker(engine, EVENT, 1), "bid", 7_000)  # above the lower strike at 0.70
    buy(engine, ticker(engine, EVENT, 3), "ask", 2_000)  # not above the higher one at 0.80
    # one of them pays whatever happens, between the strikes both: 1.50 - 1.00 can be lost
    assert engine.account("a").returned_e6 == {EVENT: 1_000_000}
    assert engine.account("a").cash_e6 == start_e6 - 500_000 - 14_700 - 11_200
    other_way = netting_engine()
    buy(other_way, ticker(other_way, EVENT, 3), "bid", 2_000)
    buy(other_way, ticker(other_way, EVENT, 1), "ask", 7_000)
    assert other_way.account("a").returned_e6 == {}  # between the strikes none pays


def test_without_netting_nothing_is_returned() -> None:
    engine = netting_engine()
    engine.account("a").netting = False
    for index in (1, 3):
        buy(engine, ticker(engine, PARTITION, index), "ask", 3_000)
    assert engine.account("a").returned_e6 == {}


def test_a_position_that_was_returned_for_may_be_impossible_to_sell() -> None:
    engine = netting_engine(10_000_000)
    first, second = (ticker(engine, PARTITION, index) for index in (1, 3))
    buy(engine, first, "ask", 9_000, 300)  # 3 NO at 0.10
    buy(engine, second, "ask", 7_000, 300)  # 3 NO at 0.30
    account = engine.account("a")
    assert account.returned_e6 == {PARTITION: 3_000_000}
    resting = NewOrder(ticker=ticker(engine, EVENT, 0), side="bid", price_e4=5_000, count_e2=2_300)
    assert isinstance(engine.place("a", resting, NOW), Placed)
    left_e6 = 10_000_000 - 1_200_000 + 3_000_000 - 11_500_000 - 18_900 - 44_100
    assert account.available_e6 == left_e6
    # Buying the first back at 0.60 costs 1.80: its three dollars are in the cash already
    back = NewOrder(ticker=first, side="bid", price_e4=6_000, count_e2=300)
    refused = engine.place("a", back, NOW)
    assert isinstance(refused, Rejected)
    assert refused.code == "insufficient_balance"
    engine.cancel_all("a", NOW)
    assert isinstance(engine.place("a", back, NOW), Placed)
    assert account.locked_e6 == 1_800_000


COUNTS = st.integers(-300, 300)


@settings(max_examples=300, deadline=None)
@given(counts=st.lists(COUNTS | st.just(0), min_size=5, max_size=5))
def test_what_is_returned_is_exactly_the_worst_outcome(counts: list[int]) -> None:
    nested = ENGINE.event_markets(EVENT)
    assert guaranteed_e2(counts, mutually_exclusive=False) == worst_e2(
        counts, nested, none_may_win=False
    )
    ranges = ENGINE.event_markets(PARTITION)
    safe_e2 = guaranteed_e2(counts, mutually_exclusive=True)
    assert safe_e2 == worst_e2(counts, ranges, none_may_win=True)
    assert safe_e2 <= worst_e2(counts, ranges, none_may_win=False)


ENGINE = netting_engine()
PICKS = st.integers(0, 3)
SIDES: st.SearchStrategy[Side] = st.sampled_from(["bid", "ask"])
CASH_E6 = 8_000_000
ROUNDING_E6 = 100


def _at(side: str, price_e4: int, count_e2: int) -> dict[str, Any]:
    return {"side": side, "price_e4": price_e4, "count_e2": count_e2}


class NettingMachine(RuleBasedStateMachine):
    """Three poor accounts on both ladders; two of them net, now and then."""

    @initialize(level_e4=st.sampled_from(LEVELS))
    def begin(self, level_e4: int) -> None:
        self.level_e4 = level_e4
        self.engine = netting_engine(CASH_E6)
        # few markets and little cash, so that positions net and orders are about to be unpayable
        self.tickers = [
            ticker(self.engine, event, index) for event in (EVENT, PARTITION) for index in (1, 3)
        ]

    @rule(
        account=st.sampled_from("abc"),
        pick=PICKS,
        side=SIDES,
        price_e4=st.sampled_from([1_000, 3_000, 5_000, 7_000, 9_000]),
        count_e2=st.sampled_from([33, 300, 1_000]),
        self_trade=st.sampled_from(["taker_at_cross", "maker"]),
    )
    def place(self, account: str, pick: int, **fields: Any) -> None:
        order = NewOrder(ticker=self.tickers[pick], **fields)
        placed = self.engine.place(account, order, NOW)
        assert isinstance(placed, Placed) or placed.code == "insufficient_balance"

    @rule(account=st.sampled_from("ab"), spends=st.booleans())
    def hedge(self, account: str, *, spends: bool) -> None:
        """Buy NO twice in the partition, and rest the cash that comes back somewhere else."""
        for market in self.tickers[2:]:
            for name, side in (("c", "bid"), (account, "ask")):
                self.place(name, self.tickers.index(market), **_at(side, 5_000, 300))
        free_e2 = self.engine.account(account).available_e6 // 9_000
        if spends and free_e2 > 0:
            self.place(account, 1, **_at("bid", 9_000, free_e2))

    @rule(account=st.sampled_from("ab"), pick=st.integers(2, 3))
    def sell(self, account: str, pick: int) -> None:
        """Buy back what the account holds of a leg, at a price that somebody takes."""
        held_e2 = -self.engine.account(account).count_e2(self.tickers[pick])
        if held_e2 > 0:
            self.place("c", pick, **_at("ask", 7_000, held_e2))
            self.place(account, pick, **_at("bid", 7_000, held_e2))

    @rule(account=st.sampled_from("abc"))
    def cancel_all(self, account: str) -> None:
        self.engine.cancel_all(account, NOW)

    @rule(account=st.sampled_from("ab"), on=st.booleans())
    def switch(self, account: str, *, on: bool) -> None:
        self.engine.account(account).netting = on

    def _paid_e6(self, account: str) -> int:
        history = self.engine.state.histories[account]
        fills_e6 = sum(fill.cash_change_e6 for fill in history.fills)
        return fills_e6 + sum(settled.revenue_e6 for settled in history.settlements)

    @invariant()
    def cash_is_conserved_and_nobody_is_in_debt(self) -> None:
        state = self.engine.state
        pool_e6 = sum(10_000 * market.open_interest_e2 for market in state.markets.values())
        cash_e6 = 0
        for name in "abc":
            account = self.engine.account(name)
            returned_e6 = sum(account.returned_e6.values())
            assert account.cash_e6 == CASH_E6 + self._paid_e6(name) + returned_e6
            fills = len(state.histories[name].fills)
            assert account.available_e6 >= -ROUNDING_E6 * fills
            cash_e6 += account.cash_e6 - returned_e6
        assert cash_e6 + pool_e6 + state.fees_e6 == 3 * CASH_E6

    @invariant()
    def what_the_exchange_holds_covers_every_outcome(self) -> None:
        state = self.engine.state
        for event in (EVENT, PARTITION):
            markets = self.engine.event_markets(event)
            for name in "abc":
                account = self.engine.account(name)
                counts = [account.count_e2(market.spec.ticker) for market in markets]
                safe_e6 = 10_000 * worst_e2(counts, markets, none_may_win=False)
                assert 0 <= account.returned_e6.get(event, 0) <= safe_e6
        total_e6 = sum(sum(self.engine.account(name).returned_e6.values()) for name in "abc")
        assert state.returned_e6 == total_e6

    def teardown(self) -> None:
        if not hasattr(self, "engine"):
            return
        self.engine.advance(TARGET_NS)
        for event in (EVENT, PARTITION):
            self.engine.settle(event, self.level_e4, TARGET_NS)
        for name in "abc":
            account = self.engine.account(name)
            assert account.returned_e6 == {}
            assert account.locked_e6 == 0
            assert account.cash_e6 == CASH_E6 + self._paid_e6(name)
            assert account.cash_e6 >= -ROUNDING_E6 * len(self.engine.state.histories[name].fills)
        total_e6 = sum(self.engine.account(name).cash_e6 for name in "abc")
        assert total_e6 + self.engine.state.fees_e6 == 3 * CASH_E6


NettingMachine.TestCase.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
TestNettingMachine = NettingMachine.TestCase


def test_the_truth_log_tells_what_was_returned_and_taken_back(tmp_path: Path) -> None:
    path = tmp_path / "truth.jsonl"
    log = TruthLog(path)
    engine = netting_engine()
    engine.listen(log.write)
    for index in (1, 3):
        buy(engine, ticker(engine, PARTITION, index), "ask", 3_000)
    engine.advance(TARGET_NS)
    engine.settle(PARTITION, 78_000_000, TARGET_NS)
    log.close()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    changes = [line["cash_change_e6"] for line in lines if line["kind"] == "collateral"]
    assert changes == [1_000_000, -1_000_000]
    books = read_books(path)["a"]
    cash_e6 = 1_000_000_000 + books.cash_flow_e6 + books.settlement_e6
    assert engine.account("a").cash_e6 == cash_e6


@pytest.mark.parametrize("enabled", [True, False])
async def test_netting_is_switched_over_rest(exchange: Exchange, enabled: bool) -> None:
    path = "/portfolio/subaccounts/netting"
    before = await exchange.call("GET", path)
    check_answer("GET", path, 200, before.json())
    assert before.json()["netting_configs"][0]["enabled"] is False
    body = {"subaccount_number": 0, "enabled": enabled}
    assert (await exchange.call("PUT", path, body)).status_code == 200
    after = (await exchange.call("GET", path)).json()
    assert after["netting_configs"][0]["enabled"] is enabled
    assert (await exchange.call("PUT", path, {"enabled": True})).status_code == 400
    wrong = {"subaccount_number": 7, "enabled": True}
    assert (await exchange.call("PUT", path, wrong)).status_code == 403
