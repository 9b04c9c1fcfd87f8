"""The index path: what SPX and NDX did, second by second, the same in every process.

It is a pure function of (seed, bars, time). The index simulator publishes it, the exchange
simulator settles on it and its other participants look at it.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from lab.market.bars import MINUTE_NS, MinuteBars
from lab.market.bridge import SECONDS, bridge_minute
from lab.market.synthetic import INDICES, expected_sigma_e4, synthetic_session
from libs.domain.calendar import Session, nyse_session
from libs.domain.eastern import NS_PER_S as NS_PER_S
from libs.domain.eastern import eastern_date

SESSIONS_CACHED_MAX = 16
MINUTES_CACHED_MAX = 2_048
SHUT_DAYS_MAX = 10
DAY_NS = 86_400 * NS_PER_S
# Participants that see real bars know their usual minute; a dead quiet file still moves a little.
MINUTE_SIGMA_FLOOR = 5e-5

Origin = Literal["bars", "bridge", "synthetic"]


@dataclass(frozen=True)
class Point:
    """One print: the level in force from `at_ns`, and where it comes from."""

    at_ns: int
    level_e4: int
    origin: Origin


@dataclass(frozen=True)
class Aggregate:
    """Open, high, low and close in level_e4 over [start_ns, end_ns)."""

    start_ns: int
    end_ns: int
    open_e4: int
    high_e4: int
    low_e4: int
    close_e4: int


def session_at(at_ns: int) -> Session:
    """Return the session of that New York day, before its open too, else the last one before it.

    Raises CalendarError outside the calendar's years.
    """
    day = eastern_date(at_ns)
    for back in range(SHUT_DAYS_MAX):
        session = nyse_session(day - timedelta(days=back))
        if session is not None:
            return session
    raise AssertionError(f"no NYSE session within {SHUT_DAYS_MAX} days before {day}")


def utc_day(at_ns: int) -> Session:
    """Return the UTC day of that time as one session, for an index that never rests."""
    open_ns = at_ns // DAY_NS * DAY_NS
    return Session(eastern_date(open_ns), open_ns, open_ns + DAY_NS, early=False)


class IndexPath:
    """Tell the level of each index at any time; prints come once a second, on the second.

    A symbol with bars follows them: their opens and closes are exact ("bars"), the seconds
    between are a bridge, and outside them the first open or last close is held (both
    "bridge"). A symbol without bars follows a seeded synthetic session: NYSE's, or each whole
    UTC day when `around_the_clock`.
    """

    def __init__(
        self,
        seed: int,
        bars: Mapping[str, MinuteBars] | None = None,
        base_levels_e4: Mapping[str, int] | None = None,
        symbols: Sequence[str] = tuple(INDICES),
        *,
        around_the_clock: bool = False,
    ) -> None:
        self.seed = seed
        self.symbols = tuple(symbols)
        self.session_at = utc_day if around_the_clock else session_at
        self._bars = {symbol: _BridgedBars(seed, given) for symbol, given in (bars or {}).items()}
        self._base_levels_e4 = dict(base_levels_e4 or {})
        self._sessions: dict[tuple[str, str], NDArray[np.int64]] = {}
        for symbol in self.symbols:
            if symbol not in self._bars and symbol not in INDICES:
                known = ", ".join(INDICES)
                raise ValueError(f"index {symbol!r}: expected one of {known}, or bars for it")

    def point(self, symbol: str, at_ns: int) -> Point:
        """Return the print in force at a time. Raises KeyError for an unknown symbol."""
        if symbol in self._bars:
            return self._bars[symbol].point(at_ns)
        if symbol not in self.symbols:
            raise KeyError(f"index {symbol!r}: expected one of {', '.join(self.symbols)}")
        session = self.session_at(at_ns)
        prints = self._synthetic(symbol, session)
        second = min(max((at_ns - session.open_ns) // NS_PER_S, 0), prints.size - 1)
        at_print_ns = session.open_ns + second * NS_PER_S
        return Point(at_print_ns, int(prints[second]), "synthetic")

    def level_e4(self, symbol: str, at_ns: int) -> int:
        """Return the level in force at a time."""
        return self.point(symbol, at_ns).level_e4

    def origin(self, symbol: str, at_ns: int) -> Origin:
        """Return where the level in force at a time comes from."""
        return self.point(symbol, at_ns).origin

    def aggregate(self, symbol: str, start_ns: int, end_ns: int) -> Aggregate:
        """Return the OHLC of the prints in force over [start_ns, end_ns), at most an hour."""
        assert 0 < end_ns - start_ns <= 3_600 * NS_PER_S, f"window of {end_ns - start_ns} ns"
        levels = [self.level_e4(symbol, at) for at in range(start_ns, end_ns, NS_PER_S)]
        return Aggregate(start_ns, end_ns, levels[0], max(levels), min(levels), levels[-1])

    def opening_e4(self, symbol: str, at_ns: int) -> int:
        """Return the level at the open of the session of that time (or the first one known)."""
        return self.level_e4(symbol, self.session_at(at_ns).open_ns)

    def sigma_e4(self, symbol: str, from_ns: int, to_ns: int) -> float:
        """Return the standard deviation, in e4, expected of the level's change over a time.

        With bars it is their own mean square minute; without, the model's time of day.
        """
        if to_ns <= from_ns:
            return 0.0
        if symbol in self._bars:
            minutes = (to_ns - from_ns) / MINUTE_NS
            return self._bars[symbol].minute_sigma_e4 * math.sqrt(minutes)
        session = self.session_at(from_ns)
        return expected_sigma_e4(
            self.level_e4(symbol, from_ns),
            symbol,
            (from_ns - session.open_ns) / NS_PER_S,
            (to_ns - session.open_ns) / NS_PER_S,
            (session.close_ns - session.open_ns) / NS_PER_S,
        )

    def coverage_ns(self, symbol: str) -> tuple[int, int] | None:
        """Return (first bar's start, last bar's end) of real bars, or None when synthetic."""
        bars = self._bars.get(symbol)
        return None if bars is None else (bars.first_ns, bars.end_ns)

    def origins(self) -> dict[str, str]:
        """Return symbol -> one phrase on where its path comes from."""
        return {
            symbol: (
                f"bars {self._bars[symbol].source}, bridged by second"
                if symbol in self._bars
                else f"synthetic, seed {self.seed}"
            )
            for symbol in self.symbols
        }

    def _synthetic(self, symbol: str, session: Session) -> NDArray[np.int64]:
        key = (symbol, session.day.isoformat())
        if key not in self._sessions:
            if len(self._sessions) >= SESSIONS_CACHED_MAX:
                self._sessions.pop(next(iter(self._sessions)))
            seconds = (session.close_ns - session.open_ns) // NS_PER_S
            self._sessions[key] = synthetic_session(
                self.seed,
                symbol,
                session.day.isoformat(),
                seconds,
                self._base_levels_e4.get(symbol),
            )
        return self._sessions[key]


_bridged = lru_cache(maxsize=MINUTES_CACHED_MAX)(bridge_minute)


class _BridgedBars:
    """Minute bars with their bridged prints, sixty a bar, made when they are asked for."""

    def __init__(self, seed: int, bars: MinuteBars) -> None:
        assert len(bars) > 0, "validated bars are never empty"
        self.source = bars.source
        self._seed = seed
        self._bars = bars
        self._start_ns = bars.start_ns
        self.first_ns = int(bars.start_ns[0])
        self.end_ns = int(bars.start_ns[-1]) + MINUTE_NS
        self.minute_sigma_e4 = _minute_sigma_e4(bars)

    def point(self, at_ns: int) -> Point:
        """Return the print in force at a time, held before, after and between days."""
        if at_ns < self.first_ns:
            return Point(at_ns, int(self._prints(0)[0]), "bridge")
        row = int(np.searchsorted(self._start_ns, at_ns, side="right")) - 1
        start_ns = int(self._start_ns[row])
        second = (at_ns - start_ns) // NS_PER_S
        if second >= SECONDS:
            return Point(start_ns + MINUTE_NS, int(self._prints(row)[-1]), "bridge")
        at_bar = second in (0, SECONDS - 1)
        level_e4 = int(self._prints(row)[second])
        return Point(start_ns + second * NS_PER_S, level_e4, "bars" if at_bar else "bridge")

    def _prints(self, row: int) -> NDArray[np.int64]:
        bars = self._bars
        return _bridged(
            int(bars.open_e4[row]),
            int(bars.high_e4[row]),
            int(bars.low_e4[row]),
            int(bars.close_e4[row]),
            self._seed,
            bars.symbol,
            int(bars.start_ns[row]),
        )


def _minute_sigma_e4(bars: MinuteBars) -> float:
    """Return the root mean square of the bars' close-to-close change within days, in e4."""
    adjacent = np.diff(bars.start_ns) == MINUTE_NS
    changes = np.diff(bars.close_e4)[adjacent].astype(np.float64)
    floor_e4 = MINUTE_SIGMA_FLOOR * float(bars.open_e4[0])
    if not changes.size:
        return max(floor_e4, float(bars.high_e4[0] - bars.low_e4[0]) / 2.0)
    return max(floor_e4, float(np.sqrt(np.mean(changes**2))))
