"""Every stay of an order at a price, filled or not, as one Parquet file in order of their ends."""

import shutil
from pathlib import Path

import polars as pl

from lab.drive.stays import Resting, Stays
from libs.domain.windows import CANCEL_BUFFER_NS

_WORDS = {"client_order_id", "order_id", "event_ticker", "ticker", "side"}
_SCHEMA = {name: pl.String if name in _WORDS else pl.Int64 for name in Resting.__struct_fields__}


class RestingFile:
    """Parts are written as a run goes on and joined at its end, so that none are held till then."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._parts = path.with_name(f"{path.name}.parts")
        self._parts.mkdir()
        self._count = 0
        self._write([])  # so that a run without an order has a file too

    def take(self, stays: Stays) -> int:
        """Write the stays that have ended and let go of them; return how many ended past T-2 s."""
        ended = list(stays.ended)
        stays.ended.clear()
        if ended:
            self._write(ended)
        return sum(stay.ended_ns > stay.target_ns - CANCEL_BUFFER_NS for stay in ended)

    def _write(self, stays: list[Resting]) -> None:
        columns = {name: [getattr(stay, name) for stay in stays] for name in _SCHEMA}
        frame = pl.DataFrame(columns, schema=_SCHEMA)
        frame.write_parquet(self._parts / f"{self._count:06}.parquet")
        self._count += 1

    def close(self) -> None:
        """Join the parts."""
        pl.scan_parquet(sorted(self._parts.iterdir())).sink_parquet(self._path)
        shutil.rmtree(self._parts)
