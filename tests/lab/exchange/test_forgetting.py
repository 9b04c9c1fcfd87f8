"""An event that was paid leaves nothing behind but the cash; what is not paid stays."""

import pytest

from lab.exchange.engine import Engine
from lab.exchange.forgetting import forget_paid
from lab.exchange.ladders import LadderConfig, build_ladder
from lab.exchange.model import NewOrder

S = 1_000_000_000
NOON = 1_722_873_600 * S  # 2024-08-05 12:00 in New York
ONE = NOON + 3600 * S
SERIES = "KXINXU"
FIRST, SECOND = "KXINXU-24AUG05H1200", "KXINXU-24AUG05H1300"
DOLLAR_E6 = 1_000_000


@pytest.fixture
def engine():
    """Two events; in both A buys a contract of B at 40 cents, and A's bid at 10 cents rests."""
    engine = Engine(1)
    engine.advance(NOON - 600 * S)
    for name in ("A", "B"):
        engine.open_account(name, 100 * DOLLAR_E6)
    for target_ns in (NOON, ONE):
        ladder = LadderConfig(
            series=SERIES, target_ns=target_ns, centre_e4=52_000_000, step_e4=100_000, rungs=3
        )
        engine.add_ladder(build_ladder(ladder), NOON - 600 * S)
    for event in (FIRST, SECOND):
        for account, side, price_e4 in (
            ("B", "ask", 4_000),
            ("A", "bid", 4_000),
            ("A", "bid", 1_000),
        ):
            order = NewOrder(
                ticker=f"{event}-T5199.9999",
                side=side,
                price_e4=price_e4,
                count_e2=100,
                client_order_id=f"{event}{account}{price_e4}",
            )
            engine.place(account, order, NOON - 500 * S)
    return engine


def paid(engine):
    engine.settle(FIRST, 52_000_000, NOON)  # 5,200 is above 5,199.9999: A is paid a dollar
    engine.advance(NOON + 60 * S)


def test_what_is_paid_goes_and_the_cash_stays(engine):
    paid(engine)
    cash = {name: engine.account(name).cash_e6 for name in "AB"}
    taken = forget_paid(engine, FIRST)
    assert [len(taken["A"].orders), len(taken["A"].fills), len(taken["A"].settlements)] == [2, 1, 1]
    assert {name: engine.account(name).cash_e6 for name in "AB"} == cash
    assert cash["A"] > 100 * DOLLAR_E6 - 400_000  # a dollar for 40 cents, and 40 cents laid out
    tables = (engine.state.events, engine.state.event_markets, engine.state.markets)
    assert all(SECOND in name for table in tables for name in table)
    for name in "AB":
        account, history = engine.account(name), engine.state.histories[name]
        assert set(account.positions) == {f"{SECOND}-T5199.9999"}
        assert all(SECOND in one for one in account.client_ids)
        rows = (*history.orders, *history.fills, *history.settlements)
        assert all(SECOND in one.ticker for one in rows)
    assert all(SECOND in order.ticker for order in engine.state.orders.values())
    assert all(SECOND in trade.ticker for trade in engine.state.trades)


def test_the_other_event_trades_on_and_is_paid(engine):
    paid(engine)
    forget_paid(engine, FIRST)
    (resting,) = engine.resting("A")
    assert resting.ticker.startswith(SECOND)
    assert engine.account("A").locked_e6 == 100_000  # its bid at 10 cents
    before_e6 = engine.account("A").cash_e6
    engine.settle(SECOND, 51_000_000, ONE)
    engine.advance(ONE + 60 * S)
    assert engine.account("A").cash_e6 == before_e6  # 5,100: its YES pays nothing
    forget_paid(engine, SECOND)
    assert engine.account("A").locked_e6 == 0
    assert not engine.state.orders
    assert not engine.state.markets


def test_what_is_not_paid_is_not_let_go_of(engine):
    with pytest.raises(AssertionError, match="expected it to be paid"):
        forget_paid(engine, FIRST)
