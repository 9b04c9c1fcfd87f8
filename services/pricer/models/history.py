"""What a model is fitted on: levels, each with the time at which it was known."""

from collections.abc import Mapping, Sequence

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from libs.domain.calendar import Session, nyse_session
from libs.domain.eastern import NS_PER_MINUTE, eastern_date
from services.pricer.calibration import Calibration, Parameters, sealed

Floats = NDArray[np.float64]
Times = NDArray[np.int64]


class FitError(ValueError):
    """A history that a model can't be fitted on; one line."""


class SymbolHistory(Struct, frozen=True, eq=False):
    """One index: ends of minute bars and levels at targets, each with times rising, shape (n,).

    A bar's close is known at its end. `opens` holds the level at the start of the first bar of
    a session (NaN elsewhere), so that the first minute is a move too.
    """

    symbol: str
    minute_ns: Times
    minutes: Floats
    opens: Floats
    level_ns: Times
    levels: Floats


class History(Struct, frozen=True, eq=False):
    """The indices that a model is fitted on."""

    symbols: tuple[SymbolHistory, ...]

    @property
    def end_ns(self) -> int:
        """Return the newest observation; raises FitError without any."""
        ends = [
            int(times[-1])
            for found in self.symbols
            for times in (found.minute_ns, found.level_ns)
            if times.size
        ]
        if not ends:
            raise FitError("history: expected minute bars or levels, got none")
        return max(ends)


class Moves(Struct, frozen=True, eq=False):
    """Changes of the log level within sessions that do not overlap, shape (n,).

    `session` numbers a symbol's trading days; `from_minute` and `to_minute` count from its open.
    """

    sessions: tuple[Session, ...]
    session: NDArray[np.int64]
    from_minute: Floats
    to_minute: Floats
    change: Floats


COVERED_SHARE = 0.9
"""A session with minute bars for more of it than this needs no hourly levels besides."""


def minute_moves(found: SymbolHistory) -> Moves:
    """Return the moves over one minute; none spans a gap."""
    from_ns, to_ns, change = [], [], []
    if found.minute_ns.size:
        logs = np.log(found.minutes)
        joined = np.diff(found.minute_ns) == NS_PER_MINUTE
        begins = np.flatnonzero(~np.isnan(found.opens))
        to_ns = [found.minute_ns[1:][joined], found.minute_ns[begins]]
        from_ns = [found.minute_ns[:-1][joined], found.minute_ns[begins] - NS_PER_MINUTE]
        change = [np.diff(logs)[joined], logs[begins] - np.log(found.opens[begins])]
    return _within_sessions(from_ns, to_ns, change)


def level_moves(found: SymbolHistory, minutes: Moves) -> Moves:
    """Return the moves between levels of one session that minute bars do not cover already."""
    covered = np.bincount(minutes.session, minlength=len(minutes.sessions))
    lengths = [(session.close_ns - session.open_ns) / NS_PER_MINUTE for session in minutes.sessions]
    done = {
        session.day
        for session, count, length in zip(minutes.sessions, covered, lengths, strict=True)
        if count >= COVERED_SHARE * length
    }
    if found.level_ns.size < 2:
        return _within_sessions([], [], [])
    logs = np.log(found.levels)
    moves = _within_sessions([found.level_ns[:-1]], [found.level_ns[1:]], [np.diff(logs)])
    kept = np.array([moves.sessions[at].day not in done for at in moves.session], dtype=bool)
    return Moves(
        moves.sessions,
        moves.session[kept],
        moves.from_minute[kept],
        moves.to_minute[kept],
        moves.change[kept],
    )


def _within_sessions(from_ns: list[Times], to_ns: list[Times], change: list[Floats]) -> Moves:
    """Return the moves that begin and end within one session, in time order."""
    begins = np.concatenate([*from_ns, np.empty(0, np.int64)]).astype(np.int64)
    ends = np.concatenate([*to_ns, np.empty(0, np.int64)]).astype(np.int64)
    changes = np.concatenate([*change, np.empty(0)])
    order = np.argsort(ends, kind="stable")
    begins, ends, changes = begins[order], ends[order], changes[order]
    sessions, session = sessions_of(ends)
    opens = np.array([found.open_ns for found in sessions], np.int64)
    closes = np.array([found.close_ns for found in sessions], np.int64)
    if not sessions:
        kept = np.zeros(ends.size, dtype=bool)
    else:
        kept = (session >= 0) & (begins >= opens[session]) & (ends <= closes[session])
    session, begins, ends = session[kept], begins[kept], ends[kept]
    start_ns = opens[session] if sessions else np.empty(0, np.int64)
    return Moves(
        sessions,
        session,
        (begins - start_ns) / NS_PER_MINUTE,
        (ends - start_ns) / NS_PER_MINUTE,
        changes[kept],
    )


def sessions_of(times_ns: Times) -> tuple[tuple[Session, ...], NDArray[np.int64]]:
    """Return the sessions of these rising times' New York days, and each time's number in them.

    −1 stands for a day without a session.
    """
    # New York's day begins at 04:00 or 05:00 UTC and no session is near, so UTC days will do.
    days, index = np.unique(times_ns // (86_400 * 10**9), return_inverse=True)
    numbers = np.full(len(days), -1, np.int64)
    sessions: list[Session] = []
    for place, day in enumerate(days.tolist()):
        noon_ns = day * 86_400 * 10**9 + 17 * 3_600 * 10**9
        session = nyse_session(eastern_date(noon_ns))
        if session is not None:
            numbers[place] = len(sessions)
            sessions.append(session)
    return tuple(sessions), numbers[index]


def artifact(
    history: History,
    symbols: Mapping[str, Parameters],
    fitted_ns: int,
    *,
    metrics: Mapping[str, float] | None = None,
    not_estimated: Sequence[str] = (),
) -> Calibration:
    """Return the sealed calibration of these parameters with what its history was."""
    times = [t for found in history.symbols for t in (found.minute_ns, found.level_ns) if t.size]
    minute_days = sorted(
        {
            session.day.isoformat()
            for found in history.symbols
            for session in sessions_of(found.minute_ns)[0]
        }
    )
    return sealed(
        Calibration(
            fitted_ns=fitted_ns,
            data_end_ns=history.end_ns,
            window_start=eastern_date(min(int(found[0]) for found in times)).isoformat(),
            window_end=eastern_date(history.end_ns).isoformat(),
            minute_days=tuple(minute_days),
            symbols=dict(symbols),
            counts={
                f"{found.symbol} {what}": int(rows.size)
                for found in history.symbols
                for what, rows in (("minutes", found.minutes), ("levels", found.levels))
            },
            metrics=dict(metrics or {}),
            not_estimated=tuple(not_estimated),
        )
    )
