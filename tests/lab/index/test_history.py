"""Reading bars and levels: what is handled and counted, what refuses the file, by name."""

from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from msgspec.structs import replace

from lab.index.history import HistoryError, load, only_days, split
from tests.lab.index.walks import MINUTE, sessions_from, walk, write_bars, write_levels

SESSIONS = sessions_from(date(2025, 3, 3), 3)


@pytest.fixture
def row():
    return walk(SESSIONS, seed=1)


def changed(path: Path, change) -> Path:
    change(pl.read_parquet(path)).write_parquet(path)
    return path


def test_a_clean_folder_is_read_as_it_is(tmp_path, row):
    write_bars(row, tmp_path)
    found = load([tmp_path])
    (read,) = found.history.symbols
    assert read.symbol == "I:SPX"
    assert read.minute_ns.tolist() == row.minute_ns.tolist()
    assert read.minutes.tolist() == row.minutes.tolist()
    assert np.flatnonzero(~np.isnan(read.opens)).tolist() == [0, 390, 780]
    assert not any(found.problems.values())


def test_a_bar_is_known_at_its_end(tmp_path, row):
    write_bars(row, tmp_path)
    first_ns = load([tmp_path]).history.symbols[0].minute_ns[0]
    assert first_ns == SESSIONS[0].open_ns + MINUTE


def test_levels_and_bars_together(tmp_path, row):
    bars, levels = write_bars(row, tmp_path), write_levels(row, tmp_path)
    (read,) = load([bars, levels]).history.symbols
    assert read.level_ns.size == 3 * 7
    assert read.level_ns[0] == SESSIONS[0].open_ns + 30 * MINUTE
    assert split(f"{bars},{levels}") == (bars, levels)


@pytest.mark.parametrize(
    ("change", "problem", "count"),
    [
        (lambda f: f.sample(fraction=1.0, shuffle=True, seed=3), "bars out of order, sorted", None),
        (lambda f: pl.concat([f, f.head(5)]), "bars given twice", 5),
        (lambda f: pl.concat([f.head(100), f.tail(f.height - 110)]), "minutes missing", 10),
        (lambda f: f.with_columns(close=pl.when(pl.int_range(pl.len()) == 7).then(-1.0)
            .otherwise("close")), "NaN, zero or negative", 1),
        (lambda f: f.with_columns(high=pl.when(pl.int_range(pl.len()) == 7).then(float("nan"))
            .otherwise("high")), "NaN, zero or negative", 1),
        (lambda f: f.with_columns(open=pl.when(pl.int_range(pl.len()) == 7).then(None)
            .otherwise("open")), "NaN, zero or negative", 1),
        (lambda f: f.with_columns(low=pl.when(pl.int_range(pl.len()) == 7).then(1e5)
            .otherwise("low")), "outside of their own high and low", 1),
    ],
)  # fmt: skip
def test_bad_rows_are_left_out_and_counted(tmp_path, row, change, problem, count):
    changed(write_bars(row, tmp_path), change)
    found = load([tmp_path])
    named = {what: n for what, n in found.problems.items() if problem in what and n}
    assert len(named) == 1
    assert count is None or list(named.values()) == [count]
    (read,) = found.history.symbols
    assert (np.diff(read.minute_ns) > 0).all()
    assert np.isfinite(read.minutes).all()
    assert (read.minutes > 0).all()


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda f: f.with_columns(pl.col("timestamp").dt.replace_time_zone(None)), "naive"),
        (lambda f: f.with_columns(pl.col("timestamp").dt.offset_by("30s")), "off the minute"),
        (lambda f: f.drop("close"), "no close"),
        (lambda f: f.with_columns(pl.col("close").cast(pl.String)), "numbers in column close"),
        (lambda f: f.with_columns(pl.col("timestamp").cast(pl.Int64)), "naive"),
        (lambda f: pl.concat([f, f.head(2).with_columns(high=pl.col("high") + 1)]), "contradict"),
        (lambda f: pl.concat([f.head(50), f.tail(-50).with_columns(pl.exclude("timestamp") * 10)]),
            "minute moves within"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_trusted_is_refused_in_one_line(tmp_path, row, change, complaint):
    changed(write_bars(row, tmp_path), change)
    with pytest.raises(HistoryError, match=complaint) as caught:
        load([tmp_path])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["bars.parquet", "SPX_NDX.parquet"])
