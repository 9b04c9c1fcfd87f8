"""Fit the fill model: penalised Poisson likelihood of what was filled in the time at risk.

A contract's fills come at rate · minutes, so each row's share filled is a Poisson count with the
row's minutes as exposure. Normal priors about the defaults hold where rows are few; the likelihood
is concave, so Newton's steps end at its top. Slippage is the count-weighted fit of what fair value
moved against us, less the curve by our share of the depth, shrunk towards 0 and never below it.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from math import log
from typing import TypeVar

import numpy as np
from msgspec import Struct, structs
from numpy.typing import NDArray

from lab.fills.observe import PROVENANCES, Markout, Observations, OrderRow, Row
from libs.common.messages import Provenance
from libs.domain.eastern import eastern_date
from libs.domain.money import COUNT_ONE_E2
from services.pricer.calibration import sealed
from services.pricer.fills import (
    Coefficients,
    FillModel,
    Fills,
    SeriesFills,
    covariates,
    share_told,
)

Floats = NDArray[np.float64]

PRIOR_SPREAD = Coefficients(
    joins=1.0,
    behind_cents=0.4,
    queue=0.2,
    size=0.1,
    edge_cents=0.05,
    time=0.3,
    ask=0.3,
    attention=0.5,
)
"""Standard deviations about the defaults of `Coefficients`."""
RATE_SPREAD, SERIES_SPREAD = 3.0, 0.5
"""Of the common log rate, and of a series' about it."""
PULL_MINUTES = 10.0
"""A series' rate of pulling counts the common one for so many minutes."""
SLIPPAGE_CONTRACTS = 5.0
"""Adverse moves count the common size, or none, for so many contracts of the last minute."""
NEWTON_STEPS = 30
ORDERS_ENOUGH, FILLS_ENOUGH = 100, 20


class FitError(ValueError):
    """Observations that no fill model can be fitted on; one line."""


class Seen(Struct, frozen=True):
    """The observations of one or more runs together; events of two runs are two."""

    runs: tuple[str, ...]
    rows: list[Row]
    orders: list[OrderRow]
    markouts: list[Markout]
    problems: dict[str, int]
    provenance: Provenance
    from_ns: int
    to_ns: int


def joined(parts: Sequence[Observations]) -> Seen:
    """Return what all runs hold, each once; the least real of them names the whole."""
    runs = {part.run: part for part in parts}
    problems: Counter[str] = Counter()
    for part in runs.values():
        problems += part.problems
    return Seen(
        tuple(sorted(runs)),
        [_within(row, part) for part in runs.values() for row in part.rows],
        [_within(row, part) for part in runs.values() for row in part.orders],
        [_within(row, part) for part in runs.values() for row in part.markouts],
        dict(problems),
        max((part.provenance for part in runs.values()), key=PROVENANCES.index),
        min(part.from_ns for part in runs.values()),
        max(part.to_ns for part in runs.values()),
    )


Observed = TypeVar("Observed", Row, OrderRow, Markout)


def _within(row: Observed, part: Observations) -> Observed:
    return structs.replace(row, event=f"{part.run} {row.event}")


def fit(seen: Seen, fitted_ns: int) -> FillModel:
    """Return the sealed fill model of these observations; raises FitError."""
    if not seen.rows:
        raise FitError("ledger: expected orders that rested, found none")
    names = sorted({row.series for row in seen.rows})
    found = _newton(seen.rows, names)
    size = len(Coefficients.__struct_fields__)
    coefficients = Coefficients(
        **{
            name: round(float(value), 6)
            for name, value in zip(Coefficients.__struct_fields__, found[1 : 1 + size], strict=True)
        }
    )
    common = _series(seen, None, float(found[0]), SeriesFills())
    series = {
        name: _series(seen, name, float(found[0] + found[1 + size + place]), common)
        for place, name in enumerate(names)
    }
    model = FillModel(
        fitted_ns=fitted_ns,
        window_start=eastern_date(seen.from_ns).isoformat(),
        window_end=eastern_date(seen.to_ns).isoformat(),
        provenance=seen.provenance,
        runs=seen.runs,
        coefficients=coefficients,
        default=common,
        series=series,
        counts={
            "orders": common.orders,
            "orders without fill": common.orders_without_fill,
            "rows": len(seen.rows),
            "fills": common.fills,
            "events": len({row.event for row in seen.rows}),
        }
        | seen.problems,
        metrics={
            "log_likelihood_gain": round(
                _log_likelihood(seen.rows, coefficients, series, common)
                - _flat_log_likelihood(seen.rows),
                3,
            )
        },
        not_estimated=tuple(_missing(seen, series)),
    )
    return sealed(model)


