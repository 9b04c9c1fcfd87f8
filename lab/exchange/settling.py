"""Settle what has closed: each event at its own index level, once its target has come."""

from collections.abc import Callable

from lab.exchange.engine import Engine
from lab.exchange.model import MarketStatus
from libs.domain.families import family_of_series
from libs.domain.settlement import to_grid

SettlementLevel = Callable[[str, int], int | None]
"""The final level_e4 of a symbol at a target, None while it is not known."""


def settle_closed(engine: Engine, level: SettlementLevel, at_ns: int) -> None:
    """Determine every closed event whose target lies at `at_ns` or before it.

    What pays is the reported level: an index has more decimals than its report.
    """
    state = engine.state
    for event in list(state.events.values()):
        markets = state.event_markets[event.ticker]
        if event.target_ns > at_ns or markets[0].status is not MarketStatus.CLOSED:
            continue
        level_e4 = level(event.symbol, event.target_ns)
        if level_e4 is not None:
            grid_e4 = family_of_series(event.series_ticker).grid_e4
            engine.settle(event.ticker, to_grid(level_e4, grid_e4), at_ns)
