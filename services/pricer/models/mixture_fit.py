"""Fit the index model: penalised maximum likelihood over minute bars and hourly levels.

Each session is a sequence of moves; x is integrated out by the same grid filter that trades. The
σ of the bins are found by Fisher scoring, the few other numbers by steps on grids. Where data are
few, weak priors hold: the usual U of a session, and what is said at `PRIORS`.
"""

from math import exp, log

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from libs.domain.calendar import CalendarError, Session
from libs.domain.eastern import NS_PER_MINUTE
from libs.domain.macro_days import MacroEvent, macro_events
from services.pricer.calibration import Calibration, Mixture
from services.pricer.models.history import (
    FitError,
    History,
    Moves,
    artifact,
    level_moves,
    minute_moves,
)
from services.pricer.models.session import (
    BIN_ENDS,
    BINS,
    FOMC_MINUTE,
    FULL_MINUTES,
    USUAL_VARIANCE,
    overlaps,
)
from services.pricer.models.volatility import log_evidence, nodes_of, stationary, transition

Floats = NDArray[np.float64]

GRIDS: dict[str, tuple[float, ...]] = {
    "log_sigma": (0.02, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.6, 0.7, 0.85, 1.0),
    "memory_minutes": (20, 40, 60, 90, 135, 200, 300, 450, 700, 1_000, 2_000),
    "tail_degrees": (3, 4, 5, 6, 8, 11, 15, 22, 40, 100),
    "kappa_cpi": (1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.65, 1.8, 2.0, 2.25, 2.5),
    "kappa_fomc": (1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.65, 1.8, 2.0, 2.25, 2.5),
}
PRIORS: dict[str, tuple[float, float]] = {
    "log_sigma": (0.4, 0.7),
    "memory_minutes": (300, 1.0),
    "tail_degrees": (8, 0.7),
    "kappa_cpi": (1.1, 0.2),
    "kappa_fomc": (1.5, 0.25),
}
"""Median and log standard deviation of each number before data."""
PROFILE_MOVES = 40.0
"""The usual U of the session counts as so many moves in each bin."""
ROUNDS = 3
BIN_STEPS = 3
SESSIONS_MAX = 60
"""Of minute bars, for the steps on grids: more would only take longer."""
MINUTES_ENOUGH = 300
DAYS_ENOUGH = 5
EVENT_DAYS_ENOUGH = 3


class Panel(Struct, frozen=True, eq=False):
    """Moves of many sessions on one clock, shapes (sessions, steps[, bins]); NaN where none.

    `steps` numbers the steps, those without any move left out. `minutes` is how long each move
    covers a bin, `cpi` and `fomc` whether the event reaches it.
    """

    symbol: NDArray[np.int64]
    step_minutes: float
    steps: NDArray[np.int64]
    change: Floats
    minutes: Floats
    cpi: NDArray[np.bool_]
    fomc: NDArray[np.bool_]


class Fit(Struct, frozen=True):
    """The numbers being fitted: log variances by symbol and by bin, and the rest by name."""

    level: Floats
    profile: Floats
    rest: dict[str, float]


def fit(history: History, fitted_ns: int) -> Calibration:
    """Return the calibration of all symbols, fitted together; raises FitError."""
    panels, minute_count, event_days, unknown = _panels(history)
    found = _start(panels, len(history.symbols))
    few = [_thinned(panel) for panel in panels]
    for _ in range(ROUNDS):
        for _ in range(BIN_STEPS):
            found = _fit_bins(panels, found)
        found = _fit_rest(few, found)
    counts = _bin_counts(panels, len(history.symbols))
    symbols = {
        row.symbol: Mixture(
            bin_sigmas=tuple(
                float(np.round(sigma, 9))
                for sigma in np.exp((found.level[place] + found.profile) / 2.0)
            ),
            bin_moves=tuple(int(count) for count in counts[place]),
            **found.rest,
        )
        for place, row in enumerate(history.symbols)
    }
    missing = _missing(_bin_days(panels), minute_count, event_days, unknown)
    metrics = {"log_likelihood": round(_log_likelihood(panels, found), 3)}
    return artifact(history, symbols, fitted_ns, metrics=metrics, not_estimated=missing)


