"""The newest snapshot of each ladder that still trades, and what it says of its books."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator

from libs.common.messages import LadderDefined, LadderSnapshot, Message
from libs.domain.families import UnknownFamilyError, family_of_series
from libs.domain.ladder_maths import contradictions
from libs.domain.money import PRICE_ONE_E4
from libs.domain.tickers import TickerError, parse_event_ticker
from services.monitors.policy import MonitorsPolicy
from services.monitors.reading import Reading, family_name, listed, nanoseconds, no_data

LADDERS_MAX = 128


class Ladder:
    """What matters of an event's newest snapshot.

    `gap_ns` is since when a rung is stale, `rises_ns` since when quotes contradict one another;
    0 for not.
    """

    def __init__(self, event_ticker: str, series_ticker: str) -> None:
        self.event_ticker = event_ticker
        self.family = family_name(series_ticker)
        self.tickers: tuple[str, ...] = ()
        self.newest: LadderSnapshot | None = None
        self.gap_ns = 0
        self.rises_ns = 0
        self.rises = 0
        self.unmeasured = False

    @property
    def snapshot(self) -> LadderSnapshot:
        assert self.newest is not None, "a ladder that trades has been seen"
        return self.newest

    @property
    def stale(self) -> int:
        """Return how many rungs' books are in doubt."""
        return len(self.snapshot.stale)

    @property
    def rungs(self) -> int:
        return len(self.snapshot.bid_price_e4)

    def measure(self) -> None:
        """Count contradictions, if the snapshot is new."""
        if not self.unmeasured:
            return
        self.unmeasured = False
        snapshot = self.snapshot
        self.rises = _rises(snapshot)
        if not self.rises:
            self.rises_ns = 0
        elif not self.rises_ns:
            self.rises_ns = snapshot.ts_pub_ns

    def is_eastern(self) -> bool | None:
        """Tell whether its target is at the New York hour of its ticker; None if it names none."""
        try:
            return parse_event_ticker(self.event_ticker).target_ns == self.snapshot.target_ns
        except TickerError:
            return None


class Ladders:
    """Keep one entry per event until its target; the earliest target goes when there is no room."""

    def __init__(self) -> None:
        self._seen: dict[str, Ladder] = {}
        self._defined: dict[str, LadderDefined] = {}

    def fold(self, message: Message) -> None:
        if isinstance(message, LadderDefined):
            self._defined[message.event_ticker] = message
            if len(self._defined) > LADDERS_MAX:
                del self._defined[min(self._defined, key=lambda e: self._defined[e].target_ns)]
        elif isinstance(message, LadderSnapshot):
            self._see(message)

    def _see(self, message: LadderSnapshot) -> None:
        ladder = self._seen.get(message.event_ticker)
        if ladder is None:
            ladder = Ladder(message.event_ticker, message.series_ticker)
            self._seen[message.event_ticker] = ladder
        elif message.recv_ns < ladder.snapshot.recv_ns:
            return
        if not message.stale:
            ladder.gap_ns = 0
        elif not ladder.gap_ns:
            ladder.gap_ns = message.ts_pub_ns
        ladder.newest = message
        ladder.unmeasured = True
        if len(self._seen) > LADDERS_MAX:
            first = min(self._seen.values(), key=lambda seen: seen.snapshot.target_ns)
            del self._seen[first.event_ticker]

    def trading(self, now_ns: int) -> Iterator[Ladder]:
        """Yield the ladders whose target is to come; those whose target is past are let go."""
        past = [name for name, seen in self._seen.items() if seen.snapshot.target_ns <= now_ns]
        for name in past:
            del self._seen[name]
        yield from self._seen.values()

    def by_family(self, now_ns: int, families: Iterable[str]) -> dict[str, list[Ladder]]:
        """Return the ladders that trade, by family; the families given are always there."""
        found: dict[str, list[Ladder]] = {name: [] for name in families}
        for ladder in self.trading(now_ns):
            found.setdefault(ladder.family, []).append(ladder)
        return found

    def exits_e4(self, event_ticker: str) -> dict[str, tuple[int, int]]:
        """Return each rung's best bid and ask, at which a position could be left now."""
        defined, ladder = self._defined.get(event_ticker), self._seen.get(event_ticker)
        if defined is None or ladder is None or len(defined.tickers) != ladder.rungs:
            return {}
        snapshot = ladder.snapshot
        prices = zip(snapshot.bid_price_e4, snapshot.ask_price_e4, strict=True)
        return dict(zip(defined.tickers, prices, strict=True))


