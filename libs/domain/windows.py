"""When each family may quote: windows, freezes, index targets, the hourly roll (domain.md §3, §4).

The one calendar: all times are UTC ns, the rules are New York wall-clock times. A family without
a rule raises, and so does a day that a table does not hold.
"""

from datetime import date, time, timedelta
from functools import lru_cache

from msgspec import Struct

from libs.domain.calendar import (
    CLAIMS_WEEKDAY,
    CalendarError,
    claims_release_day,
    is_short_bond_day,
    is_treasury_day,
    nyse_session,
)
from libs.domain.eastern import (
    NS_PER_HOUR,
    NS_PER_MINUTE,
    NS_PER_S,
    eastern_date,
    eastern_datetime,
    eastern_ns,
    utc_text,
)
from libs.domain.families import FAMILIES, Cadence, Family, family_named
from libs.domain.macro_days import MacroEvent, is_released

CANCEL_BUFFER_NS = 2 * NS_PER_S
ROLL_LEAD_NS = 20 * NS_PER_MINUTE
FIRST_TARGET_HOUR = 10
WEATHER_CYCLE_NS = 6 * NS_PER_HOUR
CPI_RELEASE = time(8, 30)
TENY_TARGET = time(15, 30)


class WindowError(ValueError):
    """A window that has no rule, or a time that is no target."""


class TargetPassedError(WindowError):
    """The target time has come: there is no time left, and tomorrow's is another event."""


