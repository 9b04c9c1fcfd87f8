"""What monitors are told beside the streams, and what they show beside their messages."""

from libs.common.effects import Effect, Event
from services.monitors.reading import Reading


class Started(Event, frozen=True, kw_only=True):
    """Recovery is over; from now on the monitors judge."""


class KillSwitchRead(Event, frozen=True, kw_only=True):
    """What the bucket said. Absent and unreadable come as engaged, with the reason."""

    engaged: bool
    detail: str


class ShowMonitor(Effect, frozen=True, kw_only=True):
    """Show a monitor's state, value and threshold as metrics; None is no number."""

    monitor: str
    scope: str
    reading: Reading
