"""Strategy P&L: settled outcomes only, with an interval over days, beside doing nothing.

Fills of one day share that day's luck, so a day is one observation and whole days are drawn. A
day on which the strategy could trade and did not counts as zero.
"""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import numpy as np
from msgspec import Struct

from lab.index.metrics import DayDraws, difference_of
from libs.domain.eastern import eastern_date
from libs.domain.tickers import parse_event_ticker

DAYS_MIN = 6
"""Fewer days get no interval: resampled, five that happen to gain would always look like a gain,
and without any edge five of a sign come once in sixteen; six, once in thirty-two."""


class Day(Struct, frozen=True, kw_only=True):
    """What one day came to. `pnl_e6` counts markets that are settled, after fees."""

    day: str
    events: int
    fills: int
    contracts_e2: int
    fees_e6: int
    pnl_e6: int
    markets_unsettled: int


class StrategyPnl(Struct, frozen=True, kw_only=True):
    """The sum over days, the mean of a day, and what sets it apart from no trade at all.

    `ci95_day_dollars` is the bootstrap interval of the mean day, None below `days_min` days.
    `beats_no_trade` is None when nothing is shown: the interval holds zero, there is none, or a
    calibration had hindsight.
    """

    days: tuple[Day, ...]
    total_e6: int
    mean_day_dollars: float
    ci95_day_dollars: tuple[float, float] | None
    days_min: int
    beats_no_trade: bool | None
    fills: int
    contracts_e2: int
    fees_e6: int
    markets_unsettled: int


def strategy_pnl(
    markets: Sequence[Mapping[str, Any]],
    events_by_day: Mapping[date, int],
    *,
    hindsight: bool = False,
) -> StrategyPnl:
    """Add up the ledger's markets (`account_books`) by day; `events_by_day` names all days.

    With `hindsight`, when a calibration knew a day or what came after it, no edge is claimed.
    """
    rows = {day: [0, 0, 0, 0, 0] for day in sorted(events_by_day)}
    for market in markets:
        day = eastern_date(parse_event_ticker(market["event_ticker"]).target_ns)
        row = rows[day]
        row[0] += market["fills"]
        row[1] += market["contracts_filled_e2"]
        row[2] += market["fees_e6"]
        if market["result"]:
            row[3] += market["settlement_pnl_e6"]
        else:
            row[4] += 1
    days = tuple(
        Day(
            day=day.isoformat(),
            events=events_by_day[day],
            fills=fills,
            contracts_e2=contracts_e2,
            fees_e6=fees_e6,
            pnl_e6=pnl_e6,
            markets_unsettled=unsettled,
        )
        for day, (fills, contracts_e2, fees_e6, pnl_e6, unsettled) in rows.items()
    )
    mean, interval = _against_no_trade(days)
    apart = interval is not None and not interval[0] <= 0.0 <= interval[1]
    shown = apart and not hindsight
    return StrategyPnl(
        days=days,
        total_e6=sum(day.pnl_e6 for day in days),
        mean_day_dollars=mean,
        ci95_day_dollars=interval,
        days_min=DAYS_MIN,
        beats_no_trade=mean > 0.0 if shown else None,
        fills=sum(day.fills for day in days),
        contracts_e2=sum(day.contracts_e2 for day in days),
        fees_e6=sum(day.fees_e6 for day in days),
        markets_unsettled=sum(day.markets_unsettled for day in days),
    )


def _against_no_trade(days: Sequence[Day]) -> tuple[float, tuple[float, float] | None]:
    """Return the mean day less that of no trade, which is zero, and its interval."""
    if not days:
        return 0.0, None
    pnl = np.array([day.pnl_e6 / 1e6 for day in days])
    draws = DayDraws.of(tuple(day.day for day in days))
    mean, interval = difference_of(pnl, np.zeros_like(pnl), np.arange(len(days)), draws)
    return mean, interval if len(days) >= DAYS_MIN else None
