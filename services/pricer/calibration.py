"""Calibration artifacts: versioned JSON with a checksum over everything else in the file."""

import hashlib
from math import isfinite
from typing import Literal

import msgspec
from msgspec import Struct

from libs.domain.families import FAMILIES

MINUTES_MAX = 240
KAPPA_MAX = 1.65
MAX_FILE_BYTES = 1_000_000
ADVICE = "fit it again with tools/fit_index_baseline.py"


class CalibrationError(ValueError):
    """A calibration that can't be used; one line: file, expected, found, what to do."""


class HourlyCalibration(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the hourly index model needs, by whole minutes to the target (index 0 is 0 minutes).

    Sigma, drift and floor are in index points. `samples` counts the moves behind each sigma,
    `window_days` names the days they come from. `kappa_event` is a ratio of sigma.
    """

    schema: Literal["index_hourly.1"] = "index_hourly.1"
    family: str
    symbol: str
    fitted_ns: int
    window_start: str
    window_end: str
    window_days: tuple[str, ...]
    samples: tuple[int, ...]
    sigma_points: tuple[float, ...]
    drift_points: tuple[float, ...]
    residual_floor_points: float
    kappa_event: float = 1.0
    pit_bias: float = 0.0
    sha256: str = ""

    def __post_init__(self) -> None:
        rows = len(self.sigma_points)
        if not 2 <= rows <= MINUTES_MAX + 1:
            raise CalibrationError(f"sigma_points: expected 2 to {MINUTES_MAX + 1}, got {rows}")
        if not len(self.samples) == len(self.drift_points) == rows:
            raise CalibrationError("samples, sigma_points, drift_points: expected equal lengths")
        floats = (*self.sigma_points, *self.drift_points, self.residual_floor_points, self.pit_bias)
        if not all(map(isfinite, floats)):
            raise CalibrationError("calibration: expected finite numbers")
        if self.sigma_points[0] != 0.0 or min(self.sigma_points[1:]) <= 0.0:
            raise CalibrationError("sigma_points: expected 0 first, then numbers above 0")
        if self.residual_floor_points <= 0.0 or not 1.0 <= self.kappa_event <= KAPPA_MAX:
            raise CalibrationError(f"expected a floor above 0 and kappa from 1 to {KAPPA_MAX}")

    @property
    def calibration_id(self) -> str:
        """Return the name that messages carry."""
        return f"{self.family}-{self.sha256[:12]}"


def checksum_of(calibration: HourlyCalibration) -> str:
    """Return the sha256 of all fields but the checksum itself, keys in order."""
    bare = msgspec.structs.replace(calibration, sha256="")
    return hashlib.sha256(msgspec.json.encode(bare, order="sorted")).hexdigest()


def sealed(calibration: HourlyCalibration) -> HourlyCalibration:
    """Return the calibration with its checksum filled in."""
    return msgspec.structs.replace(calibration, sha256=checksum_of(calibration))


def encode_calibration(calibration: HourlyCalibration) -> bytes:
    """Return the file's bytes of a sealed calibration."""
    assert calibration.sha256 == checksum_of(calibration), "seal a calibration before it is written"
    return msgspec.json.format(msgspec.json.encode(calibration), indent=1) + b"\n"


def decode_calibration(raw: bytes, where: str, family: str) -> HourlyCalibration:
    """Return the checked artifact of a family in these bytes of a file; raises CalibrationError."""
    if len(raw) > MAX_FILE_BYTES:
        raise CalibrationError(f"{where}: expected at most {MAX_FILE_BYTES} bytes, got {len(raw)}")
    try:
        calibration = msgspec.json.decode(raw, type=HourlyCalibration)
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError) as error:
        raise CalibrationError(f"{where}: expected an index_hourly.1: {error}; {ADVICE}") from None
    expected = checksum_of(calibration)
    if calibration.sha256 != expected:
        found = calibration.sha256[:12] or "none"
        raise CalibrationError(
            f"{where}: expected sha256 {expected[:12]}… of its content, found {found}; {ADVICE}"
        )
    if calibration.family != family:
        raise CalibrationError(f"{where}: expected family {family}, found {calibration.family}")
    symbols = {row.name: row.index_symbol for row in FAMILIES}
    if calibration.symbol != symbols.get(family):
        wanted = symbols.get(family)
        raise CalibrationError(f"{where}: expected symbol {wanted}, found {calibration.symbol}")
    return calibration
