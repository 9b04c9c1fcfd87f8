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
from libs.domain.macro_days import MacroEvent, macro_events
from libs.domain.windows import WindowError
from services.pricer.calibration import Calibration
from services.pricer.models.history import History


class Target(Struct, frozen=True, kw_only=True):
    """One target of an index family; worked out once per event."""

    symbol: str
    at_ns: int
    open_ns: int
    close_ns: int
    events: frozenset[MacroEvent] = frozenset()
    close: bool = False


def target_of(
    family_name: str, target_ns: int, events: frozenset[MacroEvent] | None = None
) -> Target:
    """Return the target with its session, and the day's events unless they are given.

    Raises WindowError outside a session, CalendarError for a day outside of the calendars.
    """
    family = family_named(family_name)
    day = eastern_date(target_ns)
    session = nyse_session(day)
    if family.index_symbol is None or session is None:
        raise WindowError(f"{family_name}: {utc_text(target_ns)} is in no session of an index")
    if not session.open_ns < target_ns <= session.close_ns:
        raise WindowError(f"{family_name}: {utc_text(target_ns)} is outside of the session")
    return Target(
        symbol=family.index_symbol,
        at_ns=target_ns,
        open_ns=session.open_ns,
        close_ns=session.close_ns,
        events=macro_events(day) if events is None else events,
        close=family.cadence is Cadence.CLOSE,
    )


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

    def observe(self, target: Target, from_ns: int, to_ns: int, change: float) -> None:
        """Fold the change of the log level from one time to another, known at the latter."""
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
