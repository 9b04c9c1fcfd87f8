"""Read calibration artifacts from disk."""

from pathlib import Path

from services.pricer.calibration import (
    ADVICE,
    Calibration,
    CalibrationError,
    decode_calibration,
)


def load_calibration(path: Path, family: str) -> Calibration:
    """Read and check the artifact of a family; raises CalibrationError in one line."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        found = error.strerror
        raise CalibrationError(
            f"{path}: expected a calibration, found: {found}; {ADVICE}"
        ) from None
    return decode_calibration(raw, str(path), family)