class PerFamily(ABC):
    """A monitor of ladders that judges those of each family; the ladders are folded for all."""

    def __init__(self, policy: MonitorsPolicy, ladders: Ladders) -> None:
        self._families = policy.families
        self._ladders = ladders

    def fold(self, message: Message) -> None:  # noqa: B027 - the ladders fold for all
        """Remember nothing."""

    def look(self, now_ns: int) -> dict[str, Reading]:
        by_family = self._ladders.by_family(now_ns, self._families)
        return {name: self.judge(ladders, now_ns) for name, ladders in by_family.items()}

    @abstractmethod
    def judge(self, ladders: list[Ladder], now_ns: int) -> Reading:
        """Say how a family's ladders are now."""


def _stale(ladders: list[Ladder]) -> str:
    return listed([f"{each.event_ticker} {each.stale} of {each.rungs} rungs" for each in ladders])


class LadderGap(PerFamily):
    """ALERT when a rung's book has been in doubt for longer than a new snapshot takes."""

    name = "ladder_gap"

    def __init__(self, policy: MonitorsPolicy, ladders: Ladders) -> None:
        super().__init__(policy, ladders)
        self._grace_ns = nanoseconds(policy.ladder_gap_s)

    def judge(self, ladders: list[Ladder], now_ns: int) -> Reading:
        if not ladders:
            return no_data(0.0, "no ladder trades")
        gapped = [ladder for ladder in ladders if ladder.stale]
        lasting = [ladder for ladder in gapped if now_ns - ladder.gap_ns > self._grace_ns]
        if lasting:
            rungs = float(sum(ladder.stale for ladder in lasting))
            return Reading("ALERT", rungs, 0.0, f"books in doubt: {_stale(lasting)}")
        if gapped:  # not yet for longer than a snapshot takes
            return Reading("OK", 0.0, 0.0, f"awaiting snapshots: {_stale(gapped)}")
        return Reading("OK", 0.0, 0.0, f"{len(ladders)} ladders whole")


class NonMonotone(PerFamily):
    """ALERT when quotes rise where survival must fall, for longer than a moment."""

    name = "non_monotone_ladders"

    def __init__(self, policy: MonitorsPolicy, ladders: Ladders) -> None:
        super().__init__(policy, ladders)
        self._grace_ns = nanoseconds(policy.non_monotone_s)

    def judge(self, ladders: list[Ladder], now_ns: int) -> Reading:
        if not ladders:
            return no_data(0.0, "no ladder trades")
        for ladder in ladders:
            ladder.measure()
        rising = [ladder for ladder in ladders if ladder.rises]
        lasting = any(now_ns - ladder.rises_ns > self._grace_ns for ladder in rising)
        texts = [f"{each.event_ticker} at {each.rises} of {each.rungs} rungs" for each in rising]
        text = f"quotes contradict: {listed(texts)}" if rising else f"{len(ladders)} ladders fall"
        total = float(sum(ladder.rises for ladder in rising))
        return Reading("ALERT" if lasting else "OK", total, 0.0, text)


class TargetsEastern(PerFamily):
    """ALERT when an event's target is not at the New York hour that its ticker names."""

    name = "tz_not_et"

    def judge(self, ladders: list[Ladder], now_ns: int) -> Reading:
        told = {ladder.event_ticker: ladder.is_eastern() for ladder in ladders}
        named = [event for event, eastern in told.items() if eastern is not None]
        if not named:
            return no_data(0.0, "no ladder trades whose ticker names an hour")
        wrong = [event for event in named if not told[event]]
        text = listed(wrong) or f"{len(named)} targets are at their tickers' New York hours"
        return Reading("ALERT" if wrong else "OK", float(len(wrong)), 0.0, text)


def _rises(snapshot: LadderSnapshot) -> int:
    try:
        kind = family_of_series(snapshot.series_ticker).kind
    except UnknownFamilyError:
        return 0
    bids = zip(snapshot.bid_price_e4, snapshot.bid_count_e2, strict=True)
    asks = zip(snapshot.ask_price_e4, snapshot.ask_count_e2, strict=True)
    return contradictions(
        kind,
        [price_e4 if count_e2 else 0 for price_e4, count_e2 in bids],
        [price_e4 if count_e2 else PRICE_ONE_E4 for price_e4, count_e2 in asks],
    )
