"""Which windows a backtest trades: those that the bars cover whole, T-15 min or T-10 to T."""

from datetime import date, timedelta

import pytest

from lab.backtest.spans import find_spans
from lab.market.bars import BarsError
from tests.lab.backtest.making import NOON, write_bars

DAY = date(2024, 8, 5)
S = 1_000_000_000
NOON_NS = int(NOON.timestamp()) * S


def found(folder, first=None, last=None):
    return find_spans([folder], 1, first, last)


def test_a_window_is_covered_from_the_quarter_before_to_the_target(tmp_path):
    write_bars(tmp_path, NOON - timedelta(minutes=15), 15)
    (span,) = found(tmp_path).spans
    assert (span.day, span.targets_ns) == (DAY, (NOON_NS,))
    assert span.start_ns == NOON_NS - 900 * S


@pytest.mark.parametrize(("before", "minutes"), [(14, 14), (15, 14)])
def test_a_minute_short_at_either_end_is_no_window_and_is_named(tmp_path, before, minutes):
    write_bars(tmp_path, NOON - timedelta(minutes=before), minutes)
    bars = found(tmp_path)
    assert not bars.spans
    assert "covers no whole window of INXU" in bars.left_out["I_*_x"]


def test_a_session_has_its_seven_targets_and_an_early_close_four(tmp_path):
    write_bars(tmp_path, NOON.replace(hour=13, minute=30), 390, name="whole")
    half = NOON.replace(month=11, day=29, hour=14, minute=30)  # closes at 13:00, winter time
    write_bars(tmp_path, half, 390, name="half")
    whole, early = found(tmp_path).spans
    assert [(at - whole.targets_ns[0]) // (3_600 * S) for at in whole.targets_ns] == list(range(7))
    assert len(early.targets_ns) == 4
    for span in (whole, early):  # an early close shifts the ranges with it
        *hours, close = span.families.values()
        assert set(hours) == {("INXU",)}
        assert close == ("INXU", "INX")


def test_a_close_is_traded_from_ten_minutes_before_it_and_its_hour_from_fifteen(tmp_path):
    close = NOON.replace(hour=20)
    for lead, families in ((15, ("INXU", "INX")), (14, ("INX",)), (10, ("INX",)), (9, None)):
        folder = tmp_path / str(lead)
        folder.mkdir()
        write_bars(folder, close - timedelta(minutes=lead), lead)
        spans = found(folder).spans
        assert [tuple(span.families.values()) for span in spans] == (
            [(families,)] if families else []
        )


def test_only_the_families_asked_for_are_traded(tmp_path):
    write_bars(tmp_path, NOON.replace(hour=20) - timedelta(minutes=15), 15)
    (span,) = find_spans([tmp_path], 1, None, None, ("INX", "NASDAQ100")).spans
    assert list(span.families.values()) == [("INX",)]  # no bars of the Nasdaq-100
    assert span.events == 1
    nothing = find_spans([tmp_path], 1, None, None, ("NASDAQ100",))
    assert not nothing.spans
    assert nothing.left_out == {"I_*_x": "it covers no whole window of NASDAQ100"}


def test_indices_are_one_stretch_over_the_time_that_both_cover(tmp_path):
    one = write_bars(tmp_path, NOON - timedelta(minutes=20), 25)
    write_bars(tmp_path, NOON - timedelta(minutes=15), 15, symbol="NDX")
    for paths in ([tmp_path], [one]):  # a file finds its sibling
        (span,) = find_spans(paths, 1, None, None).spans
        assert set(span.path.symbols) == {"I:SPX", "I:NDX"}
        assert span.start_ns == NOON_NS - 900 * S


def test_days_outside_are_left_out_by_name(tmp_path):
    write_bars(tmp_path, NOON - timedelta(minutes=15), 15)
    assert found(tmp_path, DAY, DAY).spans
    bars = found(tmp_path, DAY + timedelta(days=1))
    assert not bars.spans
    assert bars.left_out == {"I_*_x 2024-08-05": "not within --from and --to"}


def test_two_files_of_one_time_are_refused(tmp_path):
    write_bars(tmp_path, NOON - timedelta(minutes=15), 15)
    write_bars(tmp_path, NOON - timedelta(minutes=20), 25, name="y")
    with pytest.raises(BarsError, match="both cover 2024-08-05"):
        found(tmp_path)


def test_nothing_there_and_no_symbol_are_refused(tmp_path):
    with pytest.raises(BarsError, match=r"expected \*\.parquet files of minute bars, found none"):
        found(tmp_path)
    with pytest.raises(BarsError, match="nothing there"):
        found(tmp_path / "no")
    write_bars(tmp_path, NOON, 1, symbol="DAX")
    with pytest.raises(BarsError, match="SPX or NDX"):
        found(tmp_path)
