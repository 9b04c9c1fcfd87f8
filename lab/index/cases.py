"""Forecast every minute before every target of a test set, with what was known at that minute.

The model's own `watch` and `distribution` are called as the pricer calls them; the level and the
moves of the day are those of bars that have ended, and the outcome is looked at last.
"""

from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from libs.domain.calendar import CalendarError, Session
from libs.domain.eastern import NS_PER_MINUTE
from libs.domain.families import Family, LadderKind, families_of_symbol
from libs.domain.money import LEVEL_ONE_E4
from libs.domain.strikes import Rung, RungEdges, StrikeType, rung_edges
from libs.domain.windows import index_targets
from services.pricer.calibration import Calibration
from services.pricer.models.contract import (
    IndexInputs,
    IndexModel,
    Target,
    TradingDay,
    target_of,
    trading_day,
)
from services.pricer.models.history import SymbolHistory, sessions_of

Floats = NDArray[np.float64]

HORIZON_MAX = 60
RUNG_REACH = 6
"""Rungs on either side of the level that are scored by Brier."""
STEP_POINTS = {"INXU": 10, "NASDAQ100U": 25, "INX": 25, "NASDAQ100": 100}
"""Points between rungs, as Kalshi lists them (kalshi-api.md §6)."""


class Question(Struct, frozen=True):
    """What is to be forecast: the level at a target, asked so many minutes before."""

    family: str
    day: str
    horizon_min: int
    now_ns: int
    level_e4: int
    target: Target
    outcome: float


class Answers(Struct, frozen=True, eq=False):
    """One model's scores on questions, in their order, shape (n,); `brier` is (n, rungs)."""

    crps: Floats
    log_score: Floats
    pit: Floats
    brier: Floats


class Known(Struct, frozen=True, eq=False):
    """A symbol's levels by the time at which they were known, minute bars before levels."""

    history: SymbolHistory
    level_at: dict[int, float]
    outcome_at: dict[int, float]


def known_of(history: SymbolHistory) -> Known:
    """Return what is known and when; an outcome is the level given for it, else its bar's close."""
    minutes = dict(zip(history.minute_ns.tolist(), history.minutes.tolist(), strict=True))
    levels = dict(zip(history.level_ns.tolist(), history.levels.tolist(), strict=True))
    return Known(history, levels | minutes, minutes | levels)


def questions_of(known: Known, problems: Counter[str]) -> list[Question]:
    """Return every question that the data can ask and answer, by family, target and minute."""
    history = known.history
    times = np.unique(np.concatenate([history.minute_ns, history.level_ns]))
    sessions, _ = sessions_of(times)
    found: list[Question] = []
    for family in families_of_symbol(history.symbol):
        for session in sessions:
            trading = _trading_day(session, problems)
            for target_ns in index_targets(family.name, session.day):
                outcome = known.outcome_at.get(target_ns)
                if outcome is None:
                    problems["targets without an outcome"] += 1
                    continue
                target = target_of(family.name, target_ns, trading)
                day = session.day.isoformat()
                found += _asked(known, family, day, target, outcome)
    return found


def _trading_day(session: Session, problems: Counter[str]) -> TradingDay:
    try:
        return trading_day(session.open_ns)
    except CalendarError:
        problems["days outside of the macro calendar, taken as without events"] += 1
        return TradingDay(session.open_ns, session.close_ns)


def _asked(
    known: Known, family: Family, day: str, target: Target, outcome: float
) -> Iterator[Question]:
    for horizon in range(1, HORIZON_MAX + 1):
        now_ns = target.at_ns - horizon * NS_PER_MINUTE
        level = known.level_at.get(now_ns)
        if level is not None and now_ns > target.day.open_ns:
            yield Question(
                family.name,
                day,
                horizon,
                now_ns,
                round(level * LEVEL_ONE_E4),
                target,
                outcome,
            )


def moves_known(history: SymbolHistory) -> list[tuple[int, int, float]]:
    """Return (from, to, change of the log level) in the order known: minutes, levels elsewhere."""
    moves: list[tuple[int, int, float]] = []
    times, logs = history.minute_ns.tolist(), np.log(history.minutes).tolist()
    for row in range(1, len(times)):
        if times[row] - times[row - 1] == NS_PER_MINUTE:
            moves.append((times[row - 1], times[row], logs[row] - logs[row - 1]))
    times, logs = history.level_ns.tolist(), np.log(history.levels).tolist()
    moves += [
        (begin, end, logs[row + 1] - logs[row]) for row, (begin, end) in enumerate(pairwise(times))
    ]
    # Of two known at once the shorter one; what reaches back over one already seen is left out.
    moves.sort(key=lambda move: (move[1], -move[0]))
    kept: list[tuple[int, int, float]] = []
    for move in moves:
        if not kept or move[0] >= kept[-1][1]:
            kept.append(move)
    return kept


def answer(
    model: IndexModel, calibration: Calibration, known: Known, questions: list[Question]
) -> Answers:
    """Return a model's scores; questions and moves are walked together in time order."""
    symbol = known.history.symbol
    watch = model.watch(calibration, symbol)
    moves = moves_known(known.history) if watch is not None else []
    order = sorted(range(len(questions)), key=lambda place: questions[place].now_ns)
    ladders = {family.name: _ladder(family) for family in families_of_symbol(symbol)}
    size = len(questions)
    found = Answers(
        np.empty(size), np.empty(size), np.empty(size), np.empty((size, 2 * RUNG_REACH))
    )
    place_of_move = 0
    for place in order:
        question = questions[place]
        target = question.target
        while watch and place_of_move < len(moves) and moves[place_of_move][1] <= question.now_ns:
            begin_ns, end_ns, change = moves[place_of_move]
            place_of_move += 1
            if begin_ns >= target.day.open_ns:
                watch.observe(target.day, begin_ns, end_ns, change)
        inputs = IndexInputs(
            level_e4=question.level_e4,
            target=target,
            belief=watch.belief if watch else None,
        )
        forecast = model.distribution(inputs, calibration, question.now_ns)
        found.crps[place] = forecast.crps(question.outcome)
        found.log_score[place] = forecast.log_density(question.outcome)
        edges, step = ladders[question.family]
        base = question.level_e4 // (step * LEVEL_ONE_E4) * step
        values = forecast.cdf(np.append(edges.levels + base, question.outcome))
        found.pit[place] = values[-1]
        padded = np.concatenate(([0.0], values[:-1], [1.0]))
        fair = padded[edges.upper] - padded[edges.lower]
        # The outcome lies above so many edges; a rung pays from its lower edge to its upper one.
        above = int(np.searchsorted(edges.levels + base, question.outcome, side="right"))
        paid = (edges.lower <= above) & (above < edges.upper)
        found.brier[place] = (fair - paid) ** 2
    return found


def _ladder(family: Family) -> tuple[RungEdges, int]:
    """Return the edges of rungs about a level of 0, and the step in points."""
    step = STEP_POINTS[family.name]
    step_e4 = step * LEVEL_ONE_E4
    rungs = []
    for place in range(1 - RUNG_REACH, RUNG_REACH + 1):
        floor_e4 = place * step_e4
        if family.kind is LadderKind.NESTED:
            rungs.append(Rung(f"T{place}", StrikeType.GREATER, floor_e4 - 1))
        else:
            cap_e4 = floor_e4 + step_e4 - family.grid_e4
            rungs.append(Rung(f"B{place}", StrikeType.BETWEEN, floor_e4, cap_e4))
    return rung_edges(tuple(rungs), family.grid_e4), step
