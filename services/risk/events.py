"""What risk is told besides messages."""

from libs.common.effects import Event


class KillSwitchRead(Event, frozen=True, kw_only=True):
    """The kill switch was looked at: engaged, released, or None when nobody could tell."""

    engaged: bool | None
