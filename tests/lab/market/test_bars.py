"""Bar files: what is wrong is refused with file, expectation and finding; siblings are found."""

import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from lab.market.bars import PRICES, BarsError, read_bars, resolve_bars
from tests.shared_data import SHARED_DATA, shared_file

START = datetime(2024, 8, 5, 15, 45, tzinfo=UTC)


def columns(minutes: int = 3) -> dict[str, list[Any]]:
    return {
        "timestamp": [START + timedelta(minutes=row) for row in range(minutes)],
        "open": [5_200.0] * minutes,
        "high": [5_201.5] * minutes,
        "low": [5_199.25] * minutes,
        "close": [5_200.5] * minutes,
    }


def written(tmp_path: Path, data: dict[str, list[Any]], name: str = "I_SPX_x.parquet") -> Path:
    path = tmp_path / name
    pl.DataFrame(data).write_parquet(path)
    return path


def test_good_bars_are_read_in_units_of_0_0001(tmp_path: Path) -> None:
    bars = read_bars(written(tmp_path, columns()), "I:SPX")
    assert len(bars) == 3
    assert bars.start_ns[0] == int(START.timestamp()) * 1_000_000_000
    assert (bars.open_e4[0], bars.high_e4[0]) == (52_000_000, 52_015_000)
    assert (bars.low_e4[0], bars.close_e4[0]) == (51_992_500, 52_005_000)


def stamps(*minutes: float) -> dict[str, list[Any]]:
    data = columns(len(minutes))
    data["timestamp"] = [START + timedelta(minutes=minute) for minute in minutes]
    return data


def changed(name: str, row: int, value: float | None) -> dict[str, list[Any]]:
    data = columns()
    data[name][row] = value
    return data


def beyond(microseconds: int) -> dict[str, Any]:
    """Return bars whose second stamp no datetime or nanosecond count holds."""
    data: dict[str, Any] = columns(2)
    first = int(START.timestamp()) * 1_000_000
    data["timestamp"] = pl.Series([first, microseconds]).cast(pl.Datetime("us", "UTC"))
    return data


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (stamps(0, 1, 3), "gap"),
        (stamps(0, 1, 1), "duplicate"),
        (stamps(0, 2, 1), "missing|rising"),
        (stamps(1, 0, 2), "rising"),
        (stamps(0, 0.5, 2), "whole minutes"),
        (changed("open", 1, float("nan")), "positive level in open"),
        (changed("close", 1, None), "positive level in close"),
        (changed("low", 1, -1.0), "positive level in low"),
        (changed("high", 2, 5_200.25), "low <= open, close <= high"),
        (changed("low", 0, 5_200.25), "low <= open, close <= high"),
        (
            {
                **columns(),
                "timestamp": [stamp.replace(tzinfo=None) for stamp in columns()["timestamp"]],
            },
            "datetime in UTC",
        ),
        (beyond(-(2**62)), "stamps between 1678 and 2262, found 1 beyond"),
        (beyond(2**62), "stamps between 1678 and 2262, found 1 beyond"),
        ({name: values for name, values in columns().items() if name != "low"}, "column low"),
        ({**columns(), "open": ["a", "b", "c"]}, "numbers in column open"),
        (columns(0) | {"timestamp": pl.Series([], dtype=pl.Datetime("us", "UTC"))}, "1 to"),
    ],
)
def test_bad_bars_are_refused_in_one_line(
    tmp_path: Path, data: dict[str, list[Any]], expected: str
) -> None:
    path = written(tmp_path, data)
    with pytest.raises(BarsError, match=expected) as caught:
        read_bars(path, "I:SPX")
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_parquet_or_not_there(tmp_path: Path) -> None:
    path = tmp_path / "I_SPX_x.parquet"
    with pytest.raises(BarsError, match="no such file"):
        resolve_bars([path])
    path.write_bytes(b"not parquet at all")
    with pytest.raises(BarsError, match="readable Parquet"):
        read_bars(path, "I:SPX")


def test_a_damaged_file_is_refused_in_one_line_or_read(tmp_path: Path, capfd: Any) -> None:
    """Bytes changed anywhere: a `BarsError`, nothing on stderr, and the process lives."""
    path = written(tmp_path, columns(20))
    whole = path.read_bytes()
    chance = random.Random(3)
    complaints = []
    for _ in range(300):
        damaged = bytearray(whole)
        for _ in range(chance.choice((1, 3, 20))):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        path.write_bytes(damaged)
        try:
            read_bars(path, "I:SPX")
        except BarsError as error:
            complaints.append(str(error))
    assert len(complaints) > 150
    assert not any("\n" in complaint for complaint in complaints)
    assert capfd.readouterr().err == ""


def times(factor: float, names: tuple[str, ...], rows: slice) -> dict[str, list[Any]]:
    data = columns(6)
    for name in names:
        data[name][rows] = [value * factor for value in data[name][rows]]
    return data


@pytest.mark.parametrize(
    "data",
    [
        times(10.0, PRICES, slice(3, None)),
        times(1.3, PRICES, slice(2, 3)),
        times(1.2, ("high",), slice(2, 3)),
        times(0.8, ("low",), slice(2, 3)),
        times(0.8, ("open", "low"), slice(0, 1)),
    ],
)
def test_a_move_that_no_index_makes_in_a_minute_is_refused(
    tmp_path: Path, data: dict[str, list[Any]]
) -> None:
    with pytest.raises(BarsError, match="minute moves within 10%"):
        read_bars(written(tmp_path, data), "I:SPX")


def test_a_night_may_move_what_a_minute_may_not(tmp_path: Path) -> None:
    data = times(0.85, PRICES, slice(3, None))
    data["timestamp"][3:] = [stamp + timedelta(days=1) for stamp in data["timestamp"][3:]]
    assert len(read_bars(written(tmp_path, data), "I:SPX")) == 6


def test_a_sibling_of_the_other_index_is_found(tmp_path: Path) -> None:
    spx = written(tmp_path, columns(), "I_SPX_day_noon.parquet")
    assert resolve_bars([spx]) == {"I:SPX": spx}
    ndx = written(tmp_path, columns(), "I_NDX_day_noon.parquet")
    assert resolve_bars([spx]) == {"I:SPX": spx, "I:NDX": ndx}
    assert resolve_bars([ndx]) == {"I:NDX": ndx, "I:SPX": spx}


def test_names_must_tell_one_symbol(tmp_path: Path) -> None:
    with pytest.raises(BarsError, match="SPX or NDX in the file's name"):
        resolve_bars([written(tmp_path, columns(), "bars.parquet")])
    first = written(tmp_path, columns(), "I_SPX_a.parquet")
    with pytest.raises(BarsError, match="one file of I:SPX"):
        resolve_bars([first, written(tmp_path, columns(), "I_SPX_b.parquet")])


def test_every_real_file_is_valid() -> None:
    shared_file("index/windows")
    paths = sorted((SHARED_DATA / "index" / "windows").glob("*.parquet"))
    paths += sorted((SHARED_DATA / "index" / "sessions").glob("*.parquet"))
    for path in paths:
        symbol = "I:SPX" if "SPX" in path.name else "I:NDX"
        assert set(resolve_bars([path])) == {"I:SPX", "I:NDX"}
        assert len(read_bars(path, symbol)) >= 16
