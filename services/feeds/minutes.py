"""Which whole minutes of an index feeds believes: bars of a minute, known at their end."""

from libs.common.clock import NS_PER_S
from services.feeds.events import MinuteBar

MINUTE_NS = 60 * NS_PER_S
FUTURE_NS = 2 * NS_PER_S
LEVEL_MAX_E4 = 10**12


class Minutes:
    """The newest whole minute of each index."""

    def __init__(self, symbols: tuple[str, ...]) -> None:
        self._symbols = symbols
        self._newest_ns: dict[str, int] = {}

    @property
    def newest_ns(self) -> int:
        """Return the end of the newest bar of the index that is furthest behind; 0 before any."""
        return min(self._newest_ns.values(), default=0)

    def take(self, bar: MinuteBar) -> tuple[str, str] | None:
        """Note a bar, or return the reason and detail for which it is not believed."""
        end_ns = bar.start_ns + MINUTE_NS
        last_ns = self._newest_ns.get(bar.symbol, 0)
        top, bottom = max(bar.open_e4, bar.close_e4), min(bar.open_e4, bar.close_e4)
        possible = 0 < bar.low_e4 <= bottom <= top <= bar.high_e4 <= LEVEL_MAX_E4
        if bar.symbol not in self._symbols:
            return "unknown_symbol", bar.symbol
        if not possible or bar.start_ns < 0 or bar.start_ns % MINUTE_NS:
            levels = f"{bar.open_e4}, {bar.high_e4}, {bar.low_e4}, {bar.close_e4}"
            return "impossible", f"{levels} from {bar.start_ns}"
        if end_ns > bar.now_ns + FUTURE_NS:
            return "future", f"ends {(end_ns - bar.now_ns) / NS_PER_S:.1f} s ahead"
        if end_ns <= last_ns:
            return "not_newer", f"ends {(last_ns - end_ns) / NS_PER_S:.1f} s earlier"
        self._newest_ns[bar.symbol] = end_ns
        return None
