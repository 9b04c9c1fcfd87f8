"""Simulated indices with known laws, as histories and as files: what the models are judged on."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from libs.domain.calendar import Session, nyse_session
from services.pricer.models.history import History, SymbolHistory

MINUTE = 60_000_000_000
SIGMA = 4e-4
"""σ of the log level over a minute, about what SPX has."""


def sessions_from(first: date, count: int) -> list[Session]:
    found: list[Session] = []
    day = first
    while len(found) < count:
        session = nyse_session(day)
        if session is not None and not session.early:
            found.append(session)
        day += timedelta(days=1)
    return found


def walk(
    sessions: list[Session],
    seed: int,
    *,
    symbol="I:SPX",
    level=5_000.0,
    day_log_sigma=0.0,
    levels_only=False,
) -> SymbolHistory:
    """A driftless Gaussian walk by the minute; each day's σ is exp(N(0, `day_log_sigma`²))."""
    rng = np.random.default_rng(seed)
    times, minutes, opens = [], [], []
    for session in sessions:
        sigma = SIGMA * np.exp(day_log_sigma * rng.standard_normal())
        path = level * np.exp(np.cumsum(sigma * rng.standard_normal(390)))
        times.append(session.open_ns + MINUTE * np.arange(1, 391))
        minutes.append(path)
        opens.append(np.concatenate([[level], np.full(389, np.nan)]))
        level = float(path[-1])
    ends, values = np.concatenate(times), np.concatenate(minutes)
    if not levels_only:
        none = np.empty(0)
        return SymbolHistory(
            symbol, ends, values, np.concatenate(opens), none.astype(np.int64), none
        )
    since_open = np.concatenate([np.arange(1, 391)] * len(sessions))
    hours = (since_open - 30) % 60 == 0
    none = np.empty(0)
    return SymbolHistory(symbol, none.astype(np.int64), none, none, ends[hours], values[hours])


def history(*rows: SymbolHistory) -> History:
    return History(rows)


def write_bars(row: SymbolHistory, folder: Path, name="I_SPX_walk.parquet", shift=0) -> Path:
    """Bars whose open is the close before; `shift` moves the stamps by so many minutes."""
    starts = row.minute_ns - MINUTE + shift * MINUTE
    before = np.where(np.isnan(row.opens), np.roll(row.minutes, 1), row.opens)
    frame = pl.DataFrame(
        {
            "timestamp": pl.Series(starts)
            .cast(pl.Datetime("ns", "UTC"))
            .cast(pl.Datetime("us", "UTC")),
            "open": before,
            "high": np.maximum(before, row.minutes),
            "low": np.minimum(before, row.minutes),
            "close": row.minutes,
        }
    )
    path = folder / name
    frame.write_parquet(path)
    return path


def write_levels(row: SymbolHistory, folder: Path, name="levels.csv") -> Path:
    """The levels at hours and closes that the minutes hold."""
    hours = row.minute_ns % (60 * MINUTE) == 0
    lines = ["symbol,target_timestamp,level"]
    for at_ns, level in zip(row.minute_ns[hours], row.minutes[hours], strict=True):
        stamp = datetime.fromtimestamp(at_ns / 1e9, UTC).isoformat()
        lines.append(f"{row.symbol},{stamp},{level}")
    path = folder / name
    path.write_text("\n".join(lines) + "\n")
    return path
