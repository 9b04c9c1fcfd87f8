"""Which ladders the simulated exchange lists for an index: rungs around the level of the time."""

from collections.abc import Iterable

from msgspec import Struct

from lab.exchange.ladders import LadderConfig
from lab.market.path import IndexPath
from libs.domain.eastern import NS_PER_HOUR, NS_PER_MINUTE
from libs.domain.families import Cadence, family_named
from libs.domain.money import LEVEL_ONE_E4


class Shape(Struct, frozen=True):
    """How many rungs a family's ladder has, and how far apart (kalshi-api.md §4)."""

    rungs: int
    step_e4: int


SHAPES = {
    "INXU": Shape(60, 10 * LEVEL_ONE_E4),
    "NASDAQ100U": Shape(200, 10 * LEVEL_ONE_E4),
    "INX": Shape(30, 25 * LEVEL_ONE_E4),
    "NASDAQ100": Shape(30, 100 * LEVEL_ONE_E4),
}
HOURLY = tuple(name for name in SHAPES if family_named(name).cadence is Cadence.HOURLY)
SEEN_BEFORE_NS = 15 * NS_PER_MINUTE
"""The rungs lie around the level so long before the target."""


def index_ladders(
    path: IndexPath, families: Iterable[str], target_ns: int, open_ns: int | None = None
) -> tuple[LadderConfig, ...]:
    """Return these families' events of one target, for the indices that the path knows.

    Their markets open at `open_ns`, two hours before the target by default.
    """
    return tuple(
        _ladder(path, name, target_ns, target_ns - SEEN_BEFORE_NS, open_ns)
        for name in families
        if family_named(name).index_symbol in path.symbols
    )


def hourly_ladders(path: IndexPath, target_ns: int) -> tuple[LadderConfig, ...]:
    """Return the hourly events of one target, of a day or of none: a simulator never rests."""
    return index_ladders(path, HOURLY, target_ns)


def range_ladder(path: IndexPath, first_ns: int, target_ns: int) -> LadderConfig:
    """Return the S&P 500's ranges at a target, open as soon as the hourly event of `first_ns`."""
    seen_ns, open_ns = first_ns - SEEN_BEFORE_NS, first_ns - 2 * NS_PER_HOUR
    return _ladder(path, "INX", target_ns, seen_ns, open_ns)


def _ladder(
    path: IndexPath, name: str, target_ns: int, seen_ns: int, open_ns: int | None
) -> LadderConfig:
    family, shape = family_named(name), SHAPES[name]
    assert family.index_symbol is not None, f"{name} settles on an index"
    return LadderConfig(
        series=family.series_tickers[0],
        target_ns=target_ns,
        centre_e4=path.level_e4(family.index_symbol, seen_ns),
        step_e4=shape.step_e4,
        rungs=shape.rungs,
        open_ns=open_ns,
    )
