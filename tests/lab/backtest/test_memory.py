"""A year of bars in one run: what a day has settled is counted, written down and let go of."""

from datetime import timedelta

import polars as pl
import pytest

from lab.backtest.resting import RestingFile
from lab.backtest.spans import find_spans
from lab.backtest.world import World
from lab.drive.account import OURS
from lab.drive.config import load_drive
from lab.drive.cores import load_calibrations
from lab.drive.ledger import open_ledger
from libs.common.topology import Service
from services.reporting.account_books import account_books
from tests.lab.backtest.making import NOON, write_bars

S = 1_000_000_000
DAYS = (5, 6, 7)


class Kept:
    """How much of each day's doings is still there when its span is over."""

    def __init__(self, world):
        state, broker = world.engine.state, world.services[Service.BROKER].core.state
        history = state.histories[OURS]
        self.exchange = sum(
            map(
                len,
                (
                    *(state.events, state.markets, state.orders, state.trades),
                    *(history.orders, history.fills, history.settlements),
                    *(account.positions for account in state.accounts.values()),
                    *(account.client_ids for account in state.accounts.values()),
                ),
            )
        )
        self.broker_orders = len(broker.orders)


@pytest.fixture(scope="module")
def three_days(tmp_path_factory):
    folder = tmp_path_factory.mktemp("three")
    for day in DAYS:
        close = NOON.replace(day=day, hour=20)
        write_bars(folder, close - timedelta(minutes=10), 10, name=f"day{day}", seed=day)
    config = load_drive("replay")
    spans = find_spans([folder], 1, None, None).spans
    ledger = open_ledger(folder / "ledger", config.reporting)
    start_ns = spans[0].start_ns - S
    world = World(config, load_calibrations(config), ledger, start_ns=start_ns, seed=1)
    resting, kept, orders, late = RestingFile(folder / "resting.parquet"), [], [], 0
    for span in spans:
        world.run(span, lambda *_: None)
        late += resting.take(world.account.stays)
        kept.append(Kept(world))
        orders.append(world.done().orders)
    world.close()
    resting.close()
    books = account_books(ledger, [])
    ledger.close()
    return world, books, kept, orders, late, pl.read_parquet(folder / "resting.parquet")


def test_after_each_day_nothing_of_it_is_left(three_days):
    _, _, kept, orders, _, _ = three_days
    assert orders[0] > 0
    by_day = [orders[0], orders[1] - orders[0], orders[2] - orders[1]]
    assert [one.exchange for one in kept] == [0, 0, 0]
    assert [one.broker_orders for one in kept] == by_day  # begun anew each day


def test_the_books_agree_over_days_that_were_let_go_of(three_days):
    world, books, _, orders, late, stays = three_days
    done = world.done()
    assert done.orders == books["orders_accepted"] == orders[-1]
    assert done.fills == books["fills"] > 0
    assert done.contracts_e2 == books["contracts_filled_e2"] == int(stays["filled_e2"].sum())
    assert done.fees_e6 == books["fees_e6"]
    cash_e6 = world.engine.account(OURS).cash_e6
    assert cash_e6 - load_drive("replay").lab.balance_e6 == books["settlement_pnl_e6"]
    assert late == 0
    assert stays["ended_ns"].is_sorted()
    assert stays["event_ticker"].n_unique() == len(DAYS)
