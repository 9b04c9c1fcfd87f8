"""Read minute bars and levels into a `History`, naming and counting what is wrong with them.

A file that can't be trusted at all (naive stamps, columns missing, stamps off the minute, rows
that contradict each other, a move that no index makes) is refused with a `HistoryError`. Rows that
are merely bad are left out and counted; no move is taken over the gap. Nothing is filled in.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import polars as pl
from msgspec import Struct
from numpy.typing import NDArray

from lab.index.agreement import AGREE_SHARE, FACTOR_MAX, differing, off_scale, shifted
from lab.market.bars import (
    MINUTE_MOVE_MAX,
    SYMBOL_EXPECTED,
    BarsError,
    first_line,
    read_frame,
    symbol_in_name,
)
from libs.domain.calendar import CalendarError
from libs.domain.eastern import NS_PER_MINUTE
from libs.domain.families import index_symbols
from services.pricer.models.history import History, SymbolHistory, sessions_of

Times = NDArray[np.int64]
Floats = NDArray[np.float64]

FILE = "file"


class HistoryError(ValueError):
    """A file that can't be used; one line: file, expected, found."""

    def __init__(self, path: Path, expected: str, found: str) -> None:
        super().__init__(f"{path}: expected {expected}, found {found}")


class Loaded(Struct, frozen=True, eq=False):
    """A history, how many rows each problem cost, and which files it came from."""

    history: History
    problems: dict[str, int]
    files: tuple[str, ...]


def load(paths: Sequence[Path], days_max: int | None = None) -> Loaded:
    """Read folders of Parquet bars and CSV files of levels, in any mixture.

    `days_max` keeps the last so many calendar days before the newest row. Raises HistoryError.
    """
    problems: Counter[str] = Counter()
    bars: dict[str, dict[Path, pl.DataFrame]] = {}
    levels: list[pl.DataFrame] = []
    files = _files(paths)
    for path in files:
        if path.suffix == ".csv":
            levels.append(_read_levels(path, problems))
        else:
            symbol = _symbol_of(path)
            bars.setdefault(symbol, {})[path] = _read_bars(path, problems)
    found = []
    for symbol in index_symbols():
        mine = [frame.filter(pl.col("symbol") == symbol) for frame in levels]
        row = _symbol_history(symbol, bars.get(symbol, {}), mine, problems)
        if row.minute_ns.size or row.level_ns.size:
            found.append(row)
    if not found:
        raise HistoryError(paths[0], "at least one bar or level within a session", "none")
    history = History(tuple(found))
    if days_max is not None:
        history = _since(history, history.end_ns - days_max * 86_400 * 10**9)
    return Loaded(history, dict(problems), tuple(path.name for path in files))


def split(text: str) -> tuple[Path, ...]:
    """Return the paths of a comma-separated list: "DIR,FILE"."""
    return tuple(Path(part) for part in text.split(",") if part)


def _files(paths: Sequence[Path]) -> list[Path]:
    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = sorted(path.glob("*.parquet"))
            if not inside:
                raise HistoryError(path, "*.parquet files of minute bars", "none")
            files += inside
        elif path.is_file() and path.suffix in (".csv", ".parquet"):
            files.append(path)
        else:
            found = "another file" if path.exists() else "nothing there"
            raise HistoryError(path, "a folder of Parquet bars, a Parquet or a CSV file", found)
    return files


def _symbol_of(path: Path) -> str:
    symbol = symbol_in_name(path)
    if symbol is None:
        raise HistoryError(path, SYMBOL_EXPECTED, path.stem)
    return symbol


def _read_bars(path: Path, problems: Counter[str]) -> pl.DataFrame:
    """Return start_ns, open and close of a file's good rows."""
    try:
        frame = read_frame(path)
    except BarsError as error:
        raise HistoryError(path, error.expected, error.found) from error
    needed = ("timestamp", "open", "high", "low", "close")
    if missing := [name for name in needed if name not in frame.columns]:
        raise HistoryError(path, f"columns {', '.join(needed)}", f"no {', '.join(missing)}")
    kind = frame["timestamp"].dtype
    if not isinstance(kind, pl.Datetime) or kind.time_zone is None:
        raise HistoryError(path, "timestamp with a time zone", f"{kind} (naive)")
    for name in needed[1:]:
        if not frame[name].dtype.is_numeric():
            raise HistoryError(path, f"numbers in column {name}", f"{frame[name].dtype}")
    frame = frame.select(
        pl.col("timestamp").dt.epoch("ns").alias("start_ns"),
        *(pl.col(name).cast(pl.Float64).fill_null(float("nan")) for name in needed[1:]),
    )
    frame = _drop(frame, pl.col("start_ns").is_null(), "bars without a timestamp", problems)
    if off := int((frame["start_ns"] % NS_PER_MINUTE != 0).sum()):
        raise HistoryError(path, "stamps on whole minutes (bar starts)", f"{off} off the minute")
    good = pl.all_horizontal(pl.col(name).is_finite() & (pl.col(name) > 0.0) for name in needed[1:])
    frame = _drop(frame, ~good, "bars with a level that is NaN, zero or negative", problems)
    inside = (pl.col("high") >= pl.max_horizontal("open", "close")) & (
        pl.col("low") <= pl.min_horizontal("open", "close")
    )
    frame = _drop(frame, ~inside, "bars outside of their own high and low", problems)
    steps_back = int((frame["start_ns"].diff() < 0).sum())
    problems["bars out of order, sorted"] += steps_back
    return _unique(path, frame.sort("start_ns"), ("start_ns",), "bars", problems)


