"""Strategy P&L by hand: settled markets alone, every tradable day, nothing shown from too few."""

from datetime import date

import pytest

from lab.backtest.pnl import strategy_pnl

EVENTS = {"2024-08-05": "KXINXU-24AUG05H1200", "2024-08-20": "KXINXU-24AUG20H1200"}
DAYS = {date(2024, 8, 5): 2, date(2024, 8, 20): 2, date(2024, 9, 11): 2}


def market(day, pnl_e6, result="yes", fills=1, fees_e6=0):
    return {
        "event_ticker": EVENTS[day],
        "fills": fills,
        "contracts_filled_e2": 100 * fills,
        "fees_e6": fees_e6,
        "result": result,
        "settlement_pnl_e6": pnl_e6,
    }


def test_days_add_up_and_a_day_without_a_trade_counts_as_zero():
    found = strategy_pnl(
        [market("2024-08-05", 300_000, fees_e6=7), market("2024-08-20", -90_000, fills=2)], DAYS
    )
    assert [(day.day, day.pnl_e6, day.fills) for day in found.days] == [
        ("2024-08-05", 300_000, 1),
        ("2024-08-20", -90_000, 2),
        ("2024-09-11", 0, 0),
    ]
    assert found.total_e6 == 210_000
    assert found.mean_day_dollars == pytest.approx(0.07)
    assert (found.fills, found.contracts_e2, found.fees_e6) == (3, 300, 7)


def test_what_is_not_settled_is_counted_and_earns_nothing():
    found = strategy_pnl([market("2024-08-05", 5_000_000, result="")], DAYS)
    assert found.total_e6 == 0
    assert found.markets_unsettled == 1


SIX = {date(2024, 8, day): 1 for day in (5, 6, 7, 8, 9, 12)}


def each(amounts_e6):
    names = [f"KXINXU-24AUG{day.day:02}H1200" for day in SIX]
    return [
        market("2024-08-05", amount_e6) | {"event_ticker": name}
        for name, amount_e6 in zip(names, amounts_e6, strict=False)
    ]


def test_five_days_that_all_gain_show_nothing():
    five = dict(list(SIX.items())[:5])
    found = strategy_pnl(each([900_000] * 5), five)
    assert found.mean_day_dollars == pytest.approx(0.9)
    assert found.ci95_day_dollars is None
    assert found.beats_no_trade is None


def test_an_interval_that_holds_zero_shows_nothing():
    found = strategy_pnl(each([300_000, -200_000, 100_000, -250_000, 50_000, 10_000]), SIX)
    low, high = found.ci95_day_dollars
    assert low < 0 < high
    assert found.beats_no_trade is None


@pytest.mark.parametrize(("sign", "better"), [(1, True), (-1, False)])
def test_days_that_all_agree_are_told_apart_from_no_trade(sign, better):
    found = strategy_pnl(each([sign * amount for amount in (100, 300, 200, 150, 250, 120)]), SIX)
    assert found.beats_no_trade is better
    assert min(map(abs, found.ci95_day_dollars)) >= 100e-6  # no resample of days has a smaller mean
    assert max(map(abs, found.ci95_day_dollars)) <= 300e-6


def test_with_hindsight_no_edge_is_claimed():
    gains = each([100, 300, 200, 150, 250, 120])
    found = strategy_pnl(gains, SIX, hindsight=True)
    assert found.ci95_day_dollars == strategy_pnl(gains, SIX).ci95_day_dollars
    assert found.beats_no_trade is None
