"""The path is one function of (seed, bars, time), whoever asks, in whatever order."""

import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from lab.market.bars import MINUTE_NS, MinuteBars, read_bars
from lab.market.path import NS_PER_S, IndexPath
from tests.lab.market.times import CLOSE_NS, NOON_NS, OPEN_NS
from tests.shared_data import shared_file

ROOT = Path(__file__).resolve().parents[3]


def three_bars() -> MinuteBars:
    columns = np.array([[100, 100, 101], [104, 102, 103], [99, 98, 100], [101, 101, 102]]) * 10_000
    return MinuteBars(
        symbol="I:SPX",
        source="I_SPX_test.parquet",
        start_ns=NOON_NS + np.arange(3, dtype=np.int64) * MINUTE_NS,
        open_e4=columns[0],
        high_e4=columns[1],
        low_e4=columns[2],
        close_e4=columns[3],
    )


def test_synthetic_levels_do_not_depend_on_instance_or_order() -> None:
    times = [NOON_NS + second * NS_PER_S for second in range(-600, 600, 7)]
    forward = IndexPath(7)
    first = {(s, at): forward.level_e4(s, at) for at in times for s in ("I:SPX", "I:NDX")}
    other = IndexPath(7)
    shuffled = list(first)
    random.Random(1).shuffle(shuffled)
    assert {key: other.level_e4(*key) for key in shuffled} == first


def test_another_process_sees_the_same_path() -> None:
    program = (
        "from lab.market.path import IndexPath; "
        "from tests.lab.market.times import NOON_NS; "
        "p = IndexPath(11); "
        "print([p.level_e4(s, NOON_NS + k * 10**9) for s in p.symbols for k in range(60)])"
    )
    shown = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    path = IndexPath(11)
    here = [path.level_e4(s, NOON_NS + k * NS_PER_S) for s in path.symbols for k in range(60)]
    assert shown.stdout.strip() == str(here)


def test_a_print_holds_until_the_next_second() -> None:
    path = IndexPath(7)
    point = path.point("I:SPX", NOON_NS + 999_999_999)
    assert point == path.point("I:SPX", NOON_NS)
    assert (point.at_ns, point.origin) == (NOON_NS, "synthetic")


def test_synthetic_levels_are_held_outside_the_session() -> None:
    path = IndexPath(7)
    assert path.level_e4("I:SPX", OPEN_NS - NS_PER_S) == path.level_e4("I:SPX", OPEN_NS)
    assert path.level_e4("I:SPX", CLOSE_NS + MINUTE_NS) == path.level_e4("I:SPX", CLOSE_NS)
    assert path.opening_e4("I:SPX", NOON_NS) == path.level_e4("I:SPX", OPEN_NS)


def test_around_the_clock_the_index_moves_at_night_and_on_sundays() -> None:
    path = IndexPath(7, around_the_clock=True)
    sunday_ns = 1_790_467_200 * NS_PER_S  # 2026-09-27 00:00 UTC
    levels = {path.level_e4("I:SPX", sunday_ns + hour * 3_600 * NS_PER_S) for hour in range(24)}
    assert len(levels) > 20
    assert path.opening_e4("I:SPX", sunday_ns + NS_PER_S) == path.level_e4("I:SPX", sunday_ns)


def test_outside_of_the_session_the_expected_move_is_that_of_its_end() -> None:
    path = IndexPath(7)
    hour_ns = 3_600 * NS_PER_S
    after = path.sigma_e4("I:SPX", CLOSE_NS + 3 * hour_ns, CLOSE_NS + 4 * hour_ns)
    last_minute = path.sigma_e4("I:SPX", CLOSE_NS - MINUTE_NS, CLOSE_NS)
    assert after == pytest.approx(last_minute * 60**0.5, rel=0.1)


def test_base_levels_move_the_session() -> None:
    path = IndexPath(7, base_levels_e4={"I:SPX": 50_000_000})
    assert 0.97 < path.level_e4("I:SPX", OPEN_NS) / 50_000_000 < 1.03


def test_bars_are_met_and_marked() -> None:
    bars = three_bars()
    path = IndexPath(7, {"I:SPX": bars})
    for row in range(len(bars)):
        start_ns = int(bars.start_ns[row])
        minute = path.aggregate("I:SPX", start_ns, start_ns + MINUTE_NS)
        assert (minute.open_e4, minute.high_e4) == (bars.open_e4[row], bars.high_e4[row])
        assert (minute.low_e4, minute.close_e4) == (bars.low_e4[row], bars.close_e4[row])
        origins = [path.origin("I:SPX", start_ns + s * NS_PER_S) for s in range(60)]
        assert origins == ["bars", *["bridge"] * 58, "bars"]


def test_before_and_after_the_bars_the_level_is_held_and_marked() -> None:
    path = IndexPath(7, {"I:SPX": three_bars()})
    assert path.level_e4("I:SPX", NOON_NS - 900 * NS_PER_S) == 1_000_000
    assert path.origin("I:SPX", NOON_NS - 1) == "bridge"
    assert path.level_e4("I:SPX", NOON_NS + 3 * MINUTE_NS) == 1_020_000
    assert path.origin("I:SPX", NOON_NS + 3 * MINUTE_NS) == "bridge"
    assert path.coverage_ns("I:SPX") == (NOON_NS, NOON_NS + 3 * MINUTE_NS)
    assert path.coverage_ns("I:NDX") is None


def test_origins_tell_what_came_from_where() -> None:
    path = IndexPath(7, {"I:SPX": three_bars()})
    assert path.origins() == {
        "I:SPX": "bars I_SPX_test.parquet, bridged by second",
        "I:NDX": "synthetic, seed 7",
    }
    assert path.origin("I:NDX", NOON_NS) == "synthetic"


def test_sigma_grows_with_the_root_of_time() -> None:
    for bars in (None, {"I:SPX": three_bars()}):
        path = IndexPath(7, bars)
        one = path.sigma_e4("I:SPX", NOON_NS, NOON_NS + MINUTE_NS)
        four = path.sigma_e4("I:SPX", NOON_NS, NOON_NS + 4 * MINUTE_NS)
        assert one > 0
        assert four == pytest.approx(2 * one, rel=0.01)
        assert path.sigma_e4("I:SPX", NOON_NS, NOON_NS) == 0.0


def test_unknown_symbols_are_refused() -> None:
    with pytest.raises(ValueError, match="expected one of I:SPX, I:NDX"):
        IndexPath(7, symbols=("DJI",))
    with pytest.raises(KeyError, match="DJI"):
        IndexPath(7).level_e4("DJI", NOON_NS)


@pytest.mark.parametrize("name", ["windows/I_SPX_2024-08-05_noon", "sessions/I_NDX_2025-10-31"])
def test_real_bars_are_met_bar_by_bar(name: str) -> None:
    symbol = "I:SPX" if "SPX" in name else "I:NDX"
    bars = read_bars(shared_file(f"index/{name}.parquet"), symbol)
    path = IndexPath(1, {symbol: bars})
    for row in range(len(bars)):
        start_ns = int(bars.start_ns[row])
        minute = path.aggregate(symbol, start_ns, start_ns + MINUTE_NS)
        met = (minute.open_e4, minute.high_e4, minute.low_e4, minute.close_e4)
        assert met == (
            bars.open_e4[row],
            bars.high_e4[row],
            bars.low_e4[row],
            bars.close_e4[row],
        )
