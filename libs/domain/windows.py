"""When each family may quote: windows, freezes, index targets, the hourly roll (domain.md §3, §4).

All times are UTC ns; the rules are New York wall-clock times. A family without a rule raises.
"""

from collections.abc import Iterable
from datetime import date, timedelta

from msgspec import Struct

from libs.domain.calendar import (
    claims_release_day,
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
from libs.domain.families import Cadence, Family, family_named

CANCEL_BUFFER_NS = 2 * NS_PER_S
HOURLY_LEAD_NS = 15 * NS_PER_MINUTE
CLOSE_LEAD_NS = 10 * NS_PER_MINUTE
ROLL_LEAD_NS = 20 * NS_PER_MINUTE
FIRST_TARGET_HOUR = 10
WEATHER_CYCLE_NS = 6 * NS_PER_HOUR
WEATHER_WINDOW_NS = 45 * NS_PER_MINUTE


class WindowError(ValueError):
    """A window that has no rule, or a time that is no target."""


class TargetPassedError(WindowError):
    """The target time has come: there is no time left, and tomorrow's is another event."""


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

    @property
    def cancel_ns(self) -> int:
        """Return when the last quote must be gone: two seconds before the close."""
        return self.closes_ns - CANCEL_BUFFER_NS


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


def index_window(family_name: str, target_ns: int) -> Window:
    """Return the window before one target; raise WindowError if it is none of the family's."""
    if target_ns not in index_targets(family_name, eastern_date(target_ns)):
        raise WindowError(f"{family_name}: {utc_text(target_ns)} is no target on that day")
    hourly = family_named(family_name).cadence is Cadence.HOURLY
    lead_ns = HOURLY_LEAD_NS if hourly else CLOSE_LEAD_NS
    return Window(target_ns - lead_ns, target_ns, target_ns)


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


def cpi_window(release_ns: int) -> Window:
    """Return 06:00 to ten minutes before a CPI release, frozen from 06:00 the day before."""
    day = eastern_date(release_ns)
    return Window(
        eastern_ns(day, 6),
        release_ns - 10 * NS_PER_MINUTE,
        release_ns,
        eastern_ns(day - timedelta(days=1), 6),
    )


def claims_window(day: date) -> Window:
    """Return 06:00 to 08:25 of the claims release of that week, frozen from 18:00 before."""
    release = claims_release_day(day)
    return Window(
        eastern_ns(release, 6),
        eastern_ns(release, 8, 25),
        eastern_ns(release, 8, 30),
        eastern_ns(release - timedelta(days=1), 18),
    )


def teny_window(day: date) -> Window | None:
    """Return 14:30 to 15:25 for the 15:30 par yield, frozen from 13:30; None when shut."""
    if not is_treasury_day(day):
        return None
    return Window(
        eastern_ns(day, 14, 30),
        eastern_ns(day, 15, 25),
        eastern_ns(day, 15, 30),
        eastern_ns(day, 13, 30),
    )


def weather_window(now_ns: int) -> Window:
    """Return the window of the present six-hour UTC cycle, frozen until the next one begins."""
    cycle_ns = now_ns // WEATHER_CYCLE_NS * WEATHER_CYCLE_NS
    if now_ns >= cycle_ns + WEATHER_WINDOW_NS:
        cycle_ns += WEATHER_CYCLE_NS
    closes_ns = cycle_ns + WEATHER_WINDOW_NS
    return Window(cycle_ns, closes_ns, closes_ns, closes_ns - WEATHER_CYCLE_NS)


def windows_on(family_name: str, day: date, releases_ns: Iterable[int] = ()) -> tuple[Window, ...]:
    """Return a family's windows that open on a New York day, in order.

    CPI has the windows of `releases_ns`, the BLS calendar's release times, and no others.
    Raises WindowError for a family without a rule, CalendarError outside the calendar's data.
    """
    family = family_named(family_name)
    if family.index_symbol is not None:
        return tuple(
            index_window(family.name, target_ns) for target_ns in index_targets(family.name, day)
        )
    if family.name == "CPI":
        return tuple(cpi_window(at) for at in sorted(releases_ns) if eastern_date(at) == day)
    if family.name == "CLAIMS":
        return (claims_window(day),) if claims_release_day(day) == day else ()
    if family.name == "TENY":
        window = teny_window(day)
        return () if window is None else (window,)
    if family.name == "WEATHER":
        begin_ns, end_ns = eastern_ns(day, 0), eastern_ns(day + timedelta(days=1), 0)
        first_ns = -(-begin_ns // WEATHER_CYCLE_NS) * WEATHER_CYCLE_NS
        return tuple(weather_window(at) for at in range(first_ns, end_ns, WEATHER_CYCLE_NS))
    raise WindowError(f"{family_name}: no window rule; it may not be quoted")


class WindowState(Struct, frozen=True):
    """What the window and freeze gates see: the open window if any, and whether frozen."""

    open: Window | None
    frozen: bool


def window_state(family_name: str, now_ns: int, releases_ns: Iterable[int] = ()) -> WindowState:
    """Return which window of a family is open now, and whether it is frozen."""
    today = eastern_date(now_ns)
    releases = tuple(releases_ns)
    near = [
        window
        for day in (today, today + timedelta(days=1))
        for window in windows_on(family_name, day, releases)
    ]
    opened = next((window for window in near if window.is_open(now_ns)), None)
    return WindowState(opened, any(window.is_frozen(now_ns) for window in near))


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
