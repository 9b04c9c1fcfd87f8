"""Read calibration artifacts from disk."""

from pathlib import Path

from services.pricer.calibration import (
    ADVICE,
    Calibration,
    CalibrationError,
    decode_artifact,
    decode_calibration,
)
from services.pricer.fills import FillModel

FILLS_ADVICE = "fit it again with `alpha fit fills`"


def load_calibration(path: Path, family: str) -> Calibration:
    """Read and check the artifact of a family; raises CalibrationError in one line."""
    return decode_calibration(_read(path, ADVICE), str(path), family)


def load_fills(path: Path) -> FillModel:
    """Read and check a fill model; raises CalibrationError in one line."""
    return decode_artifact(_read(path, FILLS_ADVICE), str(path), FillModel, FILLS_ADVICE)


def _read(path: Path, advice: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        found = error.strerror
        raise CalibrationError(
            f"{path}: expected a calibration, found: {found}; {advice}"
        ) from None
