"""Calibration artifacts: versioned JSON with a checksum over everything else in the file."""

import hashlib
from math import isfinite
from typing import Literal, TypeVar

import msgspec
from msgspec import Struct, structs

from libs.domain.eastern import NS_PER_S
from libs.domain.families import family_named

MINUTES_MAX = 240
KAPPA_MAX = 2.5
MAX_FILE_BYTES = 1_000_000
DAY_NS = 86_400 * NS_PER_S
ADVICE = "fit it again with `alpha calibrate index`"


class CalibrationError(ValueError):
    """A calibration that can't be used; one line: file, expected, found, what to do."""


def _finite(*numbers: float) -> None:
    if not all(map(isfinite, numbers)):
        raise CalibrationError("calibration: expected finite numbers")


class RandomWalk(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="random-walk"):
    """One volatility for every minute: σ of the log level over a minute."""

    minute_sigma: float
    moves: int

    def __post_init__(self) -> None:
        _finite(self.minute_sigma)
        if self.minute_sigma <= 0.0:
            raise CalibrationError(f"minute_sigma: expected above 0, got {self.minute_sigma}")


class SigmaTable(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """σ, drift and floor in index points, by whole minutes to the target (index 0 is 0 minutes).

    `samples` counts the moves behind each σ.
    """

    samples: tuple[int, ...]
    sigma_points: tuple[float, ...]
    drift_points: tuple[float, ...]
    residual_floor_points: float

    def __post_init__(self) -> None:
        rows = len(self.sigma_points)
        if not 2 <= rows <= MINUTES_MAX + 1:
            raise CalibrationError(f"sigma_points: expected 2 to {MINUTES_MAX + 1}, got {rows}")
        if not len(self.samples) == len(self.drift_points) == rows:
            raise CalibrationError("samples, sigma_points, drift_points: expected equal lengths")
        _finite(*self.sigma_points, *self.drift_points, self.residual_floor_points)
        if self.sigma_points[0] != 0.0 or min(self.sigma_points[1:]) <= 0.0:
            raise CalibrationError("sigma_points: expected 0 first, then numbers above 0")
        if self.residual_floor_points <= 0.0:
            raise CalibrationError("residual_floor_points: expected above 0")


class Runbook(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="runbook"):
    """The runbook's tables: one for hourly targets, one for the close. κ is a ratio of σ."""

    hourly: SigmaTable
    close: SigmaTable
    kappa_event: float = 1.0
    pit_bias: float = 0.0

    def __post_init__(self) -> None:
        _finite(self.pit_bias)
        if not 1.0 <= self.kappa_event <= KAPPA_MAX:
            raise CalibrationError(f"kappa_event: expected 1 to {KAPPA_MAX}")


class Mixture(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="index"):
    """A day's volatility is σ by time of day, times exp(x), where x wanders about 0.

    `bin_sigmas` is the σ of the log level over a minute, in each of the bins of the session
    (`services.pricer.models.session.BINS`). x is normal with standard deviation
    `log_sigma` and forgets itself over `memory_minutes`. Minute moves have Student's t tails of
    `tail_degrees`. The κ are ratios of σ: FOMC from 14:00 on, CPI all day.
    """

    bin_sigmas: tuple[float, ...]
    bin_moves: tuple[int, ...]
    log_sigma: float
    memory_minutes: float
    tail_degrees: float
    kappa_cpi: float
    kappa_fomc: float

    def __post_init__(self) -> None:
        _finite(*self.bin_sigmas, self.log_sigma, self.memory_minutes, self.tail_degrees)
        if not len(self.bin_sigmas) == len(self.bin_moves) >= 1 or min(self.bin_sigmas) <= 0.0:
            raise CalibrationError("bin_sigmas: expected one number above 0 for each bin")
        if not (0.0 < self.log_sigma <= 2.0 and self.memory_minutes > 0.0):
            raise CalibrationError("log_sigma, memory_minutes: expected above 0, the first up to 2")
        if self.tail_degrees <= 2.0:
            raise CalibrationError(f"tail_degrees: expected above 2, got {self.tail_degrees}")
        if not (1.0 <= self.kappa_cpi <= KAPPA_MAX and 1.0 <= self.kappa_fomc <= KAPPA_MAX):
            raise CalibrationError(f"kappa_cpi, kappa_fomc: expected 1 to {KAPPA_MAX}")


Parameters = RandomWalk | Runbook | Mixture


class Calibration(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one model needs for each index, where it comes from, and what it could not tell.

    `data_end_ns` is the newest observation: an artifact's age counts from there, since a fresh
    fit of old data is old. `minute_days` names the days whose minute bars it has seen.
    """

    schema: Literal["index.2"] = "index.2"
    fitted_ns: int
    data_end_ns: int
    window_start: str
    window_end: str
    minute_days: tuple[str, ...] = ()
    symbols: dict[str, Parameters]
    counts: dict[str, int] = {}
    metrics: dict[str, float] = {}
    not_estimated: tuple[str, ...] = ()
    sha256: str = ""

    def __post_init__(self) -> None:
        if len({type(parameters) for parameters in self.symbols.values()}) != 1:
            raise CalibrationError("symbols: expected one model for all of one or more symbols")

    @property
    def model(self) -> str:
        """Return the name of the model that these parameters are for."""
        return str(next(iter(self.symbols.values())).__struct_config__.tag)

    def age_days(self, now_ns: int) -> float:
        """Return the days since the newest observation in it; negative for data of the future."""
        return (now_ns - self.data_end_ns) / DAY_NS

    def id_for(self, family: str) -> str:
        """Return the name that a family's messages carry."""
        return f"{family}-{self.sha256[:12]}"


Artifact = TypeVar("Artifact", bound=Struct)
"""A frozen struct with the fields `schema` and `sha256`, a checksum over all others."""


def checksum_of(artifact: Struct) -> str:
    """Return the sha256 of all fields but the checksum itself, keys in order."""
    bare = structs.replace(artifact, sha256="")
    return hashlib.sha256(msgspec.json.encode(bare, order="sorted")).hexdigest()


def sealed(artifact: Artifact) -> Artifact:
    """Return the artifact with its checksum filled in."""
    return structs.replace(artifact, sha256=checksum_of(artifact))


def encode_calibration(artifact: Struct) -> bytes:
    """Return the file's bytes of a sealed artifact."""
    found = getattr(artifact, "sha256", "")
    assert found == checksum_of(artifact), "seal a calibration before it is written"
    return msgspec.json.format(msgspec.json.encode(artifact), indent=1) + b"\n"


def decode_artifact(raw: bytes, where: str, kind: type[Artifact], advice: str) -> Artifact:
    """Return the checked artifact in these bytes of a file; raises CalibrationError."""
    if len(raw) > MAX_FILE_BYTES:
        raise CalibrationError(f"{where}: expected at most {MAX_FILE_BYTES} bytes, got {len(raw)}")
    try:
        artifact = msgspec.json.decode(raw, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError) as error:
        schema = next(row.default for row in structs.fields(kind) if row.name == "schema")
        raise CalibrationError(f"{where}: expected {schema}: {error}; {advice}") from None
    expected = checksum_of(artifact)
    found = str(getattr(artifact, "sha256", ""))
    if found != expected:
        raise CalibrationError(
            f"{where}: expected sha256 {expected[:12]}… of its content,"
            f" found {found[:12] or 'none'}; {advice}"
        )
    return artifact


def decode_calibration(raw: bytes, where: str, family: str) -> Calibration:
    """Return the checked calibration in these bytes of a file; raises CalibrationError.

    It must hold the index that `family` settles on.
    """
    calibration = decode_artifact(raw, where, Calibration, ADVICE)
    wanted = family_named(family).index_symbol
    if wanted not in calibration.symbols:
        held = ", ".join(sorted(calibration.symbols))
        raise CalibrationError(f"{where}: {family} needs symbol {wanted}, found {held}; {ADVICE}")
    return calibration