def _missing(
    bin_days: list[int], minute_count: int, event_days: dict[MacroEvent, int], unknown: int
) -> list[str]:
    """Return what the history is too thin for, in words."""
    missing = [
        f"{_clock(begin)} to {_clock(end)}: {days} days, the usual profile mostly"
        for begin, end, days in zip(BINS, BIN_ENDS, bin_days, strict=True)
        if days < DAYS_ENOUGH
    ]
    if minute_count < MINUTES_ENOUGH:
        missing.append(f"tails of minute moves: {minute_count} minutes, prior mostly")
    missing += [
        f"{event}: {days} days, prior mostly"
        for event, days in event_days.items()
        if days < EVENT_DAYS_ENOUGH
    ]
    if unknown:
        missing.append(f"events of {unknown} days outside of the macro calendar: taken as none")
    missing.append("volatility that lasts for minutes: a set share of the day's, not fitted")
    return missing


def _clock(minute: float) -> str:
    whole = int(minute) + 9 * 60 + 30
    return f"{whole // 60:02d}:{whole % 60:02d}"


def _panels(history: History) -> tuple[list[Panel], int, dict[MacroEvent, int], int]:
    """Return the panels, how many minute moves, days of each event, and days unknown."""
    parts: dict[float, list[Panel]] = {1.0: [], 60.0: []}
    days: dict[Session, frozenset[MacroEvent] | None] = {}
    minute_count = 0
    for place, row in enumerate(history.symbols):
        minutes = minute_moves(row)
        levels = level_moves(row, minutes)
        minute_count += minutes.change.size
        for moves, step in ((minutes, 1.0), (levels, 60.0)):
            if moves.change.size:
                parts[step].append(_panel(moves, place, step))
                days |= {s: _events(s) for s in moves.sessions}
    panels = [_joined(found) for found in parts.values() if found]
    if not panels:
        raise FitError("history: expected moves within sessions, got none")
    known = [events for events in days.values() if events is not None]
    event_days = {event: sum(event in events for events in known) for event in MacroEvent}
    return panels, minute_count, event_days, len(days) - len(known)


def _events(session: Session) -> frozenset[MacroEvent] | None:
    try:
        return macro_events(session.day)
    except CalendarError:
        return None


def _panel(moves: Moves, place: int, step_minutes: float) -> Panel:
    """Return moves on a clock of steps that end at multiples of the step before the close."""
    lengths = np.array([(s.close_ns - s.open_ns) / NS_PER_MINUTE for s in moves.sessions])
    length = lengths[moves.session]
    steps = int(np.ceil(FULL_MINUTES / step_minutes))
    step = steps - 1 - np.floor((length - moves.to_minute) / step_minutes).astype(np.int64)
    shape = (len(moves.sessions), steps)
    change = np.full(shape, np.nan)
    change[moves.session, step] = moves.change
    minutes = np.zeros((*shape, len(BINS)))
    minutes[moves.session, step] = overlaps(moves.from_minute, moves.to_minute, length)
    events = [_events(session) or frozenset() for session in moves.sessions]
    late = minutes[..., np.array(BINS) >= FOMC_MINUTE].sum(axis=-1) > 0
    fomc = np.array([MacroEvent.FOMC in found for found in events])
    cpi = np.array([MacroEvent.CPI in found for found in events])
    return Panel(
        symbol=np.full(len(moves.sessions), place),
        step_minutes=step_minutes,
        steps=np.arange(steps),
        change=change,
        minutes=minutes,
        cpi=np.broadcast_to(cpi[:, None], shape),
        fomc=fomc[:, None] & late,
    )


def _joined(panels: list[Panel]) -> Panel:
    """Return one panel of all sessions, without the steps at which none has a move."""
    change = np.concatenate([panel.change for panel in panels])
    used = np.flatnonzero(~np.isnan(change).all(axis=0))
    return Panel(
        symbol=np.concatenate([panel.symbol for panel in panels]),
        step_minutes=panels[0].step_minutes,
        steps=used,
        change=change[:, used],
        minutes=np.concatenate([panel.minutes for panel in panels])[:, used],
        cpi=np.concatenate([panel.cpi for panel in panels])[:, used],
        fomc=np.concatenate([panel.fomc for panel in panels])[:, used],
    )


