"""Real minute bars from Parquet: timestamp (bar start, UTC), open, high, low, close.

Anything that a bridge between bars could not honour is refused with a `BarsError`.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow.parquet import ParquetFile

MINUTE_NS = 60_000_000_000
PRICES = ("open", "high", "low", "close")
BARS_MAX = 100_000
MINUTE_MOVE_MAX = 0.1
"""A log move of one minute past this is no market's: the file mixes units or symbols."""
NAMES = {"I:SPX": "SPX", "I:NDX": "NDX"}
SYMBOL_EXPECTED = "SPX or NDX in the file's name, as in I_SPX_day.parquet"
_NAME = re.compile(r"(?<![A-Za-z0-9])(SPX|NDX)(?![A-Za-z0-9])")


class BarsError(Exception):
    """A bar file that cannot be used; the message names file, what was expected and found."""

    def __init__(self, path: Path, expected: str, found: str) -> None:
        super().__init__(f"{path}: expected {expected}, found {found}")
        self.path = path
        self.expected = expected
        self.found = found


@dataclass(frozen=True)
class MinuteBars:
    """Validated minute bars of one index, columns of equal length in time order."""

    symbol: str
    source: str
    start_ns: NDArray[np.int64]
    open_e4: NDArray[np.int64]
    high_e4: NDArray[np.int64]
    low_e4: NDArray[np.int64]
    close_e4: NDArray[np.int64]

    def __len__(self) -> int:
        return int(self.start_ns.size)


def resolve_bars(paths: Sequence[Path]) -> dict[str, Path]:
    """Return index symbol -> bar file, adding the sibling of the other index that lies beside one.

    `I_SPX_x.parquet` finds `I_NDX_x.parquet`. Raises BarsError for a missing file, a name
    without a known symbol, or two files of one symbol.
    """
    found: dict[str, Path] = {}
    for path in paths:
        if not path.is_file():
            raise BarsError(path, "a readable Parquet file", "no such file")
        symbol = _symbol_of(path)
        if symbol in found and found[symbol] != path:
            raise BarsError(path, f"one file of {symbol}", f"a second beside {found[symbol].name}")
        found[symbol] = path
    for symbol, path in list(found.items()):
        for other, name in NAMES.items():
            sibling = path.with_name(path.name.replace(NAMES[symbol], name))
            if other not in found and sibling.is_file():
                found[other] = sibling
    return found


def read_bars(path: Path, symbol: str) -> MinuteBars:
    """Read and validate one file of minute bars; raises BarsError."""
    frame = read_frame(path)
    start_ns = _starts(path, frame)
    columns = {name: _levels(path, frame, name) for name in PRICES}
    _check_ranges(path, start_ns, columns)
    _check_moves(path, start_ns, columns)
    return MinuteBars(
        symbol=symbol,
        source=path.name,
        start_ns=start_ns,
        open_e4=columns["open"],
        high_e4=columns["high"],
        low_e4=columns["low"],
        close_e4=columns["close"],
    )


def read_frame(path: Path) -> pl.DataFrame:
    """Return a Parquet file's rows; raises BarsError.

    pyarrow reads it: polars' own reader panics at damaged files, which no `except` keeps off
    stderr, or aborts the process for want of memory.
    """
    try:
        read = ParquetFile(path).read()
        # A new table has none of the file's metadata, at which polars panics too.
        bare = pa.table(dict(zip(read.column_names, read.columns, strict=True)))
        frame = pl.from_arrow(bare)
    except (OSError, ValueError, pa.ArrowException, pl.exceptions.PolarsError) as error:
        raise BarsError(path, "a readable Parquet file", first_line(error)) from error
    assert isinstance(frame, pl.DataFrame), "a table has columns"
    return frame


def _symbol_of(path: Path) -> str:
    symbol = symbol_in_name(path)
    if symbol is None:
        raise BarsError(path, SYMBOL_EXPECTED, path.stem)
    return symbol


def symbol_in_name(path: Path) -> str | None:
    """Return the index that a file's name holds, None when it holds none or both."""
    names = set(_NAME.findall(path.stem))
    return f"I:{names.pop()}" if len(names) == 1 else None


def first_line(error: Exception) -> str:
    """Return what a library complains of, in one line."""
    return str(error).splitlines()[0][:120] if str(error) else type(error).__name__