def test_a_file_without_one_symbol_is_refused(tmp_path, row, name):
    write_bars(row, tmp_path, name)
    with pytest.raises(HistoryError, match="SPX or NDX"):
        load([tmp_path])


def test_other_paths_are_refused(tmp_path):
    for path, complaint in [
        (tmp_path, "parquet"),
        (tmp_path / "none", "nothing there"),
        (Path(__file__), "another file"),
    ]:
        with pytest.raises(HistoryError, match=complaint):
            load([path])
    broken = tmp_path / "I_SPX.parquet"
    broken.write_bytes(b"PAR1 no more")
    with pytest.raises(HistoryError, match="readable Parquet"):
        load([broken])


def test_half_days_end_at_one_and_nights_are_no_session(tmp_path):
    """2024-11-29 closed at 13:00: bars after it are not of the session."""
    row = walk(sessions_from(date(2024, 11, 27), 1), seed=2)
    later = replace(row, minute_ns=row.minute_ns + 2 * 24 * 60 * MINUTE)
    write_bars(row, tmp_path, "I_SPX_a.parquet")
    write_bars(later, tmp_path, "I_SPX_b.parquet")
    found = load([tmp_path])
    assert found.history.symbols[0].minute_ns.size == 390 + 210
    assert found.problems["bars outside of a session"] == 180


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("I:SPX,2025-03-03T16:00:00+00:00,0.0", "NaN, zero or negative"),
        ("I:SPX,2025-03-03T16:00:00+00:00,-5.0", "NaN, zero or negative"),
        ("I:SPX,2025-03-03T16:00:00+00:00,nan", "NaN, zero or negative"),
        ("I:SPX,2025-03-03T16:00:00+00:00,many", "NaN, zero or negative"),
        ("I:RUT,2025-03-03T16:00:00+00:00,2000.0", "another symbol"),
        ("I:SPX,2025-02-31T16:00:00+00:00,5000.0", "readable stamp"),
        ("I:SPX,2025-03-02T16:00:00+00:00,5000.0", "outside of a session"),
    ],
)
def test_bad_levels_are_left_out_and_counted(tmp_path, line, problem):
    good = "I:SPX,2025-03-03T15:00:00+00:00,5000.0"
    path = tmp_path / "levels.csv"
    path.write_text(f"symbol,target_timestamp,level\n{good}\n{line}\n")
    found = load([path])
    assert found.history.symbols[0].levels.tolist() == [5000.0]
    assert [n for what, n in found.problems.items() if problem in what] == [1]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("symbol,target_timestamp,level\nI:SPX,2025-03-03T15:00:00,5000\n", "naive"),
        ("symbol,level\nI:SPX,5000\n", "no target_timestamp"),
        (
            "symbol,target_timestamp,level\nI:SPX,2025-03-03T15:00:00Z,5000\n"
            "I:SPX,2025-03-03T15:00:00Z,5001\n",
            "contradicting",
        ),
    ],
)
def test_levels_that_cannot_be_trusted_are_refused(tmp_path, text, complaint):
    path = tmp_path / "levels.csv"
    path.write_text(text)
    with pytest.raises(HistoryError, match=complaint):
        load([path])


@pytest.mark.parametrize("shift", [-1, 1])
def test_stamps_a_bar_off_are_refused_against_the_levels(tmp_path, row, shift):
    """Bars stamped by their end, or a minute early, would know or miss a minute."""
    levels, bars = write_levels(row, tmp_path), write_bars(row, tmp_path, shift=shift)
    with pytest.raises(HistoryError, match="shifted by a minute"):
        load([bars, levels])


@pytest.mark.parametrize("day", [0, 1, 2])
@pytest.mark.parametrize("shift", [-1, 1])
def test_one_day_of_several_a_bar_off_is_refused_by_file_and_day(tmp_path, shift, day):
    """Each day lies in a file of its own, as real windows do; the other days are in order."""
    paths = [write_levels(walk(SESSIONS, seed=1), tmp_path)]
    whole = walk(SESSIONS, seed=1)
    for number, session in enumerate(SESSIONS):
        mine = (whole.minute_ns > session.open_ns) & (whole.minute_ns <= session.close_ns)
        paths.append(
            write_bars(
                picked(whole, mine), tmp_path, f"I_SPX_{number}.parquet",
                shift=shift if number == day else 0,
            )
        )  # fmt: skip
    complaint = rf"I_SPX_{day}\.parquet: .* on {SESSIONS[day].day}: the stamps are shifted"
    with pytest.raises(HistoryError, match=complaint):
        load(paths)


