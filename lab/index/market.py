"""Score the pricer against the market's own view, on settled outcomes (domain.md §2).

The pricer says both with every fair ladder: what the model thinks of each rung, and what the quotes
of the others imply. One forecast a minute of each event counts. The error is the sum over rungs of
(p − paid)²: on a nested ladder that is the CRPS in steps between strikes.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from lab.index.metrics import DayDraws, gain_of
from lab.runs import recorded
from libs.common.messages import FairLadder, IndexTick, LadderDefined, Message
from libs.domain.eastern import NS_PER_MINUTE, NS_PER_S
from libs.domain.settlement import Print, SettlementError, fix_on_or_before, settle_ladder
from services.pricer.ladder import LadderRefused, PricedLadder

WANTED: dict[str, tuple[type[Message], ...]] = {
    "TICKS": (IndexTick,),
    "LADDERS": (LadderDefined, FairLadder),
}
HORIZON_MIN_MAX = 60
PRINT_AGE_NS_MAX = 60 * NS_PER_S
ALL = "all"


class Forecast(Struct, frozen=True):
    """Both errors of one forecast, so many minutes before its target."""

    series: str
    event: str
    minutes: int
    model_error: float
    market_error: float


def forecasts_of(
    run: str, messages: Iterable[tuple[Message, str, int]]
) -> tuple[list[Forecast], Counter[str]]:
    """Return the forecasts of a run whose outcome is known, and what was left out."""
    ladders: dict[str, PricedLadder] = {}
    prints: dict[str, list[Print]] = {}
    fairs: dict[tuple[str, int], FairLadder] = {}
    problems: Counter[str] = Counter()
    for message, _, _ in messages:
        match message:
            case IndexTick() as tick:
                found = prints.setdefault(tick.symbol, [])
                found.append(Print(tick.bar_end_ns, tick.level_e4))
            case LadderDefined() as definition:
                try:
                    ladders[definition.ladder_id] = PricedLadder(definition, definition.ts_event_ns)
                except LadderRefused:
                    problems["ladders refused"] += 1
            case FairLadder() as fair:
                minutes = -(-(fair.target_ns - fair.ts_event_ns) // NS_PER_MINUTE)
                if not fair.market:
                    problems["fair ladders without a view of the market"] += 1
                elif 0 < minutes <= HORIZON_MIN_MAX:
                    fairs.setdefault((fair.event_ticker, minutes), fair)
    paid = _outcomes(ladders, prints, problems)
    found_forecasts = [
        Forecast(
            fair.series_ticker,
            f"{run} {event}",
            minutes,
            _error(fair.probabilities, paid[fair.ladder_id]),
            _error(fair.market, paid[fair.ladder_id]),
        )
        for (event, minutes), fair in fairs.items()
        if fair.ladder_id in paid
    ]
    return found_forecasts, problems


def _outcomes(
    ladders: dict[str, PricedLadder], prints: dict[str, list[Print]], problems: Counter[str]
) -> dict[str, NDArray[np.float64]]:
    """Return which rungs paid, by ladder, where the level at the target is known."""
    paid = {}
    for name, ladder in ladders.items():
        definition = ladder.definition
        known = prints.get(definition.symbol, [])
        try:
            fixing = fix_on_or_before(known, definition.target_ns, PRINT_AGE_NS_MAX)
        except SettlementError:
            problems["ladders without a level at their target"] += 1
            continue
        paid[name] = np.array(settle_ladder(ladder.ladder, fixing.level_e4), dtype=np.float64)
    return paid


def _error(probabilities: tuple[float, ...], paid: NDArray[np.float64]) -> float:
    return float(((np.array(probabilities) - paid) ** 2).sum())


def score_market(paths: Sequence[Path]) -> dict[str, Any]:
    """Return the scores of runs that have ended, ready for JSON; raises LedgerUnreadable."""
    forecasts: list[Forecast] = []
    problems: Counter[str] = Counter()
    for number, path in enumerate(paths):
        found, missing = forecasts_of(str(number), recorded(path, WANTED))
        forecasts += found
        problems += missing
    return report(forecasts) | {"problems": dict(problems)}


def report(forecasts: Sequence[Forecast]) -> dict[str, Any]:
    """Return rows by series and minutes before the target, and of all together."""
    rows = []
    names = [*sorted({row.series for row in forecasts}), ALL] if forecasts else []
    for name in names:
        mine = [row for row in forecasts if name in (ALL, row.series)]
        rows += [
            _row(name, minutes, [row for row in mine if row.minutes == minutes])
            for minutes in sorted({row.minutes for row in mine})
        ]
        window = [row for row in mine if row.minutes <= 15]
        if window:
            rows.append(_row(name, "1-15", window))
    return {"results": rows, "forecasts": len(forecasts)}


def _row(series: str, minutes: int | str, rows: Sequence[Forecast]) -> dict[str, Any]:
    model = np.array([row.model_error for row in rows])
    market = np.array([row.market_error for row in rows])
    events, event = np.unique([row.event for row in rows], return_inverse=True)
    gain, interval = gain_of(model, market, event, DayDraws.of(tuple(events.tolist())))
    return {
        "series": series,
        "horizon_min": minutes,
        "n": len(rows),
        "n_events": len(events),
        "model_error": float(model.mean()),
        "market_error": float(market.mean()),
        "gain_vs_market": gain,
        "gain_ci95": interval,
    }
