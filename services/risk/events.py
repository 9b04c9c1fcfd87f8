"""What risk is told besides messages, and what it answers besides them."""

from libs.common.effects import Effect, Event
from libs.common.messages import Override


class KillSwitchRead(Event, frozen=True, kw_only=True):
    """The kill switch was looked at: engaged, released, or None when nobody could tell."""

    engaged: bool | None


class OverrideOffered(Event, frozen=True, kw_only=True):
    """An operator asks for an override; nothing of it is checked yet."""

    override: Override


class OverrideAnswered(Effect, frozen=True, kw_only=True):
    """Say what became of an offered override; `refusal` is "" when it is in force.

    `explanation` says what was expected, what came and what to do.
    """

    override: Override
    refusal: str
    explanation: str