class WindowRules(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The figures of the calendar; `configs/index_ops.yaml` sets them.

    Times are New York's, HH:MM. The CPI freeze begins on the day before the release, the claims
    freeze on the evening before it. Contradictions are refused.
    """

    cancel_buffer_s: float = 2.0
    hourly_lead_s: int = 900
    close_lead_s: int = 600
    cpi_freeze: str = "06:00"
    cpi_opens: str = "06:00"
    cpi_close_lead_s: int = 600
    claims_freeze: str = "18:00"
    claims_opens: str = "06:00"
    claims_closes: str = "08:25"
    teny_freeze: str = "13:30"
    teny_opens: str = "14:30"
    teny_closes: str = "15:25"
    weather_open_s: int = 2_700

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if isinstance(value, str):
                _time_of(name, value)
            elif value <= 0:
                raise ValueError(f"{name}: expected above 0, got {value}")
        if self.cancel_buffer_s < CANCEL_BUFFER_NS / NS_PER_S:
            raise ValueError(f"cancel_buffer_s: expected 2.0 or more, got {self.cancel_buffer_s}")
        for name, most_s in (
            ("hourly_lead_s", NS_PER_HOUR // NS_PER_S),
            ("close_lead_s", NS_PER_HOUR // NS_PER_S),
            ("cpi_close_lead_s", NS_PER_HOUR // NS_PER_S),
            ("weather_open_s", WEATHER_CYCLE_NS // NS_PER_S),
        ):
            value = getattr(self, name)
            if value > most_s:
                raise ValueError(
                    f"{name}: expected at most {most_s}, got {value}: the windows would overlap"
                )
            if name != "cpi_close_lead_s" and value <= self.cancel_buffer_s:
                raise ValueError(
                    f"{name}: expected more than cancel_buffer_s {self.cancel_buffer_s:g},"
                    f" got {value}: nothing could be quoted"
                )
        for name, before, after in (
            ("cpi_opens", self.cpi_opens, f"{CPI_RELEASE:%H:%M}"),
            ("claims_opens", self.claims_opens, self.claims_closes),
            ("claims_closes", self.claims_closes, f"{CPI_RELEASE:%H:%M}"),
            ("teny_freeze", self.teny_freeze, self.teny_opens),
            ("teny_opens", self.teny_opens, self.teny_closes),
            ("teny_closes", self.teny_closes, f"{TENY_TARGET:%H:%M}"),
        ):
            if _time_of(name, before) >= _time_of(name, after):
                raise ValueError(f"{name}: expected a time before {after}, got {before}")


def _time_of(name: str, text: str) -> time:
    try:
        found = time.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{name}: expected a time as HH:MM, got {text!r}") from None
    if len(text) != 5 or found.tzinfo is not None:
        raise ValueError(f"{name}: expected a time as HH:MM, got {text!r}")
    return found


RULES = WindowRules()


class Window(Struct, frozen=True):
    """Quotes may rest while `opens_ns <= now < closes_ns`; frozen from `freeze_ns` until open."""

    opens_ns: int
    closes_ns: int
    target_ns: int
    freeze_ns: int | None = None

    def is_open(self, now_ns: int) -> bool:
        """Return whether the window is open."""
        return self.opens_ns <= now_ns < self.closes_ns

    def is_frozen(self, now_ns: int) -> bool:
        """Return whether the freeze before this window is on; it ends when the window opens."""
        return self.freeze_ns is not None and self.freeze_ns <= now_ns < self.opens_ns

    def cancel_ns(self, rules: WindowRules = RULES) -> int:
        """Return when the last quote must be gone: two seconds before the close."""
        return self.closes_ns - round(rules.cancel_buffer_s * NS_PER_S)


def seconds_to_target(now_ns: int, target_ns: int) -> float:
    """Return the seconds left, above 0; raise TargetPassedError at the target and after."""
    if now_ns >= target_ns:
        raise TargetPassedError(
            f"target {utc_text(target_ns)} has passed at {utc_text(now_ns)}: drop the event"
        )
    return (target_ns - now_ns) / NS_PER_S


def hourly_targets(day: date) -> tuple[int, ...]:
    """Return UTC ns of the hourly index targets of a New York day: 10:00 to the close."""
    session = nyse_session(day)
    if session is None:
        return ()
    first_ns = eastern_ns(day, FIRST_TARGET_HOUR)
    return tuple(range(first_ns, session.close_ns + 1, NS_PER_HOUR))


def close_target(day: date) -> int | None:
    """Return UTC ns of the closing target of a New York day, None when shut."""
    session = nyse_session(day)
    return None if session is None else session.close_ns


def index_targets(family_name: str, day: date) -> tuple[int, ...]:
    """Return a day's targets of an index family, in order; raise WindowError for others."""
    family = _index_family(family_name)
    if family.cadence is Cadence.HOURLY:
        return hourly_targets(day)
    target_ns = close_target(day)
    return () if target_ns is None else (target_ns,)


@lru_cache(maxsize=1024)
def index_window(family_name: str, target_ns: int, rules: WindowRules = RULES) -> Window:
    """Return the window before one target; raise WindowError if it is none of the family's."""
    if target_ns not in index_targets(family_name, eastern_date(target_ns)):
        raise WindowError(f"{family_name}: {utc_text(target_ns)} is no target on that day")
    hourly = family_named(family_name).cadence is Cadence.HOURLY
    lead_s = rules.hourly_lead_s if hourly else rules.close_lead_s
    return Window(target_ns - lead_s * NS_PER_S, target_ns, target_ns)


def next_index_target(family_name: str, now_ns: int) -> int:
    """Return the first target after now; raise CalendarError outside the calendar's data."""
    day = eastern_date(now_ns)
    for _ in range(14):  # no NYSE closure has been longer since 1933
        for target_ns in index_targets(family_name, day):
            if target_ns > now_ns:
                return target_ns
        day += timedelta(days=1)
    raise WindowError(f"{family_name}: no target within 14 days of {utc_text(now_ns)}")


def _index_family(family_name: str) -> Family:
    family = family_named(family_name)
    if family.index_symbol is None:
        raise WindowError(f"{family_name}: expected an index family")
    return family


def cpi_release(day: date) -> int | None:
    """Return UTC ns of the CPI release on a New York day, None when there is none.

    Raises CalendarError outside the published table.
    """
    if not is_released(MacroEvent.CPI, day):
        return None
    return _local_ns(day, CPI_RELEASE)


def cpi_window(release_ns: int, rules: WindowRules = RULES) -> Window:
    """Return 06:00 to ten minutes before a CPI release, frozen from 06:00 the day before."""
    day = eastern_date(release_ns)
    return Window(
        _rule_ns(day, rules.cpi_opens),
        release_ns - rules.cpi_close_lead_s * NS_PER_S,
        release_ns,
        _rule_ns(day - timedelta(days=1), rules.cpi_freeze),
    )


def claims_window(day: date, rules: WindowRules = RULES) -> Window:
    """Return 06:00 to 08:25 of the claims release of that week, frozen from 18:00 before."""
    release = claims_release_day(day)
    return Window(
        _rule_ns(release, rules.claims_opens),
        _rule_ns(release, rules.claims_closes),
        _local_ns(release, CPI_RELEASE),
        _rule_ns(release - timedelta(days=1), rules.claims_freeze),
    )


def teny_window(day: date, rules: WindowRules = RULES) -> Window | None:
    """Return 14:30 to 15:25 for the 15:30 par yield, frozen from 13:30; None when shut.

    None too on days of a short bond market: it ends at 14:00, before the window would open, and
    at which time the par yield is taken then nobody has written down.
    """
    if not is_treasury_day(day) or is_short_bond_day(day):
        return None
    return Window(
        _rule_ns(day, rules.teny_opens),
        _rule_ns(day, rules.teny_closes),
        _local_ns(day, TENY_TARGET),
        _rule_ns(day, rules.teny_freeze),
    )


def weather_window(now_ns: int, rules: WindowRules = RULES) -> Window:
    """Return the window of the present six-hour UTC cycle, frozen until the next one begins."""
    open_ns = rules.weather_open_s * NS_PER_S
    cycle_ns = now_ns // WEATHER_CYCLE_NS * WEATHER_CYCLE_NS
    if now_ns >= cycle_ns + open_ns:
        cycle_ns += WEATHER_CYCLE_NS
    closes_ns = cycle_ns + open_ns
    return Window(cycle_ns, closes_ns, closes_ns, closes_ns - WEATHER_CYCLE_NS)


def _rule_ns(day: date, text: str) -> int:
    return _local_ns(day, time.fromisoformat(text))


def _local_ns(day: date, at: time) -> int:
    return eastern_ns(day, at.hour, at.minute)


@lru_cache(maxsize=1024)
def windows_on(family_name: str, day: date, rules: WindowRules = RULES) -> tuple[Window, ...]:
    """Return a family's windows that open on a New York day, in order.

    Raises WindowError for a family without a rule, CalendarError outside the calendar's data.
    """
    family = family_named(family_name)
    if family.index_symbol is not None:
        return tuple(
            index_window(family.name, target_ns, rules)
            for target_ns in index_targets(family.name, day)
        )
    if family.name == "CPI":
        release_ns = cpi_release(day)
        return () if release_ns is None else (cpi_window(release_ns, rules),)
    if family.name == "CLAIMS":
        return (claims_window(day, rules),) if claims_release_day(day) == day else ()
    if family.name == "TENY":
        window = teny_window(day, rules)
        return () if window is None else (window,)
    if family.name == "WEATHER":
        begin_ns, end_ns = eastern_ns(day, 0), eastern_ns(day + timedelta(days=1), 0)
        first_ns = -(-begin_ns // WEATHER_CYCLE_NS) * WEATHER_CYCLE_NS
        return tuple(weather_window(at, rules) for at in range(first_ns, end_ns, WEATHER_CYCLE_NS))
    raise WindowError(f"{family_name}: no window rule; it may not be quoted")


class WindowState(Struct, frozen=True):
    """What the window and freeze gates see: the open window and the freeze that is on, if any.

    `freezes_ns` is when the next freeze begins, None when none is ahead today or tomorrow.
    """

    open: Window | None
    freeze: Window | None
    freezes_ns: int | None

    @property
    def frozen(self) -> bool:
        """Return whether a freeze is on."""
        return self.freeze is not None


def window_state(family_name: str, now_ns: int, rules: WindowRules = RULES) -> WindowState:
    """Return which window of a family is open now, and whether it is frozen.

    Raises as `windows_on` does, for the day or the next one.
    """
    # All edges are whole seconds, so within one nothing changes.
    return _state_at(family_name, now_ns // NS_PER_S * NS_PER_S, rules)


@lru_cache(maxsize=256)
def _state_at(family_name: str, now_ns: int, rules: WindowRules) -> WindowState:
    today = eastern_date(now_ns)
    near = [
        window
        for day in (today, today + timedelta(days=1))
        for window in windows_on(family_name, day, rules)
    ]
    ahead = [one.freeze_ns for one in near if one.freeze_ns is not None and one.freeze_ns > now_ns]
    return WindowState(
        open=next((window for window in near if window.is_open(now_ns)), None),
        freeze=next((window for window in near if window.is_frozen(now_ns)), None),
        freezes_ns=min(ahead, default=None),
    )


class FamilyDay(Struct, frozen=True):
    """One family on one day: its windows in order, and why there are none or fewer."""

    family: Family
    windows: tuple[Window, ...]
    note: str = ""


def family_days(day: date, rules: WindowRules = RULES) -> tuple[FamilyDay, ...]:
    """Return the day of every family; what no table holds is said, and has no window."""
    found = []
    for family in FAMILIES:
        windows: tuple[Window, ...] = ()
        try:
            windows = windows_on(family.name, day, rules)
            note = _note(family, day, windows)
        except (WindowError, CalendarError) as error:
            note = str(error)
        found.append(FamilyDay(family, windows, note))
    return tuple(found)


def _note(family: Family, day: date, windows: tuple[Window, ...]) -> str:
    if family.index_symbol is not None:
        session = nyse_session(day)
        if session is None:
            return "the exchange is shut"
        return "closes early, at 13:00" if session.early else ""
    if family.name == "CLAIMS" and windows and day.weekday() != CLAIMS_WEEKDAY:
        return "released early: offices rest on Thursday"
    if family.name == "TENY" and is_treasury_day(day) and is_short_bond_day(day):
        return "the bond market closes early"
    return "" if windows else "nothing is released"


class OpsMetadata(Struct, frozen=True):
    """What an operator reads beside a quote: when it is cancelled, and the target in Unix s."""

    cancel_at: str
    seconds_to_cancel: float
    target_unix: int


def ops_metadata(now_ns: int, target_ns: int) -> OpsMetadata:
    """Return the cancel time in New York, the seconds until it, and the target's Unix time."""
    cancel_ns = target_ns - CANCEL_BUFFER_NS
    return OpsMetadata(
        cancel_at=eastern_datetime(cancel_ns).isoformat(),
        seconds_to_cancel=(cancel_ns - now_ns) / NS_PER_S,
        target_unix=target_ns // NS_PER_S,
    )


class Roll(Struct, frozen=True):
    """The hourly event that is live, and what the clock asks for now.

    `rolled_from_ns` is the event left behind by this very step, or None.
    """

    active_ns: int
    rolled_from_ns: int | None
    boundary_ns: int
    seconds_to_boundary: float
    cancel_all: bool

    @property
    def line(self) -> str | None:
        """Return the log line of a roll, None when nothing rolled."""
        if self.rolled_from_ns is None:
            return None
        before, after = hour_label(self.rolled_from_ns), hour_label(self.active_ns)
        return f"[u-roll] ROLLED U-SERIES: {before} -> {after}"


def hour_label(target_ns: int) -> str:
    """Return a target's hour as tickers write it: H1300."""
    return f"{eastern_datetime(target_ns):H%H%M}"


def roll(now_ns: int, active_ns: int | None = None) -> Roll:
    """Return the live hour at a time: from minute :40 it is the next one (domain.md §4).

    `active_ns` is the event that was live before, None at the start. Cancel-all is asked for
    within two seconds of the hour. Hours here are plain clock hours: whether one is a target of
    the day, `index_targets` says.
    """
    hour_ns = now_ns // NS_PER_HOUR * NS_PER_HOUR
    boundary_ns = hour_ns + NS_PER_HOUR
    live_ns = boundary_ns if boundary_ns - now_ns <= ROLL_LEAD_NS else hour_ns
    return Roll(
        active_ns=live_ns,
        rolled_from_ns=active_ns if active_ns is not None and active_ns != live_ns else None,
        boundary_ns=boundary_ns,
        seconds_to_boundary=(boundary_ns - now_ns) / NS_PER_S,
        cancel_all=boundary_ns - now_ns <= CANCEL_BUFFER_NS,
    )