def _start(panels: list[Panel], symbols: int) -> Fit:
    profile = np.log(np.array(USUAL_VARIANCE))
    level = np.empty(symbols)
    for place in range(symbols):
        squares, usual = 0.0, 0.0
        for panel in panels:
            mine = panel.symbol == place
            squares += float(np.nansum(panel.change[mine] ** 2))
            usual += float((panel.minutes[mine] @ np.exp(profile)).sum())
        if squares <= 0.0:
            raise FitError("history: expected levels that move, got none")
        level[place] = log(squares / usual) - 2.0 * PRIORS["log_sigma"][0] ** 2
    return Fit(level, profile, {name: float(median) for name, (median, _) in PRIORS.items()})


def _variances(panel: Panel, found: Fit) -> Floats:
    """Return each move's variance by bin where x is 0, shape (sessions, steps, bins)."""
    rates = np.exp(found.level[panel.symbol][:, None] + found.profile)
    events = np.where(panel.cpi, found.rest["kappa_cpi"] ** 2, 1.0)
    events = events * np.where(panel.fomc, found.rest["kappa_fomc"] ** 2, 1.0)
    return panel.minutes * rates[:, None, :] * events[..., None]


def _evidence(panel: Panel, total: Floats, found: Fit) -> Floats:
    """Return the log density of each move at each node, shape (sessions, steps, nodes); 0 if none.

    A move over more than a minute has the tails of a sum.
    """
    nodes = nodes_of(found.rest["log_sigma"])
    seen = ~np.isnan(panel.change)
    degrees = found.rest["tail_degrees"] * panel.step_minutes
    squared = panel.change[seen] ** 2 / total[seen]
    evidence = np.zeros((*panel.change.shape, len(nodes)))
    evidence[seen] = log_evidence(squared, nodes, degrees) - np.log(total[seen])[:, None] / 2.0
    return evidence


def _forward(panel: Panel, evidence: Floats, found: Fit) -> tuple[Floats, Floats, float]:
    """Return filtered weights after each step, the likelihoods used, and the log likelihood."""
    ahead = _transitions(panel, found)
    top = evidence.max(axis=-1)
    likelihood = np.exp(evidence - top[..., None])
    sessions, steps, nodes = evidence.shape
    weights = np.empty((steps, sessions, nodes))
    before = np.broadcast_to(stationary(), (sessions, nodes))
    total = float(top.sum())
    for step in range(steps):
        joint = before * likelihood[:, step]
        norm = joint.sum(axis=1, keepdims=True)
        total += float(np.log(norm).sum())
        weights[step] = joint / norm
        if step < len(ahead):
            before = weights[step] @ ahead[step]
    return weights, likelihood, total


def _thinned(panel: Panel) -> Panel:
    """Return the panel with so many of its sessions, evenly spread, that the grids are quick."""
    count = len(panel.symbol)
    if panel.step_minutes > 1.0 or count <= SESSIONS_MAX:
        return panel
    kept = np.linspace(0, count - 1, SESSIONS_MAX).round().astype(np.int64)
    return Panel(
        symbol=panel.symbol[kept],
        step_minutes=panel.step_minutes,
        steps=panel.steps,
        change=panel.change[kept],
        minutes=panel.minutes[kept],
        cpi=panel.cpi[kept],
        fomc=panel.fomc[kept],
    )


def _transitions(panel: Panel, found: Fit) -> list[Floats]:
    """Return the grid's transition from each step that is used to the next."""
    memory = found.rest["memory_minutes"]
    return [transition(exp(-gap * panel.step_minutes / memory)) for gap in np.diff(panel.steps)]


def _smoothed(panel: Panel, evidence: Floats, found: Fit) -> Floats:
    """Return the weights given all of a session's moves, shape (sessions, steps, nodes)."""
    weights, likelihood, _ = _forward(panel, evidence, found)
    moves_on = _transitions(panel, found)
    later = np.ones(weights.shape[1:])
    for step in range(weights.shape[0] - 1, -1, -1):
        weights[step] *= later
        weights[step] /= weights[step].sum(axis=1, keepdims=True)
        if step:
            later = (later * likelihood[:, step]) @ moves_on[step - 1].T
            later /= later.sum(axis=1, keepdims=True)
    return weights.transpose(1, 0, 2)


