"""Keep each series' readiness at hand: in live mode nothing is placed without a GO."""

from libs.common.bus import Bus
from libs.common.clock import Clock
from libs.common.readiness import readiness_problem


class ReadinessKeeper:
    """Read readiness again and again for the series that were asked about."""

    def __init__(self, bus: Bus, clock: Clock, *, every_s: float, read_s_max: float) -> None:
        self._bus = bus
        self._clock = clock
        self._every_s = every_s
        self._read_s_max = read_s_max
        self._problems: dict[str, str] = {}

    async def run(self) -> None:
        """Read until cancelled."""
        while True:
            for series_ticker in list(self._problems):
                self._problems[series_ticker] = await readiness_problem(
                    self._bus, series_ticker, self._clock.now_ns(), self._read_s_max
                )
            await self._clock.sleep(self._every_s)

    def problem(self, series_ticker: str) -> str:
        """Return why nothing may be placed in a series, "" if it may."""
        return self._problems.setdefault(series_ticker, f"{series_ticker}: not read yet")
