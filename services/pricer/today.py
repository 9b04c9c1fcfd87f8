"""Today's moves by the minute, from ticks as they come, and what the models make of them."""

from collections.abc import Mapping
from math import log

from libs.common.messages import IndexTick
from libs.domain.eastern import NS_PER_MINUTE, NS_PER_S
from libs.domain.families import families_of_symbol, family_named
from services.pricer.calibration import Calibration
from services.pricer.models.contract import Belief, Watch, trading_day
from services.pricer.models.registry import MODELS

LATE_NS_MAX = 5 * NS_PER_S
"""The last tick before a minute's end stands for it if it is no older; else the minute is a gap."""


class MinuteTape:
    """Fold ticks into changes of the log level over whole minutes; none spans a gap."""

    def __init__(self) -> None:
        self._tick: tuple[int, float] | None = None
        self._minute: tuple[int, float] | None = None

    def fold(self, known_ns: int, level_e4: int) -> tuple[int, int, float] | None:
        """Return (from, to, change) when a minute ended, else None.

        `known_ns` is the end of the tick's bar. A tick from before the last one is left out.
        """
        before, level = self._tick, log(level_e4)
        if before is not None and known_ns <= before[0]:
            return None
        self._tick = (known_ns, level)
        end_ns = known_ns // NS_PER_MINUTE * NS_PER_MINUTE
        if self._minute is not None and end_ns <= self._minute[0]:
            return None
        if end_ns == known_ns:
            ended: tuple[int, float] | None = self._tick
        elif before is not None and before[0] >= end_ns - LATE_NS_MAX:
            ended = (end_ns, before[1])
        else:
            ended = None
        begun, self._minute = self._minute, ended
        if ended is None or begun is None or begun[0] != ended[0] - NS_PER_MINUTE:
            return None
        return begun[0], ended[0], ended[1] - begun[1]


class Today:
    """What each family's model believes of today, from the ticks of its index."""

    def __init__(self, calibrations: Mapping[str, Calibration]) -> None:
        self._tapes: dict[str, MinuteTape] = {}
        self._watches: dict[str, Watch] = {}
        for family, calibration in calibrations.items():
            symbol = family_named(family).index_symbol
            assert symbol in calibration.symbols, f"{family}: a calibration of its own index"
            watch = MODELS[calibration.model].watch(calibration, symbol)
            if watch is not None:
                self._watches[family] = watch
                self._tapes[symbol] = MinuteTape()

    def fold(self, tick: IndexTick) -> None:
        """Fold a tick; a minute that ended within a session is shown to the models."""
        tape = self._tapes.get(tick.symbol)
        move = tape.fold(tick.bar_end_ns, tick.level_e4) if tape is not None else None
        if move is None:
            return
        from_ns, to_ns, change = move
        try:
            day = trading_day(to_ns)
        except ValueError:  # no session that day, or no calendar for it
            return
        if not day.open_ns <= from_ns < to_ns <= day.close_ns:
            return
        for family in families_of_symbol(tick.symbol):
            watch = self._watches.get(family.name)
            if watch is not None:
                watch.observe(day, from_ns, to_ns, change)

    def belief(self, family: str, now_ns: int) -> Belief | None:
        """Return what was known by now; None when our clock was set back behind it."""
        watch = self._watches.get(family)
        found = watch.belief if watch is not None else None
        return found if found is not None and found.at_ns <= now_ns else None
