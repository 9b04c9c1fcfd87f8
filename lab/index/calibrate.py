"""Fit a model on bars and levels, and write its artifact."""

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from lab.index.history import HistoryError, Loaded, load, only_days
from lab.index.score import days_of
from services.pricer.calibration import Calibration, encode_calibration, sealed
from services.pricer.models.contract import IndexModel


def calibrate(
    model: IndexModel,
    paths: Sequence[Path],
    fitted_ns: int,
    *,
    days: int | None = None,
    exclude: Sequence[str] = (),
) -> tuple[Calibration, Loaded]:
    """Return the sealed calibration with what was wrong with its data counted in it.

    Raises HistoryError for a file that can't be used or a day to exclude that isn't there, FitError
    for data that don't suffice.
    """
    loaded = load(paths, days)
    if unknown := sorted(set(exclude) - set(days_of(loaded.history))):
        # A day mistyped would stay in, and be scored as if it had been held out.
        raise HistoryError(Path("--exclude"), "days of the data", f"none of {', '.join(unknown)}")
    history = only_days(loaded.history, exclude, keep=False)
    found = model.fit(history, fitted_ns)
    used = days_of(history)
    counts = found.counts | {"days": len(used)}
    counts |= {what: count for what, count in loaded.problems.items() if count}
    return sealed(msgspec.structs.replace(found, counts=counts)), loaded


def write(artifact: Struct, path: Path) -> None:
    """Write the artifact whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as part:
        part.write(encode_calibration(artifact))
    os.chmod(part.name, 0o644)
    Path(part.name).replace(path)
