"""Which markets trade, as lists (REST) and the lifecycle channel tell. Pure.

What nobody told of counts as not trading. A list counts only if it was asked for while changes
were told of too, and a market's own frame counts for more than a list from before it.
"""

from collections.abc import Collection

from msgspec import Struct

from libs.common.clock import NS_PER_S

SETTLE_NS = 2 * NS_PER_S
"""For so long after a market stopped, a list may still show it as it was."""
CHANGES = {"activated": True, "deactivated": False, "determined": False, "settled": False}
"""What a step in a market's life says of its trading; opening and closing send none."""


class _Word(Struct):
    """What was last said of one market; `told_ns` is when the channel spoke of it, 0 never."""

    active: bool
    told_ns: int = 0


class MarketStatuses:
    """Fold lists and frames; say which markets of an event don't trade."""

    def __init__(self, stale_ns: int) -> None:
        self._stale_ns = stale_ns
        self._since_ns: int | None = None
        self._words: dict[str, _Word] = {}
        self._listed_ns: dict[str, int] = {}

    def watched(self, now_ns: int) -> None:
        """Begin anew: changes are told of from now on, so lists asked for from now on count."""
        self._words.clear()
        self._listed_ns.clear()
        self._since_ns = now_ns

    def lost(self) -> None:
        """Changes are no longer told of: nothing is known."""
        self.watched(0)
        self._since_ns = None

    def told(self, ticker: str, event_type: str, now_ns: int) -> None:
        """Take a frame of the lifecycle channel."""
        active = CHANGES.get(event_type)
        if active is not None:
            self._words[ticker] = _Word(active, now_ns)

    def listed(
        self,
        event_ticker: str,
        tickers: Collection[str],
        inactive: Collection[str],
        asked_ns: int,
        now_ns: int,
    ) -> None:
        """Take an event's markets as a list has them that was asked for at `asked_ns`."""
        if self._since_ns is None or not self._since_ns <= asked_ns <= now_ns:
            return
        self._listed_ns[event_ticker] = asked_ns
        for ticker in tickers:
            active = ticker not in inactive
            word = self._words.setdefault(ticker, _Word(active))
            settles_ns = word.told_ns + SETTLE_NS if active and word.told_ns else word.told_ns
            if asked_ns >= settles_ns:
                word.active = active

    def was_set_back(self, now_ns: int) -> bool:
        """Tell whether the clock went behind what was heard: lists would not count for long."""
        return self._since_ns is not None and now_ns < self._since_ns

    def inactive(
        self, event_ticker: str, tickers: Collection[str], now_ns: int
    ) -> tuple[int, ...] | None:
        """Return which of an event's markets don't trade, by place; None when nobody knows."""
        listed_ns = self._listed_ns.get(event_ticker)
        if listed_ns is None or not 0 <= now_ns - listed_ns <= self._stale_ns:
            return None
        words = [self._words.get(ticker) for ticker in tickers]
        if None in words:
            return None
        return tuple(index for index, word in enumerate(words) if word and not word.active)

    def forget(self, tickers: Collection[str], event_ticker: str = "") -> None:
        """Let go of markets, and of a past event."""
        self._listed_ns.pop(event_ticker, None)
        for ticker in tickers:
            self._words.pop(ticker, None)
