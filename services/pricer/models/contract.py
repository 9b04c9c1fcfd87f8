"""What every index model is asked and answers (domain.md §2).

fit(history, fitted_ns) -> Calibration
watch(calibration, symbol) -> Watch | None
distribution(inputs, calibration, now_ns) -> Scored
"""

from typing import Protocol

from msgspec import Struct

from libs.domain.calendar import nyse_session
from libs.domain.distributions import Scored
from libs.domain.eastern import eastern_date, utc_text
from libs.domain.families import Cadence, family_named
from libs.domain.macro_days import MacroEvent, possible_events
from libs.domain.windows import WindowError
from services.pricer.calibration import Calibration
from services.pricer.models.history import History


class TradingDay(Struct, frozen=True):
    """One session with what is released that day."""

    open_ns: int
    close_ns: int
    events: frozenset[MacroEvent] = frozenset()


class Target(Struct, frozen=True, kw_only=True):
    """One target of an index family; worked out once per event."""

    symbol: str
    at_ns: int
    day: TradingDay
    close: bool = False


def trading_day(at_ns: int) -> TradingDay:
    """Return the trading day of a time; raises WindowError when there is no session that day.

    Raises CalendarError for a day outside of the calendars.
    """
    day = eastern_date(at_ns)
    session = nyse_session(day)
    if session is None:
        raise WindowError(f"{utc_text(at_ns)} is in no session")
    return TradingDay(session.open_ns, session.close_ns, possible_events(day))


def target_of(family_name: str, target_ns: int, day: TradingDay | None = None) -> Target:
    """Return the target, on its trading day unless that is given.

    Raises WindowError outside a session, CalendarError for a day outside of the calendars.
    """
    family = family_named(family_name)
    day = day or trading_day(target_ns)
    if family.index_symbol is None or not day.open_ns < target_ns <= day.close_ns:
        raise WindowError(f"{family_name}: {utc_text(target_ns)} is in no session of an index")
    close = family.cadence is Cadence.CLOSE
    return Target(symbol=family.index_symbol, at_ns=target_ns, day=day, close=close)


class Belief(Struct, frozen=True):
    """What is believed of a day's volatility at a time: log σ over its usual value, normal."""

    open_ns: int
    at_ns: int
    mean: float
    variance: float


class IndexInputs(Struct, frozen=True, kw_only=True):
    """What a model looks at: the newest level, the target, and what today has shown so far."""

    level_e4: int
    target: Target
    belief: Belief | None = None


class Watch(Protocol):
    """Folds a session's moves, in the order in which they were known, into a belief."""

    def observe(self, day: TradingDay, from_ns: int, to_ns: int, change: float) -> None:
        """Fold the change of the log level from one time of the day to another, known then."""
        ...

    @property
    def belief(self) -> Belief | None:
        """Return what is believed now, None before anything was seen."""
        ...


class IndexModel(Protocol):
    """A model: a module of `services.pricer.models` with these names."""

    NAME: str

    def fit(self, history: History, fitted_ns: int) -> Calibration:
        """Return the sealed calibration of all symbols; raises FitError."""
        ...

    def watch(self, calibration: Calibration, symbol: str) -> Watch | None:
        """Return what learns from today's moves, None for a model that does not."""
        ...

    def distribution(self, inputs: IndexInputs, calibration: Calibration, now_ns: int) -> Scored:
        """Return the distribution of the level at the target; raises TargetPassedError."""
        ...