def _newton(rows: Sequence[Row], names: Sequence[str]) -> Floats:
    """Return common log rate, coefficients and series' differences at the posterior's top."""
    design = np.array([(1.0, *covariates(row.state)) for row in rows])
    place = {name: at for at, name in enumerate(names)}
    member = np.zeros((len(rows), len(names)))
    member[np.arange(len(rows)), [place[row.series] for row in rows]] = 1.0
    design = np.hstack([design, member])
    minutes = np.array([row.minutes for row in rows])
    share = np.array([row.share for row in rows])
    fields = Coefficients.__struct_fields__
    middle = np.array(
        [SeriesFills().log_rate, *(getattr(Coefficients(), name) for name in fields)]
        + [0.0] * len(names)
    )
    weight = 1.0 / np.square(
        [RATE_SPREAD, *(getattr(PRIOR_SPREAD, name) for name in fields)]
        + [SERIES_SPREAD] * len(names)
    )
    found = middle.copy()
    found[0] = log(max(share.sum(), 0.5) / max(minutes.sum(), 1e-9)) - float(
        (design[:, 1:] @ middle[1:]).mean()
    )
    for _ in range(NEWTON_STEPS):
        expected = minutes * np.exp(np.clip(design @ found, -30.0, 10.0))
        slope = design.T @ (share - expected) - weight * (found - middle)
        curve = (design * expected[:, None]).T @ design + np.diag(weight)
        step = np.clip(np.linalg.solve(curve, slope), -1.0, 1.0)
        found += step
        if float(np.abs(step).max()) < 1e-9:
            break
    return found


def _series(seen: Seen, name: str | None, log_rate: float, common: SeriesFills) -> SeriesFills:
    """Return one series' numbers, or those of all when `name` is None."""
    orders = [row for row in seen.orders if name in (None, row.series)]
    markouts = [row for row in seen.markouts if name in (None, row.series)]
    minutes = sum(row.minutes for row in orders)
    pulls = sum(row.pulled for row in orders)
    prior = PULL_MINUTES if name is not None else 0.0
    pull = (pulls + prior * common.pull_per_min) / (minutes + prior) if minutes + prior else 0.0
    return SeriesFills(
        log_rate=round(log_rate, 6),
        pull_per_min=round(pull, 6),
        adverse_cents=round(_adverse_cents(markouts, common.adverse_cents), 4),
        orders=len(orders),
        orders_without_fill=sum(row.share == 0.0 for row in orders),
        fills=len(markouts),
    )


def _adverse_cents(markouts: Iterable[Markout], prior_cents: float) -> float:
    """Return the least-squares size of adverse moves in the last minute, shrunk to the prior."""
    total, weight = SLIPPAGE_CONTRACTS * prior_cents, SLIPPAGE_CONTRACTS
    for row in markouts:
        contracts, told = row.count_e2 / COUNT_ONE_E2, share_told(row.minutes_left)
        curve_cents = Fills().slippage_cents(row.participation, row.minutes_left)
        total += contracts * told * (row.adverse_cents - curve_cents)
        weight += contracts * told**2
    return max(total / weight, 0.0)


def _log_likelihood(
    rows: Sequence[Row],
    coefficients: Coefficients,
    series: dict[str, SeriesFills],
    common: SeriesFills,
) -> float:
    total = 0.0
    for row in rows:
        rate = Fills(coefficients, series.get(row.series, common)).rate_per_min(row.state)
        total += row.share * log(rate) - rate * row.minutes
    return total


def _flat_log_likelihood(rows: Sequence[Row]) -> float:
    """Return the log likelihood of one rate for all."""
    share, minutes = sum(row.share for row in rows), sum(row.minutes for row in rows)
    return share * log(share / minutes) - share if share > 0.0 else 0.0


def _missing(seen: Seen, series: dict[str, SeriesFills]) -> list[str]:
    """Return what the observations are too thin for, in words."""
    missing = [
        f"{name}: {row.orders} orders, {row.fills} fills, the common rate mostly"
        for name, row in series.items()
        if row.orders < ORDERS_ENOUGH or row.fills < FILLS_ENOUGH
    ]
    if len({row.state.count_e2 for row in seen.rows}) == 1:
        missing.append("size: all orders of one size")
    behind = sum(row.state.behind_e4 > 0 for row in seen.orders)
    if behind < ORDERS_ENOUGH:
        missing.append(f"behind the best price: {behind} orders, prior mostly")
    level = sum(row.state.behind_e4 == 0 for row in seen.orders)
    if level < ORDERS_ENOUGH:
        missing.append(f"level with the best price: {level} orders, prior mostly")
    return missing
