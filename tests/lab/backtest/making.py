"""Minute bars of our own: a seeded walk around 5,200 on a 0.01 grid."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl

NOON = datetime(2024, 8, 5, 16, tzinfo=UTC)
"""2024-08-05 12:00 in New York."""


def write_bars(folder, start, minutes, symbol="SPX", name="x", seed=1):
    """Write bars from `start` on and return the file."""
    rng = np.random.default_rng(seed)
    closes = np.round(5_200.0 + np.cumsum(rng.normal(0.0, 1.5, minutes)), 2)
    opens = np.concatenate(([5_200.0], closes[:-1]))
    high = np.round(np.maximum(opens, closes) + 0.5, 2)
    low = np.round(np.minimum(opens, closes) - 0.5, 2)
    path = folder / f"I_{symbol}_{name}.parquet"
    pl.DataFrame(
        {
            "timestamp": [start + timedelta(minutes=minute) for minute in range(minutes)],
            "open": opens,
            "high": high,
            "low": low,
            "close": closes,
        }
    ).write_parquet(path)
    return path
