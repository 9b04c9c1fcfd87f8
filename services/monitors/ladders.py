"""The newest snapshot of each ladder that still trades; freshness and gaps are read off it."""

from collections.abc import Iterator

from msgspec import Struct

from libs.common.messages import LadderSnapshot, Message
from services.monitors.policy import MonitorsPolicy
from services.monitors.reading import Reading, listed, nanoseconds

LADDERS_MAX = 128


class Seen(Struct, frozen=True):
    """What matters of a ladder's newest snapshot; `gap_ns` is since when a rung is stale, or 0."""

    event_ticker: str
    target_ns: int
    recv_ns: int
    rungs: int
    stale: int
    gap_ns: int


class Ladders:
    """Keep one entry per event until its target; the earliest target goes when there is no room."""

    def __init__(self) -> None:
        self._seen: dict[str, Seen] = {}

    def fold(self, message: Message) -> None:
        if not isinstance(message, LadderSnapshot):
            return
        known = self._seen.get(message.event_ticker)
        if known is not None and message.recv_ns < known.recv_ns:
            return
        gap_ns = 0
        if message.stale:
            gap_ns = known.gap_ns if known is not None and known.gap_ns else message.ts_pub_ns
        self._seen[message.event_ticker] = Seen(
            message.event_ticker,
            message.target_ns,
            message.recv_ns,
            len(message.bid_price_e4),
            len(message.stale),
            gap_ns,
        )
        if len(self._seen) > LADDERS_MAX:
            first = min(self._seen.values(), key=lambda seen: seen.target_ns)
            del self._seen[first.event_ticker]

    def trading(self, now_ns: int) -> Iterator[Seen]:
        """Yield the ladders whose target is to come; those whose target is past are let go."""
        past = [name for name, seen in self._seen.items() if seen.target_ns <= now_ns]
        for name in past:
            del self._seen[name]
        yield from self._seen.values()


class LadderGap:
    """ALERT when a rung's book has been in doubt for longer than a new snapshot takes."""

    name = "ladder_gap"

    def __init__(self, policy: MonitorsPolicy, ladders: Ladders) -> None:
        self._grace_ns = nanoseconds(policy.ladder_gap_s)
        self._ladders = ladders

    def fold(self, message: Message) -> None:
        """Nothing: the ladders fold for all who read them."""

    def look(self, now_ns: int) -> Reading:
        ladders = list(self._ladders.trading(now_ns))
        if not ladders:
            return Reading("NO_DATA", None, 0.0, "no ladder trades")
        gapped = [seen for seen in ladders if seen.stale]
        lasting = [seen for seen in gapped if now_ns - seen.gap_ns > self._grace_ns]
        texts = [f"{seen.event_ticker} {seen.stale} of {seen.rungs} rungs" for seen in gapped]
        rungs = float(sum(seen.stale for seen in gapped))
        if lasting:
            return Reading("ALERT", rungs, 0.0, f"books in doubt: {listed(texts)}")
        if gapped:
            return Reading("OK", rungs, 0.0, f"awaiting snapshots: {listed(texts)}")
        return Reading("OK", 0.0, 0.0, f"{len(ladders)} ladders whole")
