"""Which ladders the simulated exchange lists for an index: rungs around the level of the time."""

from lab.exchange.ladders import LadderConfig
from lab.market.path import IndexPath
from libs.domain.eastern import NS_PER_HOUR, NS_PER_MINUTE
from libs.domain.families import family_named
from libs.domain.money import LEVEL_ONE_E4

LADDER_RUNGS = {"INXU": 60, "NASDAQ100U": 200}
LADDER_STEP_E4 = 10 * LEVEL_ONE_E4
SEEN_BEFORE_NS = 15 * NS_PER_MINUTE
"""The rungs lie around the level so long before the target."""


def hourly_ladders(
    path: IndexPath, target_ns: int, open_ns: int | None = None
) -> tuple[LadderConfig, ...]:
    """Return the events of one target, for the indices that the path knows.

    Their markets open at `open_ns`, two hours before the target by default.
    """
    return tuple(
        LadderConfig(
            series=family_named(name).series_tickers[0],
            target_ns=target_ns,
            centre_e4=_level_e4(path, name, target_ns - SEEN_BEFORE_NS),
            step_e4=LADDER_STEP_E4,
            rungs=rungs,
            open_ns=open_ns,
        )
        for name, rungs in LADDER_RUNGS.items()
        if family_named(name).index_symbol in path.symbols
    )


def range_ladder(path: IndexPath, first_ns: int, target_ns: int) -> LadderConfig:
    """Return the S&P 500's ranges at a target, open as soon as the hourly event of `first_ns`."""
    return LadderConfig(
        series=family_named("INX").series_tickers[0],
        target_ns=target_ns,
        centre_e4=_level_e4(path, "INX", first_ns - SEEN_BEFORE_NS),
        step_e4=25 * LEVEL_ONE_E4,
        rungs=30,
        open_ns=first_ns - 2 * NS_PER_HOUR,
    )


def _level_e4(path: IndexPath, name: str, at_ns: int) -> int:
    symbol = family_named(name).index_symbol
    assert symbol is not None, f"{name} settles on an index"
    return path.level_e4(symbol, at_ns)
