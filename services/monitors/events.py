"""What monitors are told beside the streams, and what they show beside their messages."""

from libs.common.effects import Effect, Event
from services.monitors.reading import State


class Started(Event, frozen=True, kw_only=True):
    """Recovery is over; from now on the monitors judge."""


class KillSwitchRead(Event, frozen=True, kw_only=True):
    """What the bucket said. Absent and unreadable come as engaged, with the reason."""

    engaged: bool
    detail: str


class ShowMonitor(Effect, frozen=True, kw_only=True):
    """Show a monitor's state and value as metrics; the value is None without data."""

    monitor: str
    state: State
    value: float | None


class ShowFeedAge(Effect, frozen=True, kw_only=True):
    """Show the age of a feed's newest observation as a metric."""

    feed: str
    age_s: float
