"""One event's books: fold the stream, say what the ladder looks like."""

from libs.common.messages import (
    Cause,
    LadderDefined,
    LadderSnapshot,
    Provenance,
    derived_id,
    envelope,
)
from libs.domain.book import BookError, OrderBook, Touch
from libs.domain.money import PRICE_ONE_E4
from libs.kalshi.ws_events import Delta, Snapshot
from services.feeds.events import LadderSpec

SOURCE = "feeds"
DEPTH_E4 = 500
"""Depth counts what rests within five cents of the best price."""
COUNT_MAX_E2 = 10**10
"""What a message may carry (messages.base.CountE2): a larger quantity is no real one."""
NO_TOUCH: Touch = (0, 0, 0, PRICE_ONE_E4, 0, 0)


class Ladder:
    """The books of one event in rung order, and which of them can't be vouched for."""

    def __init__(self, spec: LadderSpec) -> None:
        self.spec = spec
        self.ladder_id = derived_id(
            spec.event_ticker,
            spec.target_ns,
            spec.close_ns,
            *(f"{r.ticker}|{r.strike_type}|{r.floor_e4}|{r.cap_e4}" for r in spec.rungs),
            *(f"{p.start_e4}-{p.end_e4}/{p.step_e4}" for p in spec.price_ranges),
        )
        self.tickers = tuple(rung.ticker for rung in spec.rungs)
        self._index = {ticker: index for index, ticker in enumerate(self.tickers)}
        self._books = [OrderBook() for _ in self.tickers]
        self.stale = set(range(len(self.tickers)))
        self.inactive: tuple[int, ...] | None = None
        """Rungs whose market does not trade; None while nobody knows."""
        self._tops: list[Touch] = [NO_TOUCH] * len(self.tickers)
        self._touched = set(self.stale)
        """Rungs whose top may not be what `_tops` says."""
        self._asked_ns: dict[int, int] = {}
        self.published_ns = 0
        self.published_count = 0
        self.dirty = True
        self.flush_set = False

    def definition(self, cause: Cause, message_id: str) -> LadderDefined:
        """Return the message that defines this ladder."""
        spec = self.spec
        return LadderDefined(
            **envelope(cause, SOURCE, message_id),
            ladder_id=self.ladder_id,
            event_ticker=spec.event_ticker,
            series_ticker=spec.series_ticker,
            family=spec.family,
            symbol=spec.symbol,
            kind=spec.kind,
            target_ns=spec.target_ns,
            close_ns=spec.close_ns,
            tickers=self.tickers,
            strike_types=tuple(str(rung.strike_type) for rung in spec.rungs),
            floors_e4=tuple(rung.floor_e4 for rung in spec.rungs),
            caps_e4=tuple(rung.cap_e4 for rung in spec.rungs),
            price_ranges=spec.price_ranges,
        )

    def apply(self, event: Snapshot | Delta) -> str | None:
        """Fold one book message; return why the book is now in doubt, None when it is fine."""
        index = self._index[event.ticker]
        self.dirty = True
        self._touched.add(index)
        book = self._books[index]
        try:
            if isinstance(event, Delta):
                if index not in self.stale:
                    count_e2 = book.apply_delta(event.side, event.price_e4, event.change_e2)
                    if count_e2 > COUNT_MAX_E2:
                        raise _too_large(count_e2)
            else:
                for _, count_e2 in (*event.bids, *event.asks):
                    if count_e2 > COUNT_MAX_E2:
                        raise _too_large(count_e2)
                book.apply_snapshot(event.bids, event.asks)
                self.stale.discard(index)
        except BookError as error:
            self.stale.add(index)
            return str(error)
        return None

    def doubt(self, tickers: tuple[str, ...] | None = None) -> bool:
        """Mark books (all by default) stale until their next snapshot; tell if one was sound."""
        chosen = self.tickers if tickers is None else tickers
        gone = {self._index[ticker] for ticker in chosen if ticker in self._index}
        is_news = not gone <= self.stale
        self.dirty = self.dirty or is_news
        self.stale |= gone
        self._touched |= gone
        return is_news

    def ask(self, tickers: tuple[str, ...], now_ns: int, every_ns: int) -> tuple[str, ...]:
        """Return which of these to ask for now: those not asked for within `every_ns`."""
        asked = []
        for ticker in tickers:
            index = self._index.get(ticker)
            if index is None or now_ns - self._asked_ns.get(index, -every_ns) < every_ns:
                continue
            self._asked_ns[index] = now_ns
            asked.append(ticker)
        return tuple(asked)

    def stale_tickers(self) -> tuple[str, ...]:
        """Return the markets that await a snapshot, in rung order."""
        return tuple(self.tickers[index] for index in sorted(self.stale))

    def crossed(self) -> tuple[str, ...]:
        """Return the markets whose book is crossed, which no book at rest is."""
        tops = zip(self.tickers, self._fresh_tops(), strict=True)
        return tuple(ticker for ticker, top in tops if top[0] >= top[3])

    def _fresh_tops(self) -> list[Touch]:
        """Return each rung's top; a book in doubt has none."""
        for index in self._touched:
            self._tops[index] = NO_TOUCH if index in self.stale else _top_of(self._books[index])
        self._touched.clear()
        return self._tops

    def snapshot(
        self, cause: Cause, message_id: str, heard_ns: int, provenance: Provenance
    ) -> LadderSnapshot:
        """Return the ladder as it is; `heard_ns` is up to when the books are vouched for."""
        spec = self.spec
        columns = zip(*self._fresh_tops(), strict=True)
        bid_e4, bid_e2, bid_depth_e2, ask_e4, ask_e2, ask_depth_e2 = columns
        return LadderSnapshot(
            **envelope(cause, SOURCE, message_id, ts_event_ns=heard_ns),
            ladder_id=self.ladder_id,
            event_ticker=spec.event_ticker,
            series_ticker=spec.series_ticker,
            target_ns=spec.target_ns,
            recv_ns=heard_ns,
            provenance=provenance,
            bid_price_e4=bid_e4,
            bid_count_e2=bid_e2,
            bid_depth_e2=bid_depth_e2,
            ask_price_e4=ask_e4,
            ask_count_e2=ask_e2,
            ask_depth_e2=ask_depth_e2,
            stale=tuple(sorted(self.stale)),
            inactive=self.inactive,
        )


def _top_of(book: OrderBook) -> Touch:
    """Return the touch with depths that a message can carry."""
    top = bid_e4, bid_e2, bid_depth_e2, ask_e4, ask_e2, ask_depth_e2 = book.touch(DEPTH_E4)
    if bid_depth_e2 <= COUNT_MAX_E2 and ask_depth_e2 <= COUNT_MAX_E2:
        return top
    bid_depth_e2, ask_depth_e2 = min(COUNT_MAX_E2, bid_depth_e2), min(COUNT_MAX_E2, ask_depth_e2)
    return bid_e4, bid_e2, bid_depth_e2, ask_e4, ask_e2, ask_depth_e2


def _too_large(count_e2: int) -> BookError:
    return BookError(f"book: expected at most {COUNT_MAX_E2}, got a count of {count_e2}")
