"""What reporting's core is told beyond messages and timers."""

from libs.common.effects import Event


class Recovered(Event, frozen=True, kw_only=True):
    """All that was stored has been folded: from now on the core's effects are performed."""


class Inserted(Event, frozen=True, kw_only=True):
    """A batch is durable and folded; `news` counts the rows that are not our own status."""

    watermarks: dict[str, int]
    rows: int
    news: int


class Rewound(Event, frozen=True, kw_only=True):
    """A market-data stream lost its end with its server: sequences above `sequence` come anew."""

    stream: str
    sequence: int
