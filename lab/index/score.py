"""Score index models out of sample, beside both baselines (domain.md §2, "Honest scoring")."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from lab.index.cases import Answers, Known, Question, answer, known_of, questions_of
from lab.index.history import only_days
from lab.index.metrics import (
    INTERVALS,
    DayDraws,
    coverage,
    difference_of,
    gain_of,
    uniformity,
)
from libs.domain.families import family_named
from services.pricer.calibration import Calibration
from services.pricer.models import random_walk, runbook
from services.pricer.models.contract import IndexModel
from services.pricer.models.history import FitError, History, sessions_of

BASELINES = {"random_walk": random_walk.NAME, "runbook": runbook.NAME}
POOL = range(1, 16)
"""The minutes before a target that the hourly window trades: T−15 to T−1."""
ALL = "all"

Floats = NDArray[np.float64]


class ScoreError(ValueError):
    """A scoring that would mean nothing; one line."""


class Fold(Struct, frozen=True):
    """One fit and the days that it is scored on."""

    calibrations: dict[str, Calibration]
    unfitted: dict[str, str]
    days: tuple[str, ...]


class Scored(Struct, frozen=True, eq=False):
    """All questions of a scoring with every model's answers, NaN where it had no calibration."""

    questions: tuple[Question, ...]
    answers: dict[str, Answers]
    folds: tuple[Fold, ...]
    problems: dict[str, int]


def days_of(history: History) -> tuple[str, ...]:
    """Return the New York days of a history that have a session, in order."""
    return tuple(
        sorted(
            {
                session.day.isoformat()
                for row in history.symbols
                for times_ns in (row.minute_ns, row.level_ns)
                for session in sessions_of(times_ns)[0]
            }
        )
    )


def fit_all(models: Mapping[str, IndexModel], train: History, fitted_ns: int) -> Fold:
    """Fit each model on the training set; one that can't be fitted is named with its reason."""
    calibrations, unfitted = {}, {}
    for name, model in models.items():
        try:
            calibrations[name] = model.fit(train, fitted_ns)
        except FitError as error:
            unfitted[name] = str(error)
    return Fold(calibrations, unfitted, ())


def score(
    models: Mapping[str, IndexModel], train: History, test: History, fitted_ns: int
) -> Scored:
    """Fit on the training set and score on days of the test set that it does not hold."""
    overlap = sorted(set(days_of(train)) & set(days_of(test)))
    unseen = only_days(test, overlap, keep=False)
    days = days_of(unseen)
    if not days:
        raise ScoreError("test: expected days that are not in the training set, found none")
    fold = fit_all(models, train, fitted_ns)
    last = max(days_of(train), default="")
    problems = Counter(
        {
            "test days left out since the training set holds them": len(overlap),
            "test days before training data end: scored with hindsight": sum(
                day < last for day in days
            ),
        }
    )
    return _scored(models, [(Fold(fold.calibrations, fold.unfitted, days), unseen)], problems)


def walk_forward(
    models: Mapping[str, IndexModel],
    history: History,
    fitted_ns: int,
    first_days: int,
    refit_days: int,
) -> Scored:
    """Fit on all days before each stretch of `refit_days` days, and score on the stretch."""
    days = days_of(history)
    if len(days) <= first_days:
        raise ScoreError(
            f"walk-forward: expected more than {first_days} days, found {len(days)};"
            " give more data or a lower --first-days"
        )
    parts = []
    for begin in range(first_days, len(days), refit_days):
        stretch = days[begin : begin + refit_days]
        fold = fit_all(models, only_days(history, days[:begin], keep=True), fitted_ns)
        test = only_days(history, stretch, keep=True)
        parts.append((Fold(fold.calibrations, fold.unfitted, stretch), test))
    return _scored(models, parts, Counter())


def _scored(
    models: Mapping[str, IndexModel],
    parts: Sequence[tuple[Fold, History]],
    problems: Counter[str],
) -> Scored:
    asked: list[tuple[Fold, Known, list[Question]]] = []
    for fold, test in parts:
        for row in test.symbols:
            known = known_of(row)
            asked.append((fold, known, questions_of(known, problems)))
    questions = tuple(question for _, _, found in asked for question in found)
    if not questions:
        raise ScoreError("test: expected targets with a level before them, found none")
    answers = {}
    for name, model in models.items():
        found = [
            _answered(model, fold.calibrations.get(name), known, batch)
            for fold, known, batch in asked
        ]
        answers[name] = Answers(
            *(np.concatenate([getattr(row, field) for row in found]) for field in _FIELDS)
        )
    return Scored(questions, answers, tuple(fold for fold, _ in parts), dict(problems))


_FIELDS = ("crps", "log_score", "pit", "brier")


def _answered(
    model: IndexModel, calibration: Calibration | None, known: Known, questions: list[Question]
) -> Answers:
    symbol = known.history.symbol
    if calibration is not None and symbol in calibration.symbols:
        return answer(model, calibration, known, questions)
    nothing = np.full(len(questions), np.nan)
    return Answers(nothing, nothing, nothing, np.full((len(questions), 12), np.nan))