def picked(row, mine):
    return replace(
        row, minute_ns=row.minute_ns[mine], minutes=row.minutes[mine], opens=row.opens[mine]
    )


@pytest.mark.parametrize("shift", [-1, 1])
def test_a_window_with_one_level_a_bar_off_is_refused(tmp_path, row, shift):
    """11:45 to 12:05 hold one target: there is no median, but the numbers are equal."""
    levels = write_levels(row, tmp_path)
    first = (row.minute_ns - SESSIONS[1].open_ns) // MINUTE
    window = picked(row, (first > 135) & (first <= 155))
    with pytest.raises(HistoryError, match=f"on {SESSIONS[1].day}: the stamps are shifted"):
        load([write_bars(window, tmp_path, shift=shift), levels])
    assert not any(load([write_bars(window, tmp_path), levels]).problems.values())


def test_levels_that_are_the_opens_of_the_next_bars_are_no_shift(tmp_path):
    """Real opens are 0.13 bp off the close before by the median, 0.6 bp one time in ten.

    Whole days and windows with one level each: neither is refused, whatever the seed.
    """
    for seed in range(20):
        row = walk(SESSIONS, seed=seed)
        opens = row.minutes * np.exp(4e-5 * np.random.default_rng(seed).standard_normal(1170))
        levels = write_levels(replace(row, minutes=opens), tmp_path)
        load([write_bars(row, tmp_path), levels])
        minute = (row.minute_ns - SESSIONS[0].open_ns) // MINUTE % 1440
        window = picked(row, (minute > 135) & (minute <= 155))
        load([write_bars(window, tmp_path), levels])


def test_a_day_shifted_from_some_hour_on_is_counted_by_name(tmp_path, row):
    """Two of a day's seven levels agree with the bar before: not sure, so named."""
    minute = (row.minute_ns - SESSIONS[0].open_ns) // MINUTE
    late = (minute > 300) & (minute <= 390)
    moved = np.where(late, np.roll(row.minutes, -1), row.minutes)
    levels = write_levels(row, tmp_path)
    found = load([write_bars(replace(row, minutes=moved), tmp_path), levels])
    what = f"levels of {SESSIONS[0].day} that agree with the bar before instead"
    assert found.problems[what] == 2


def test_a_level_that_differs_by_more_than_a_basis_point_is_counted(tmp_path, row):
    """A minute moves 4 bps here; what is only 2 bps off is still worth a word."""
    bars = write_bars(row, tmp_path)
    value = row.minutes[29] * np.exp(2e-4)
    path = tmp_path / "levels.csv"
    stamp = "2025-03-03T15:00:00+00:00"
    path.write_text(f"symbol,target_timestamp,level\nI:SPX,{stamp},{value}\n")
    assert load([bars, path]).problems["levels more than 1 bp off the bar that ends there"] == 1


@pytest.mark.parametrize("factor", [100.0, 0.01, 3.5])
def test_bars_of_another_unit_or_index_are_refused_by_name(tmp_path, row, factor):
    """Cents, dollars of a fund, or NDX under the name of SPX; also where no time is common."""
    levels = write_levels(row, tmp_path)
    other = replace(row, minutes=row.minutes * factor, opens=row.opens * factor)
    apart = replace(other, minute_ns=other.minute_ns + 7 * 24 * 60 * MINUTE)
    for bars in (other, apart):
        path = write_bars(bars, tmp_path)
        with pytest.raises(HistoryError, match=r"walk\.parquet: .* I:SPX within a factor of 2"):
            load([path, levels])
    good = write_bars(row, tmp_path, "I_SPX_a.parquet")
    with pytest.raises(HistoryError, match=r"walk\.parquet: .* within a factor of 2"):
        load([good, write_bars(apart, tmp_path)])


def test_only_the_last_days(tmp_path, row):
    write_bars(row, tmp_path)
    found = load([tmp_path], days_max=1)
    assert found.history.symbols[0].minute_ns.size == 390
    some = only_days(load([tmp_path]).history, [str(SESSIONS[1].day)], keep=False)
    assert some.symbols[0].minute_ns.size == 780
