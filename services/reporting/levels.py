"""Index levels as they came, kept long enough to settle by: one bounded track per symbol."""

from bisect import bisect_right, insort

from msgspec import Struct

from libs.common.messages import IndexTick
from libs.domain.settlement import Fixing, Print, SettlementError, fix_on_or_before

PRINTS_MAX = 20_000
"""More than five hours of per-second bars for one symbol."""
SAME_TIME_MAX = 16
"""Bars of different lengths that may end together."""


class Bar(Struct, frozen=True, order=True):
    """One level, known from `end_ns`. Of two that end together the shorter comes last."""

    end_ns: int
    fineness_ns: int
    level_e4: int


class LevelTrack:
    """The newest bars of one symbol in order of time, however they arrived."""

    def __init__(self) -> None:
        self._bars: list[Bar] = []

    def add(self, tick: IndexTick) -> None:
        """Take one more bar; the same one again changes nothing."""
        made = Bar(tick.bar_end_ns, tick.bar_start_ns - tick.bar_end_ns, tick.level_e4)
        bars = self._bars
        if not bars or made > bars[-1]:
            bars.append(made)
        elif (place := bisect_right(bars, made)) == 0 or bars[place - 1] != made:
            insort(bars, made)
        if len(bars) > PRINTS_MAX:
            del bars[: PRINTS_MAX // 10]

    @property
    def newest_ns(self) -> int:
        """Return the end of the newest bar, 0 when there is none."""
        return self._bars[-1].end_ns if self._bars else 0

    def fix(self, target_ns: int, age_max_ns: int) -> Fixing | None:
        """Return the on/before level of a target, None when there is none fresh enough."""
        place = bisect_right(self._bars, Bar(target_ns, 0, 0))
        near = self._bars[max(0, place - SAME_TIME_MAX) : place]
        prints = [Print(at_ns=bar.end_ns, level_e4=bar.level_e4) for bar in near]
        try:
            return fix_on_or_before(prints, target_ns, age_max_ns)
        except SettlementError:
            return None
