"""The one naming table: our families, the exchange's series, the index each settles on.

Facts from domain.md §0 and kalshi-api.md §4. Nothing else in the system knows a series ticker.
"""

from collections.abc import Iterable
from enum import StrEnum
from functools import lru_cache

from msgspec import Struct


class UnknownFamilyError(ValueError):
    """A family, series or symbol that the naming table does not hold."""


class LadderKind(StrEnum):
    """How the rungs of one event relate: thresholds within each other, or ranges side by side."""

    NESTED = "nested"
    PARTITION = "partition"


class Cadence(StrEnum):
    """How often a family's event comes."""

    HOURLY = "hourly"
    CLOSE = "close"
    DAILY = "daily"
    WEEKLY = "weekly"
    MONTHLY = "monthly"


class Family(Struct, frozen=True, kw_only=True):
    """One series family.

    `grid_e4` is the step of the reported value; `series_prefixes` name whole groups of series.
    """

    name: str
    kind: LadderKind
    cadence: Cadence
    grid_e4: int
    series_tickers: tuple[str, ...] = ()
    series_prefixes: tuple[str, ...] = ()
    index_symbol: str | None = None
    aliases: tuple[str, ...] = ()


FAMILIES: tuple[Family, ...] = (
    Family(
        name="INXU",
        kind=LadderKind.NESTED,
        cadence=Cadence.HOURLY,
        grid_e4=100,
        series_tickers=("KXINXU",),
        index_symbol="I:SPX",
    ),
    Family(
        name="NASDAQ100U",
        kind=LadderKind.NESTED,
        cadence=Cadence.HOURLY,
        grid_e4=100,
        series_tickers=("KXNASDAQ100U",),
        index_symbol="I:NDX",
    ),
    Family(
        name="INX",
        kind=LadderKind.PARTITION,
        cadence=Cadence.CLOSE,
        grid_e4=100,
        series_tickers=("KXINX",),
        index_symbol="I:SPX",
    ),
    Family(
        name="NASDAQ100",
        kind=LadderKind.PARTITION,
        cadence=Cadence.CLOSE,
        grid_e4=100,
        series_tickers=("KXNASDAQ100",),
        index_symbol="I:NDX",
    ),
    Family(
        name="CPI",
        kind=LadderKind.NESTED,
        cadence=Cadence.MONTHLY,
        grid_e4=1_000,
        series_tickers=("KXCPI", "KXCPIYOY", "KXCPICORE"),
    ),
    Family(
        name="CLAIMS",
        kind=LadderKind.NESTED,
        cadence=Cadence.WEEKLY,
        grid_e4=10_000,
        series_tickers=("KXJOBLESSCLAIMS",),
    ),
    Family(
        name="TENY",
        kind=LadderKind.NESTED,
        cadence=Cadence.DAILY,
        grid_e4=100,
        series_tickers=("KXUST10AD", "KXUST10A"),
        aliases=("TNEY",),
    ),
    Family(
        name="WEATHER",
        kind=LadderKind.PARTITION,
        cadence=Cadence.DAILY,
        grid_e4=10_000,
        series_prefixes=("KXHIGH", "KXLOW"),
    ),
    Family(
        name="GAS",
        kind=LadderKind.NESTED,
        cadence=Cadence.WEEKLY,
        grid_e4=10,
        series_tickers=("KXAAAGASW", "KXAAAGASM"),
    ),
)

NAMES = tuple(family.name for family in FAMILIES)
"""What a configuration may call them."""

_BY_NAME = {name: family for family in FAMILIES for name in (family.name, *family.aliases)}
_BY_SERIES = {series: family for family in FAMILIES for series in family.series_tickers}

HOURLY_SERIES = tuple(
    series
    for family in FAMILIES
    if family.cadence is Cadence.HOURLY
    for series in family.series_tickers
)
"""The U-series, the ones that are traded so far."""

INDEX_FAMILIES = tuple(family.name for family in FAMILIES if family.index_symbol is not None)
"""The families that settle on an index, hourly ones first."""


def family_named(name: str) -> Family:
    """Return the family of that name or alias; raise UnknownFamilyError."""
    family = _BY_NAME.get(name)
    if family is None:
        raise UnknownFamilyError(f"family: expected one of {sorted(NAMES)}, got {name!r}")
    return family


@lru_cache(maxsize=4096)
def family_of_series(series_ticker: str) -> Family:
    """Return the family that a series ticker belongs to; raise UnknownFamilyError."""
    family = _BY_SERIES.get(series_ticker)
    if family is not None:
        return family
    for family in FAMILIES:
        for prefix in family.series_prefixes:
            if series_ticker.startswith(prefix) and len(series_ticker) > len(prefix):
                return family
    raise UnknownFamilyError(
        f"series: no family holds {series_ticker!r}; add it to libs/domain/families.py"
    )


def demand_families(key: str, names: Iterable[str]) -> None:
    """Raise ValueError that names the configuration's key when a name is no family's own.

    An alias is refused: what looks the family up by its name would not find it, and not notice.
    """
    for name in names:
        try:
            canonical = family_named(name).name
        except UnknownFamilyError as error:
            raise ValueError(f"{key}: {error}") from None
        if canonical != name:
            raise ValueError(f"{key}: expected the name {canonical!r}, got its alias {name!r}")


def families_of_symbol(index_symbol: str) -> tuple[Family, ...]:
    """Return the families that settle on an index ("I:SPX"); raise UnknownFamilyError."""
    found = tuple(family for family in FAMILIES if family.index_symbol == index_symbol)
    if not found:
        known = sorted({family.index_symbol for family in FAMILIES if family.index_symbol})
        raise UnknownFamilyError(f"index symbol: expected one of {known}, got {index_symbol!r}")
    return found


def index_symbols() -> tuple[str, ...]:
    """Return every index symbol that a family settles on, once each, in table order."""
    return tuple(dict.fromkeys(f.index_symbol for f in FAMILIES if f.index_symbol is not None))