def _read_levels(path: Path, problems: Counter[str]) -> pl.DataFrame:
    """Return symbol, at_ns and level of a CSV file's good rows."""
    try:
        frame = pl.read_csv(path, infer_schema=False)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise HistoryError(path, "a readable CSV file", first_line(error)) from error
    needed = ("symbol", "target_timestamp", "level")
    if missing := [name for name in needed if name not in frame.columns]:
        raise HistoryError(path, f"columns {', '.join(needed)}", f"no {', '.join(missing)}")
    stamps = frame["target_timestamp"].drop_nulls()
    zoned = stamps.str.contains(r"(Z|[+-]\d{2}:?\d{2})$")
    if not bool(zoned.all()):
        raise HistoryError(path, "stamps with a time zone", f"{stamps.filter(~zoned)[0]!r} (naive)")
    frame = frame.select(
        pl.col("symbol"),
        pl.col("target_timestamp")
        .str.replace(r"Z$", "+00:00")
        .str.to_datetime(time_zone="UTC", strict=False)
        .dt.epoch("ns")
        .alias("at_ns"),
        pl.col("level").cast(pl.Float64, strict=False).fill_null(float("nan")),
    )
    frame = _drop(frame, pl.col("at_ns").is_null(), "levels without a readable stamp", problems)
    good = pl.col("level").is_finite() & (pl.col("level") > 0.0)
    frame = _drop(frame, ~good, "levels that are NaN, zero or negative", problems)
    known = pl.col("symbol").is_in(list(index_symbols()))
    frame = _drop(frame, ~known, "levels of another symbol", problems)
    back = frame.group_by("symbol").agg((pl.col("at_ns").diff() < 0).sum())["at_ns"].sum()
    problems["levels out of order, sorted"] += int(back)
    return _unique(path, frame.sort("symbol", "at_ns"), ("symbol", "at_ns"), "levels", problems)


def _drop(frame: pl.DataFrame, bad: pl.Expr, what: str, problems: Counter[str]) -> pl.DataFrame:
    kept = frame.filter(~bad)
    problems[what] += frame.height - kept.height
    return kept


def _unique(
    path: Path, frame: pl.DataFrame, keys: Sequence[str], what: str, problems: Counter[str]
) -> pl.DataFrame:
    """Return the frame with copies of a row dropped; rows that contradict each other refuse it."""
    once = frame.unique([name for name in frame.columns if name != FILE], maintain_order=True)
    problems[f"{what} given twice"] += frame.height - once.height
    if twice := once.height - once.select(keys).unique().height:
        raise HistoryError(path, f"one of the {what} at a time", f"{twice} contradicting another")
    return once


def _symbol_history(
    symbol: str,
    bars: Mapping[Path, pl.DataFrame],
    levels: Sequence[pl.DataFrame],
    problems: Counter[str],
) -> SymbolHistory:
    """Join a symbol's files; keep what lies within sessions."""
    where = Path(symbol)
    minute_ns, closes, opens = np.empty(0, np.int64), np.empty(0), np.empty(0)
    files = np.empty(0, np.int64)
    if bars:
        whole = pl.concat(
            frame.with_columns(pl.lit(number, pl.Int64).alias(FILE))
            for number, frame in enumerate(bars.values())
        )
        frame = _unique(where, whole.sort("start_ns"), ("start_ns",), "bars", problems)
        start_ns = frame["start_ns"].to_numpy().astype(np.int64)
        kept, first = _in_session(where, start_ns, start_ns + NS_PER_MINUTE)
        problems["bars outside of a session"] += int((~kept).sum())
        minute_ns = start_ns[kept] + NS_PER_MINUTE
        files = frame[FILE].to_numpy()[kept]
        closes = frame["close"].to_numpy()[kept]
        opens = np.where(first, frame["open"].to_numpy(), np.nan)[kept]
        steps = np.diff(np.log(closes))[np.diff(minute_ns) == NS_PER_MINUTE]
        if steps.size and float(np.abs(steps).max()) > MINUTE_MOVE_MAX:
            raise HistoryError(
                where, f"minute moves within {MINUTE_MOVE_MAX:.0%}", f"{np.abs(steps).max():.1%}"
            )
        problems["minutes missing within sessions"] += _gaps(minute_ns)
    level_ns, values = np.empty(0, np.int64), np.empty(0)
    if levels:
        frame = _unique(where, pl.concat(levels).sort("at_ns"), ("at_ns",), "levels", problems)
        level_ns = frame["at_ns"].to_numpy().astype(np.int64)
        kept, _ = _in_session(where, level_ns, level_ns)
        problems["levels outside of a session"] += int((~kept).sum())
        level_ns, values = level_ns[kept], frame["level"].to_numpy()[kept]
    _check(symbol, list(bars), (minute_ns, closes, files), (level_ns, values), problems)
    return SymbolHistory(symbol, minute_ns, closes, opens, level_ns, values)


