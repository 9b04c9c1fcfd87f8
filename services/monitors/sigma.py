"""How far the index moved against how far the model said it would, at the same horizons."""

import math
from collections import deque

from msgspec import Struct

from libs.common.messages import FairLadder, IndexTick, Message
from libs.domain.families import UnknownFamilyError, family_of_series
from services.monitors.policy import MonitorsPolicy
from services.monitors.reading import NS_PER_S, Reading, judged, no_data

HORIZONS_S = (900, 600, 300, 60)
TAKEN_WITHIN_NS = 30 * NS_PER_S
EVENTS_MAX = 128
POINT_E4 = 10_000


class Forecast(Struct, frozen=True):
    """What the pricer said at a horizon: the level it started from and its sigma, in points."""

    level: float
    sigma: float


class Course(Struct):
    """One event on its way to its target."""

    family: str
    symbol: str
    target_ns: int
    forecasts: dict[int, Forecast]


class SigmaDrift:
    """ALERT when moves were larger than forecast by a quarter or more: shrink (domain.md §5).

    From one horizon to the next the index moves by d and the forecast's variance falls by v;
    from the last one it moves to the target. The ratio is the root of sum d² over sum v.
    """

    name = "sigma_drift"

    def __init__(self, policy: MonitorsPolicy) -> None:
        self._limit = policy.sigma_ratio
        self._least = policy.sigma_moves_min
        self._kept = policy.sigma_moves_kept
        self._families = policy.families
        self._courses: dict[str, Course] = {}
        self._levels: dict[str, IndexTick] = {}
        self._moves: dict[str, deque[tuple[float, float]]] = {}

    def fold(self, message: Message) -> None:
        if isinstance(message, FairLadder):
            self._hear(message)
        elif isinstance(message, IndexTick):
            self._tick(message)

    def look(self, now_ns: int) -> dict[str, Reading]:
        names = dict.fromkeys((*self._families, *self._moves))
        return {name: self._judge(self._moves.get(name, deque())) for name in names}

    def _judge(self, moves: "deque[tuple[float, float]]") -> Reading:
        if len(moves) < self._least:
            text = f"{len(moves)} moves seen since the start, {self._least} are needed"
            return no_data(self._limit, text)
        realised = math.fsum(move for move, _ in moves)
        forecast = math.fsum(variance for _, variance in moves)
        ratio = math.sqrt(realised / forecast)
        text = f"{len(moves)} moves: realised over forecast {ratio:.2f}"
        return judged(ratio >= self._limit, ratio, self._limit, text)

    def _hear(self, fair: FairLadder) -> None:
        left_ns = fair.target_ns - fair.ts_pub_ns
        taken = [s for s in HORIZONS_S if 0 <= s * NS_PER_S - left_ns < TAKEN_WITHIN_NS]
        if not taken or fair.sigma <= 0:
            return
        course = self._courses.get(fair.event_ticker)
        if course is None:
            try:
                family = family_of_series(fair.series_ticker)
            except UnknownFamilyError:
                return
            if family.index_symbol is None or len(self._courses) >= EVENTS_MAX:
                return
            course = Course(family.name, family.index_symbol, fair.target_ns, {})
            self._courses[fair.event_ticker] = course
        forecast = Forecast(fair.level_e4 / POINT_E4, fair.sigma)
        course.forecasts.setdefault(taken[0], forecast)

    def _tick(self, tick: IndexTick) -> None:
        known = self._levels.get(tick.symbol)
        if known is not None and tick.bar_end_ns <= known.bar_end_ns:
            return
        self._levels[tick.symbol] = tick
        for event, course in list(self._courses.items()):
            if course.symbol != tick.symbol or tick.bar_end_ns < course.target_ns:
                continue
            del self._courses[event]
            last = tick if tick.bar_end_ns == course.target_ns else known
            if last is not None and course.target_ns - last.bar_end_ns <= TAKEN_WITHIN_NS:
                self._close(course, last.level_e4 / POINT_E4)

    def _close(self, course: Course, settled: float) -> None:
        moves = self._moves.setdefault(course.family, deque(maxlen=self._kept))
        steps = [course.forecasts[each] for each in HORIZONS_S if each in course.forecasts]
        ends = [*((after.level, after.sigma) for after in steps[1:]), (settled, 0.0)]
        for step, (level, sigma) in zip(steps, ends, strict=True):
            variance = step.sigma**2 - sigma**2
            if variance > 0:
                moves.append(((level - step.level) ** 2, variance))
