"""Index levels as they came, kept long enough to settle by: one bounded track per symbol."""

from bisect import bisect_right, insort

from msgspec import Struct

from libs.common.messages import IndexTick

PRINTS_MAX = 20_000
"""More than five hours of per-second bars for one symbol."""
ON_BEFORE = "on_before"


class Print(Struct, frozen=True, order=True):
    """One level, known from `end_ns`. Of two that end together the shorter bar is finer."""

    end_ns: int
    coarseness_ns: int
    level_e4: int


class Found(Struct, frozen=True):
    """The level a market settles on; `fallback` is empty for the exact print."""

    level_e4: int
    level_ns: int
    fallback: str


class LevelTrack:
    """The newest prints of one symbol in order of time, however they arrived."""

    def __init__(self) -> None:
        self._prints: list[Print] = []

    def add(self, tick: IndexTick) -> None:
        """Take one more print; the same one again changes nothing."""
        made = Print(tick.bar_end_ns, tick.bar_end_ns - tick.bar_start_ns, tick.level_e4)
        prints = self._prints
        if prints and made > prints[-1]:
            prints.append(made)
        elif made not in prints[-600:]:
            insort(prints, made)
        if len(prints) > PRINTS_MAX:
            del prints[: PRINTS_MAX // 10]

    @property
    def newest_ns(self) -> int:
        """Return the end of the newest bar, 0 when there is none."""
        return self._prints[-1].end_ns if self._prints else 0

    def at(self, target_ns: int) -> Found | None:
        """Return the print at the target, else the most recent before it (domain.md §6)."""
        place = bisect_right(self._prints, Print(target_ns, 1 << 62, 0))
        if place == 0:
            return None
        end_ns = self._prints[place - 1].end_ns
        first = place - 1
        while first and self._prints[first - 1].end_ns == end_ns:
            first -= 1
        used = self._prints[first]
        return Found(used.level_e4, end_ns, "" if end_ns == target_ns else ON_BEFORE)