def _in_session(
    where: Path, begin_ns: Times, end_ns: Times
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return which spans lie within a session, and which begin at its open."""
    try:
        sessions, number = sessions_of(end_ns)
    except CalendarError as error:
        raise HistoryError(where, "days of the calendar", str(error)) from error
    if not sessions:
        return np.zeros(end_ns.size, bool), np.zeros(end_ns.size, bool)
    opens = np.array([session.open_ns for session in sessions])[number]
    closes = np.array([session.close_ns for session in sessions])[number]
    kept = (number >= 0) & (begin_ns >= opens) & (end_ns <= closes)
    return kept, kept & (begin_ns == opens)


def _gaps(minute_ns: Times) -> int:
    """Return how many minutes are missing between bars of one day."""
    steps = np.diff(minute_ns)
    gaps = steps[(steps > NS_PER_MINUTE) & (steps < 12 * 60 * NS_PER_MINUTE)]
    return int((gaps // NS_PER_MINUTE - 1).sum())


def _check(
    symbol: str,
    files: Sequence[Path],
    bars: tuple[Times, Floats, NDArray[np.int64]],
    levels: tuple[Times, Floats],
    problems: Counter[str],
) -> None:
    """Refuse bars of another index or unit than the rest, and stamps that are a minute off.

    Bars stamped by their end, or early, would let every forecast know a minute of the future, or
    miss one. What is not sure is counted by its day.
    """
    if wild := off_scale(*bars, *levels):
        file, before, value = wild
        where = Path(symbol) if file < 0 else files[file]
        raise HistoryError(
            where,
            f"levels of {symbol} within a factor of {FACTOR_MAX:g} of the data beside them",
            f"{value:.2f} beside {before:.2f}",
        )
    both = f"levels more than {AGREE_SHARE * 1e4:g} bp off the bar that ends there"
    problems[both] += differing(*bars[:2], *levels)
    for found in shifted(*bars, *levels):
        if found.sure:
            where = Path(symbol) if found.file is None else files[found.file]
            when = f" on {found.day}" if found.day else ""
            raise HistoryError(
                where,
                "levels that agree with the bar that ends at their time (stamps are bar starts)",
                f"they agree with {found.aside}{when}: the stamps are shifted by a minute",
            )
        what = f"levels of {found.day} that agree with {found.aside} instead"
        problems[what] += found.points


def _since(history: History, start_ns: int) -> History:
    return _picked(history, lambda times_ns: times_ns > start_ns)


def before(history: History, end_ns: int) -> History:
    """Return what had ended by a time."""
    return _picked(history, lambda times_ns: times_ns <= end_ns)


def only_days(history: History, days: Iterable[str], *, keep: bool) -> History:
    """Return the history of these New York days alone (`keep`), or without them."""
    chosen = set(days)

    def pick(times_ns: Times) -> NDArray[np.bool_]:
        sessions, number = sessions_of(times_ns)
        inside = np.array([session.day.isoformat() in chosen for session in sessions], bool)
        found = inside[number] if sessions else np.zeros(times_ns.size, bool)
        return found if keep else ~found

    return _picked(history, pick)


def _picked(history: History, pick: Callable[[Times], NDArray[np.bool_]]) -> History:
    """Return the rows whose times are picked; a symbol without any is left out."""
    picked = []
    for row in history.symbols:
        minutes, levels = pick(row.minute_ns), pick(row.level_ns)
        picked.append(
            SymbolHistory(
                row.symbol,
                row.minute_ns[minutes],
                row.minutes[minutes],
                row.opens[minutes],
                row.level_ns[levels],
                row.levels[levels],
            )
        )
    return History(tuple(r for r in picked if r.minute_ns.size or r.level_ns.size))