def _log_likelihood(panels: list[Panel], found: Fit) -> float:
    total = 0.0
    for panel in panels:
        evidence = _evidence(panel, _variances(panel, found).sum(axis=-1), found)
        total += _forward(panel, evidence, found)[2]
    for name, (median, spread) in PRIORS.items():
        total -= (log(found.rest[name] / median) / spread) ** 2 / 2.0
    usual = np.log(np.array(USUAL_VARIANCE))
    return total - PROFILE_MOVES / 4.0 * float(((found.profile - usual) ** 2).sum())


def _fit_bins(panels: list[Panel], found: Fit) -> Fit:
    """Return the fit after a Fisher scoring step for the log variances, given x's posterior."""
    symbols, bins = len(found.level), len(BINS)
    size = symbols + bins
    slope, curve = np.zeros(size), np.zeros((size, size))
    for panel in panels:
        variances = _variances(panel, found)
        total = variances.sum(axis=-1)
        evidence = _evidence(panel, total, found)
        weights = _smoothed(panel, evidence, found)
        seen = ~np.isnan(panel.change)
        nodes = nodes_of(found.rest["log_sigma"])
        degrees = found.rest["tail_degrees"] * panel.step_minutes
        scaled = (panel.change[seen] ** 2 / total[seen])[:, None] * np.exp(-2.0 * nodes)
        pull = (degrees + 1.0) * scaled / (degrees - 2.0 + scaled)
        excess = (weights[seen] * pull).sum(axis=1) - 1.0
        shares = variances[seen] / total[seen][:, None]
        rows = np.zeros((len(shares), size))
        rows[:, symbols:] = shares
        symbol = np.broadcast_to(panel.symbol[:, None], seen.shape)[seen]
        rows[np.arange(len(rows)), symbol] = 1.0
        slope += rows.T @ excess / 2.0
        curve += rows.T @ rows / 2.0
    usual = np.log(np.array(USUAL_VARIANCE))
    slope[symbols:] -= PROFILE_MOVES / 2.0 * (found.profile - usual)
    curve[np.arange(symbols, size), np.arange(symbols, size)] += PROFILE_MOVES / 2.0
    step = np.clip(np.linalg.solve(curve + 1e-9 * np.eye(size), slope), -1.0, 1.0)
    return Fit(found.level + step[:symbols], found.profile + step[symbols:], found.rest)


def _fit_rest(panels: list[Panel], found: Fit) -> Fit:
    """Return the fit after one walk uphill on each grid in turn."""
    best = _log_likelihood(panels, found)
    rest = dict(found.rest)
    for name, grid in GRIDS.items():
        at = int(np.argmin(np.abs(np.log(np.array(grid) / rest[name]))))
        for direction in (1, -1):
            while 0 <= at + direction < len(grid):
                tried = Fit(found.level, found.profile, rest | {name: float(grid[at + direction])})
                value = _log_likelihood(panels, tried)
                if value <= best:
                    break
                best, at, rest = value, at + direction, tried.rest
    return Fit(found.level, found.profile, rest)


def _bin_counts(panels: list[Panel], symbols: int) -> NDArray[np.int64]:
    """Return how many moves touch each bin, shape (symbols, bins)."""
    counts = np.zeros((symbols, len(BINS)), np.int64)
    for panel in panels:
        touched = (panel.minutes > 0).sum(axis=1)
        for place in range(symbols):
            counts[place] += touched[panel.symbol == place].sum(axis=0)
    return counts


def _bin_days(panels: list[Panel]) -> list[int]:
    """Return on how many sessions of one index each bin was seen."""
    days = np.zeros(len(BINS), np.int64)
    for panel in panels:
        seen = (panel.minutes > 0.0).max(axis=1)
        days += np.max([seen[panel.symbol == at].sum(axis=0) for at in set(panel.symbol)], axis=0)
    return [int(count) for count in days]
