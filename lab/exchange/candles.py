"""Candlesticks of one market: its minutes as they pass, and longer periods made of them.

A period ends at `end_s`, itself included. Only a period in which a quote or a trade changed
something has a candle. No bid is a bid of 0, no ask an ask of 1.
"""

from collections import deque
from collections.abc import Iterable

from msgspec import Struct

from lab.exchange.model import NS_PER_S, ONE_DOLLAR_E4

MINUTE_NS = 60 * NS_PER_S
MINUTES_KEPT = 10_000


class Range(Struct):
    """First, lowest, highest and last of a price."""

    open_e4: int
    low_e4: int
    high_e4: int
    close_e4: int

    @staticmethod
    def at(price_e4: int) -> "Range":
        """Return the range of one price."""
        return Range(price_e4, price_e4, price_e4, price_e4)

    def move(self, price_e4: int) -> None:
        """Take a later price in."""
        self.low_e4 = min(self.low_e4, price_e4)
        self.high_e4 = max(self.high_e4, price_e4)
        self.close_e4 = price_e4

    def extend(self, later: "Range") -> None:
        """Take a later range in."""
        self.low_e4 = min(self.low_e4, later.low_e4)
        self.high_e4 = max(self.high_e4, later.high_e4)
        self.close_e4 = later.close_e4


class Candle(Struct, kw_only=True):
    """One period. `traded` is None without a trade, `previous_e4` without one ever before."""

    end_s: int
    bid: Range
    ask: Range
    traded: Range | None
    previous_e4: int | None
    open_interest_e2: int
    volume_e2: int = 0
    value_e6: int = 0

    @property
    def mean_e4(self) -> int | None:
        """The average price of a contract, None without a trade."""
        return round(self.value_e6 / self.volume_e2) if self.volume_e2 else None


class Candles:
    """The minutes of one market; the oldest go when there are too many."""

    __slots__ = ("_ask_e4", "_bid_e4", "_last_e4", "_open_interest_e2", "minutes")

    def __init__(self) -> None:
        self.minutes: deque[Candle] = deque(maxlen=MINUTES_KEPT)
        self._bid_e4 = 0
        self._ask_e4 = ONE_DOLLAR_E4
        self._last_e4: int | None = None
        self._open_interest_e2 = 0

    def quote(self, at_ns: int, bid_e4: int | None, ask_e4: int | None) -> None:
        """Take in the best prices, None where there is none."""
        bid_e4 = bid_e4 or 0
        ask_e4 = ONE_DOLLAR_E4 if ask_e4 is None else ask_e4
        if bid_e4 == self._bid_e4 and ask_e4 == self._ask_e4:
            return
        candle = self._at(at_ns)
        candle.bid.move(bid_e4)
        candle.ask.move(ask_e4)
        self._bid_e4, self._ask_e4 = bid_e4, ask_e4

    def trade(self, at_ns: int, price_e4: int, count_e2: int, open_interest_e2: int) -> None:
        """Take in a trade."""
        candle = self._at(at_ns)
        if candle.traded is None:
            candle.traded = Range.at(price_e4)
        else:
            candle.traded.move(price_e4)
        candle.volume_e2 += count_e2
        candle.value_e6 += price_e4 * count_e2
        candle.open_interest_e2 = self._open_interest_e2 = open_interest_e2
        self._last_e4 = price_e4

    def _at(self, at_ns: int) -> Candle:
        end_s = -(-at_ns // MINUTE_NS) * 60
        if not self.minutes or self.minutes[-1].end_s != end_s:
            candle = Candle(
                end_s=end_s,
                bid=Range.at(self._bid_e4),
                ask=Range.at(self._ask_e4),
                traded=None,
                previous_e4=self._last_e4,
                open_interest_e2=self._open_interest_e2,
            )
            self.minutes.append(candle)
        return self.minutes[-1]

    def periods(self, start_s: int, end_s: int, minutes: int) -> list[Candle]:
        """Return the candles of periods of so many minutes that end in a stretch of time."""
        return [c for c in _merged(self.minutes, 60 * minutes) if start_s <= c.end_s <= end_s]

    def latest_before(self, start_s: int, minutes: int) -> Candle | None:
        """Return the last candle before a time, carried on to the first period's end after it."""
        length_s = 60 * minutes
        before = [c for c in _merged(self.minutes, length_s) if c.end_s < start_s]
        if not before:
            return None
        last = before[-1]
        return Candle(
            end_s=(start_s // length_s + 1) * length_s,
            bid=Range.at(last.bid.close_e4),
            ask=Range.at(last.ask.close_e4),
            traded=None,
            previous_e4=last.traded.close_e4 if last.traded else last.previous_e4,
            open_interest_e2=last.open_interest_e2,
        )


def _merged(minutes: Iterable[Candle], length_s: int) -> list[Candle]:
    merged: list[Candle] = []
    for minute in minutes:
        end_s = -(-minute.end_s // length_s) * length_s
        if not merged or merged[-1].end_s != end_s:
            merged.append(_copy(minute, end_s))
            continue
        candle = merged[-1]
        candle.bid.extend(minute.bid)
        candle.ask.extend(minute.ask)
        if candle.traded is None:
            candle.traded = minute.traded and _copy(minute, end_s).traded
        elif minute.traded is not None:
            candle.traded.extend(minute.traded)
        candle.volume_e2 += minute.volume_e2
        candle.value_e6 += minute.value_e6
        candle.open_interest_e2 = minute.open_interest_e2
    return merged


def _copy(minute: Candle, end_s: int) -> Candle:
    """Return a candle that may be extended without touching the minute it began with."""
    bid, ask, traded = minute.bid, minute.ask, minute.traded
    return Candle(
        end_s=end_s,
        bid=Range(bid.open_e4, bid.low_e4, bid.high_e4, bid.close_e4),
        ask=Range(ask.open_e4, ask.low_e4, ask.high_e4, ask.close_e4),
        traded=traded and Range(traded.open_e4, traded.low_e4, traded.high_e4, traded.close_e4),
        previous_e4=minute.previous_e4,
        open_interest_e2=minute.open_interest_e2,
        volume_e2=minute.volume_e2,
        value_e6=minute.value_e6,
    )
