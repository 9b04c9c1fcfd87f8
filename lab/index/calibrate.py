"""Fit a model on bars and levels, and write its artifact."""

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from lab.index.history import Loaded, load, only_days
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

    Raises HistoryError for a file that can't be used, FitError for data that don't suffice.
    """
    loaded = load(paths, days)
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