def _starts(path: Path, frame: pl.DataFrame) -> NDArray[np.int64]:
    """Return the bars' start times after checking zone, order, grid and gaps."""
    if "timestamp" not in frame.columns:
        raise BarsError(path, "a column timestamp", f"columns {', '.join(frame.columns)}")
    stamps = frame["timestamp"]
    kind = stamps.dtype
    if not isinstance(kind, pl.Datetime) or kind.time_zone != "UTC":
        raise BarsError(path, "timestamp as datetime in UTC", f"{kind}")
    if not 0 < len(stamps) <= BARS_MAX:
        raise BarsError(path, f"1 to {BARS_MAX} bars", f"{len(stamps)}")
    if stamps.null_count():
        raise BarsError(path, "a timestamp in every row", f"{stamps.null_count()} missing")
    epoch_ns = stamps.dt.epoch("ns")
    if beyond := epoch_ns.null_count():
        # Neither 64 bits of nanoseconds nor Python's datetime holds what a damaged stamp may say.
        raise BarsError(path, "stamps between 1678 and 2262", f"{beyond} beyond")
    start_ns = epoch_ns.to_numpy().astype(np.int64)
    if np.any(start_ns % MINUTE_NS):
        row = int(np.flatnonzero(start_ns % MINUTE_NS)[0])
        raise BarsError(path, "stamps on whole minutes (bar starts)", f"{stamps[row]}, row {row}")
    step_ns = np.diff(start_ns)
    same_day = stamps.dt.convert_time_zone("America/New_York").dt.date().to_numpy()
    for row in (int(at) for at in np.flatnonzero(step_ns != MINUTE_NS)):
        at = f"row {row + 1} ({stamps[row + 1]})"
        if step_ns[row] == 0:
            raise BarsError(path, "one bar a minute", f"a duplicate at {at}")
        if step_ns[row] < 0:
            raise BarsError(path, "stamps in rising order", f"a step back at {at}")
        if same_day[row] == same_day[row + 1]:
            missing = int(step_ns[row] // MINUTE_NS) - 1
            raise BarsError(path, "no gap within a day", f"{missing} minutes missing before {at}")
    return start_ns


def _levels(path: Path, frame: pl.DataFrame, name: str) -> NDArray[np.int64]:
    """Return one price column in level_e4, all finite and positive."""
    if name not in frame.columns:
        raise BarsError(path, f"a column {name}", f"columns {', '.join(frame.columns)}")
    if not frame[name].dtype.is_numeric():
        raise BarsError(path, f"numbers in column {name}", f"{frame[name].dtype}")
    values = frame[name].cast(pl.Float64).fill_null(float("nan")).to_numpy()
    bad = np.flatnonzero(~np.isfinite(values) | (values < 1e-4) | (values > 1e9))
    if bad.size:
        row = int(bad[0])
        raise BarsError(path, f"a positive level in {name}", f"{values[row]} in row {row}")
    return np.rint(values * 10_000.0).astype(np.int64)


def _check_ranges(
    path: Path, start_ns: NDArray[np.int64], columns: dict[str, NDArray[np.int64]]
) -> None:
    """Refuse a bar whose open or close lies outside its own low and high."""
    top = np.maximum(columns["open"], columns["close"])
    bottom = np.minimum(columns["open"], columns["close"])
    bad = np.flatnonzero((columns["high"] < top) | (columns["low"] > bottom))
    if bad.size:
        row = int(bad[0])
        shown = ", ".join(f"{name} {columns[name][row] / 10_000:.4f}" for name in PRICES)
        raise BarsError(path, "low <= open, close <= high", f"{shown} in row {row}")


def _check_moves(
    path: Path, start_ns: NDArray[np.int64], columns: dict[str, NDArray[np.int64]]
) -> None:
    """Refuse a move that no index makes, from close to close of a minute or within a bar."""
    logs = {name: np.log(values) for name, values in columns.items()}
    steps = np.abs(np.diff(logs["close"], prepend=logs["open"][0]))
    # A day's first bar has a night before it.
    nights = np.flatnonzero(np.diff(start_ns) != MINUTE_NS) + 1
    steps[nights] = 0.0
    moves = np.maximum(steps, logs["high"] - logs["low"])
    if float(moves.max()) > MINUTE_MOVE_MAX:
        row = int(moves.argmax())
        found = f"{moves[row]:.1%} in row {row}"
        raise BarsError(path, f"minute moves within {MINUTE_MOVE_MAX:.0%}", found)