def report(scored: Scored) -> dict[str, Any]:
    """Return rows by model, family and horizon, pooled rows, PIT and Brier, ready for JSON."""
    questions = scored.questions
    days = tuple(sorted({question.day for question in questions}))
    numbers = {day: place for place, day in enumerate(days)}
    day = np.array([numbers[question.day] for question in questions])
    family = np.array([question.family for question in questions])
    horizon = np.array([question.horizon_min for question in questions])
    level = np.array([question.level_e4 / 1e8 for question in questions])
    draws = DayDraws.of(days)
    families = tuple(dict.fromkeys(family.tolist()))
    groups: list[tuple[str, int | str, NDArray[np.bool_]]] = []
    pooled: list[tuple[str, int | str, NDArray[np.bool_]]] = []
    window = (horizon >= POOL[0]) & (horizon <= POOL[-1])
    for name in families:
        mine = family == name
        groups += [(name, int(h), mine & (horizon == h)) for h in np.unique(horizon[mine])]
        if (mine & window).any():
            pooled.append((name, _span(horizon[mine & window]), mine & window))
    every: list[tuple[str, int | str, NDArray[np.bool_]]]
    every = [(ALL, int(h), horizon == h) for h in np.unique(horizon)]
    every += [(ALL, _span(horizon[window]), window)] if window.any() else []
    # Points of different indices don't add up: over all families CRPS is in bps of the level.
    scale = np.ones(len(questions))

    def rows(chosen: Sequence[tuple[str, int | str, NDArray[np.bool_]]], per: Floats) -> list[Any]:
        found = (
            _row(scored, model, label, minutes, picked, day, draws, per)
            for model in scored.answers
            for label, minutes, picked in chosen
        )
        return [row for row in found if row is not None]

    return {
        "results": rows(groups, scale),
        "pooled": rows(pooled, scale) + rows(every, level),
        "pit": _pit(scored, [*pooled, *every[-1:]], day),
        "brier_by_rung": _brier(scored, pooled),
        "days": list(days),
        "questions": len(questions),
        "levels": len(
            {(family_named(one.family).index_symbol, one.target.at_ns) for one in questions}
        ),
    }


def _span(minutes: NDArray[np.int64]) -> str:
    """Return what a pooled row holds: "1-15", or less where the data begin later."""
    return f"{minutes.min()}-{minutes.max()}"


def _row(
    scored: Scored,
    model: str,
    family: str,
    horizon: int | str,
    picked: NDArray[np.bool_],
    day: NDArray[np.int64],
    draws: DayDraws,
    per: Floats,
) -> dict[str, Any] | None:
    mine = scored.answers[model]
    picked = picked & ~np.isnan(mine.crps)
    if not picked.any():
        return None
    crps = mine.crps / per
    row: dict[str, Any] = {
        "model": model,
        "family": family,
        "horizon_min": horizon,
        "n": int(picked.sum()),
        "n_days": int(np.unique(day[picked]).size),
        "crps": float(crps[picked].mean()),
        "log_score": float(mine.log_score[picked].mean()),
        "brier": float(mine.brier[picked].mean()),
    }
    for percent in INTERVALS:
        row[f"coverage_{percent}"] = coverage(mine.pit[picked], percent)
    for label, name in BASELINES.items():
        theirs = scored.answers.get(name)
        both = picked & ~np.isnan(theirs.crps) if theirs is not None else np.zeros_like(picked)
        gain, gain_ci, log_gain, log_ci = None, None, None, None
        if theirs is not None and both.any():
            gain, gain_ci = gain_of(crps[both], (theirs.crps / per)[both], day[both], draws)
            log_gain, log_ci = difference_of(
                mine.log_score[both], theirs.log_score[both], day[both], draws
            )
        row[f"crps_gain_vs_{label}"] = gain
        row["crps_gain_ci95" if label == "random_walk" else f"crps_gain_ci95_{label}"] = gain_ci
        row[f"log_gain_vs_{label}"] = log_gain
        row["log_gain_ci95" if label == "random_walk" else f"log_gain_ci95_{label}"] = log_ci
    return row


def _pit(
    scored: Scored,
    groups: Sequence[tuple[str, int | str, NDArray[np.bool_]]],
    day: NDArray[np.int64],
) -> list[dict[str, Any]]:
    found = []
    for model, mine in scored.answers.items():
        for family, minutes, picked in groups:
            chosen = picked & ~np.isnan(mine.pit)
            if chosen.any():
                tests = uniformity(mine.pit[chosen], day[chosen])
                labels = {"model": model, "family": family, "horizon_min": minutes}
                found.append(
                    labels | {name: getattr(tests, name) for name in tests.__struct_fields__}
                )
    return found


def _brier(
    scored: Scored, groups: Sequence[tuple[str, int | str, NDArray[np.bool_]]]
) -> list[dict[str, Any]]:
    found = []
    for model, mine in scored.answers.items():
        for family, minutes, picked in groups:
            chosen = picked & ~np.isnan(mine.crps)
            if chosen.any():
                by_rung = mine.brier[chosen].mean(axis=0)
                found.append(
                    {
                        "model": model,
                        "family": family,
                        "horizon_min": minutes,
                        "brier": [float(value) for value in by_rung],
                    }
                )
    return found


def folds_of(scored: Scored) -> dict[str, Any]:
    """Return what each fit was and which days it was scored on, and what was left out."""
    return {
        "folds": [
            {
                "days": [fold.days[0], fold.days[-1]],
                "calibrations": {
                    name: {
                        "sha256": found.sha256,
                        "window": [found.window_start, found.window_end],
                        "not_estimated": list(found.not_estimated),
                    }
                    for name, found in fold.calibrations.items()
                },
                "unfitted": fold.unfitted,
            }
            for fold in scored.folds
        ],
        "problems": scored.problems,
    }
