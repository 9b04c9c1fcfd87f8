"""The close: ranges of the S&P 500 and the Nasdaq-100 beside the hour's thresholds."""

from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest

from lab.backtest.run import RESTING_FILE, run_backtest
from lab.backtest.spans import find_spans
from lab.backtest.walk import always
from lab.drive.config import load_drive
from lab.drive.cores import load_calibrations
from services.reporting.ledger import Ledger
from tests.lab.backtest.making import NOON, write_bars
from tests.shared_data import shared_file

S = 1_000_000_000
CLOSE = NOON.replace(hour=20)
CLOSE_NS = int(CLOSE.timestamp()) * S
DAYS = ("2024-04-19", "2024-06-03", "2024-08-05", "2024-08-20", "2024-09-11", "2024-09-18")


def traded(bars, folder):
    config = load_drive("replay")
    choose = always(load_calibrations(config))
    return run_backtest(bars, config, choose, folder, 1, lambda *_: None)


def demand_equal_books(result):
    assert result.problems == ()
    assert result.exchange == result.ledger
    assert result.resting_after_t2 == 0
    assert result.pnl.total_e6 == result.exchange.pnl_e6
    assert result.pnl.markets_unsettled == 0
    assert result.refused_inputs == {}
    stays = pl.read_parquet(Path(result.directory) / RESTING_FILE)
    assert (stays["ended_ns"] <= stays["target_ns"] - 2 * S).all()
    return stays


@pytest.fixture(scope="module")
def ranges(tmp_path_factory):
    """Ten minutes of bars: the ranges' window and not the hour's."""
    folder = tmp_path_factory.mktemp("bars")
    write_bars(folder, CLOSE - timedelta(minutes=10), 10)
    bars = find_spans([folder], 1, None, None)
    return bars, traded(bars, tmp_path_factory.mktemp("run"))


def test_the_ranges_are_traded_and_the_books_agree(ranges):
    _, result = ranges
    stays = demand_equal_books(result)
    assert set(stays["event_ticker"]) == {"KXINX-24AUG05H1600"}
    assert result.exchange.fills > 0  # agreeing on nothing proves nothing
    assert (stays["rested_ns"] >= CLOSE_NS - 600 * S).all()
    assert result.pnl.days[0].events == 1


def test_what_a_range_pays_is_its_payoff_at_the_last_bar_s_close(ranges):
    """From the fills alone: a YES is worth a dollar if floor <= level <= cap, ends strictly."""
    bars, result = ranges
    level = bars.spans[0].path.level_e4("I:SPX", CLOSE_NS) / 10_000
    ledger = Ledger(f"{result.directory}/ledger")
    fills = ledger.query("SELECT * FROM trades").records()
    ledger.close()
    pnl_e6 = 0
    for fill in fills:
        strike_text = fill["ticker"].rsplit("-", 1)[1]
        kind, strike = strike_text[0], float(strike_text[1:])
        if kind == "B":  # 25 points around its middle, which is rounded down
            yes = strike - 12 <= level < strike + 13
        else:  # T says nothing of the side: 5,549.9999 is the last one's floor, a whole one a cap
            yes = level > strike if strike % 1 else level < strike
        signed_e2 = fill["count_e2"] if fill["side"] == "bid" else -fill["count_e2"]
        pnl_e6 += signed_e2 * ((10_000 if yes else 0) - fill["price_e4"]) - fill["fee_e6"]
    assert len(fills) == result.exchange.fills
    assert pnl_e6 == result.pnl.total_e6


@pytest.mark.slow
@pytest.mark.parametrize("day", DAYS)
def test_a_real_close_is_traded_with_all_four_families(day, tmp_path):
    for symbol in ("SPX", "NDX"):
        path = shared_file(f"index/windows/I_{symbol}_{day}_close.parquet")
        (tmp_path / path.name).symlink_to(path)
    bars = find_spans([tmp_path], 1, None, None)
    result = traded(bars, tmp_path / "run")
    stays = demand_equal_books(result)
    series = stays["event_ticker"].str.split("-").list.first()
    assert set(series) == {"KXINXU", "KXNASDAQ100U", "KXINX", "KXNASDAQ100"}
    assert [(one.day, one.events) for one in result.pnl.days] == [(day, 4)]
    filled = stays.filter(pl.col("filled_e2") > 0)["event_ticker"].str.split("-").list.first()
    assert set(filled) & {"KXINX", "KXNASDAQ100"}
