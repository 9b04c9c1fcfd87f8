"""One window through everything: the books agree, the same seed does the same, nothing flatters."""

import json
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest

from lab.backtest.run import RESTING_FILE, run_backtest
from lab.backtest.spans import find_spans
from lab.backtest.walk import always
from lab.backtest.world import World
from lab.drive.config import load_drive
from lab.drive.cores import load_calibrations
from libs.common.messages import IndexTick, LadderSnapshot, decode
from services.reporting.ledger import Ledger
from tests.lab.backtest.making import NOON, write_bars

S = 1_000_000_000


def quiet(span, now_ns):
    pass


@pytest.fixture(scope="module")
def setting(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bars")
    write_bars(folder, NOON - timedelta(minutes=15), 15)
    config = load_drive("replay")
    return find_spans([folder], 1, None, None), config, load_calibrations(config)


@pytest.fixture(scope="module")
def result(setting, tmp_path_factory):
    bars, config, calibrations = setting
    return run_backtest(
        bars, config, always(calibrations), tmp_path_factory.mktemp("run"), 1, quiet
    )


@pytest.fixture(scope="module")
def rows(result):
    ledger = Ledger(f"{result.directory}/ledger")
    yield lambda sql: ledger.query(sql).records()
    ledger.close()


def test_the_exchange_and_the_ledger_agree(result):
    assert result.problems == ()
    assert result.exchange == result.ledger
    assert result.exchange.orders > 0  # it did trade: agreeing on nothing proves nothing
    assert result.exchange.fills > 0
    assert result.resting_after_t2 == 0
    assert result.pnl.total_e6 == result.exchange.pnl_e6
    assert result.pnl.markets_unsettled == 0
    assert result.refused_inputs == {}


def test_the_same_seed_does_the_same_and_another_one_does_not(setting, result):
    bars, config, calibrations = setting

    def digest(seed):
        start_ns = bars.spans[0].start_ns - S
        world = World(config, calibrations, None, start_ns=start_ns, seed=seed)
        world.run(bars.spans[0], quiet)
        world.close()
        return world.effects.digest

    assert digest(1) == result.effects_digest  # with a ledger or without one
    assert digest(2) != result.effects_digest


def test_between_two_days_nothing_is_said(setting, tmp_path_factory):
    """Weeks lie between two days of bars: a service awake there would fill the ledger."""
    _, config, calibrations = setting
    folder = tmp_path_factory.mktemp("days")
    for day in (1, 8):
        start = NOON.replace(month=8, day=day) - timedelta(minutes=15)
        write_bars(folder, start, 15, name=f"day{day}")
    first, second = find_spans([folder], 1, None, None).spans
    world = World(config, calibrations, None, start_ns=first.start_ns - S, seed=1)
    world.run(first, quiet)
    said = world.services.published
    world.schedule.run_until(second.start_ns)
    assert world.services.published - said < 20
    orders = world.done().orders
    world.run(second, quiet)
    assert world.done().orders > orders > 0  # and it trades again
    assert world.market.refused == {}


def test_every_stay_is_a_row_and_their_fills_are_all_fills(result, rows):
    stays = pl.read_parquet(f"{result.directory}/{RESTING_FILE}")
    assert (stays["filled_e2"] == 0).any()
    assert int(stays["filled_e2"].sum()) == result.exchange.contracts_e2
    assert (stays["filled_e2"] <= stays["count_e2"]).all()
    assert (stays["ended_ns"] >= stays["rested_ns"]).all()
    assert (stays["ended_ns"] <= stays["target_ns"] - 2 * S).all()
    filled = {
        row["client_order_id"]: row["filled_count_e2"] for row in rows("SELECT * FROM orders")
    }
    by_order = stays.group_by("client_order_id").agg(pl.col("filled_e2").sum()).iter_rows()
    assert all(filled[name] == filled_e2 for name, filled_e2 in by_order)


def test_no_level_is_known_before_its_end_and_no_book_before_it_was(rows):
    sql = "SELECT payload FROM messages WHERE stream IN ('TICKS', 'LADDERS') LIMIT 10000"
    messages = [decode(row["payload"].encode()) for row in rows(sql)]
    ticks = [one for one in messages if isinstance(one, IndexTick)]
    assert len(ticks) > 900
    assert all(tick.recv_ns >= tick.bar_end_ns + S // 10 for tick in ticks)
    books = [one for one in messages if isinstance(one, LadderSnapshot)]
    assert all(book.recv_ns <= book.ts_pub_ns for book in books)
    assert {one.provenance for one in (*ticks, *books)} == {"replay"}


def test_the_report_is_a_session_report(result):
    (path,) = result.reports
    report = json.loads(Path(path).with_suffix(".json").read_text())
    assert report["format"].startswith("kalshi-alpha session report")
    assert report["problems"] == []
    assert report["totals"]["settled_e6"] == result.pnl.total_e6
