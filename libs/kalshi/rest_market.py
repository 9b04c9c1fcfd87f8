"""Public reads: exchange, series, events, markets, order books."""

from libs.kalshi import endpoints as at
from libs.kalshi.caller import Caller, query_of
from libs.kalshi.errors import RefusedError, UnreadableError, error_of, read_exchange_status
from libs.kalshi.fields import decoder
from libs.kalshi.wire import market as wire

EVENTS_PER_PAGE = 200
MARKETS_PER_PAGE = 1000
BOOKS_PER_CALL = 100
_STATUS_IN_BODY = (200, 500, 503, 504)

_schedule = decoder(wire.ScheduleAnswer)
_user_data = decoder(wire.UserDataTimestamp)
_series = decoder(wire.SeriesAnswer)
_series_fees = decoder(wire.SeriesFeeChangesAnswer)
_event_fees = decoder(wire.EventFeeChangesPage)
_events = decoder(wire.EventsPage)
_event = decoder(wire.EventAnswer)
_markets = decoder(wire.MarketsPage)
_market = decoder(wire.MarketAnswer)
_book = decoder(wire.WireBookAnswer)
_books = decoder(wire.WireBooksAnswer)


class MarketReads:
    """Calls that need no key. All raise KalshiError (errors.py)."""

    _caller: Caller

    async def exchange_status(self) -> wire.ExchangeStatus:
        """Return the status, also when the exchange sends it with 500, 503 or 504."""
        label, answer = await self._caller.exchange(at.EXCHANGE_STATUS)
        status = read_exchange_status(answer.body) if answer.status in _STATUS_IN_BODY else None
        if status is None:
            if answer.status == 200:
                raise UnreadableError(label, 200, "expected exchange_active and trading_active")
            raise error_of(label, answer.status, answer.body)
        return status

    async def schedule(self) -> wire.Schedule:
        """Return trading hours and maintenance windows."""
        return (await self._caller.call(at.EXCHANGE_SCHEDULE, _schedule)).schedule

    async def user_data_ns(self) -> int:
        """Return how fresh reads of orders, fills, positions and balance are."""
        return (await self._caller.call(at.USER_DATA_TIMESTAMP, _user_data)).as_of_ns

    async def series(self, series_ticker: str) -> wire.Series:
        """Return one series with its fees."""
        names = {"series_ticker": series_ticker}
        return (await self._caller.call(at.SERIES, _series, names=names)).series

    async def series_fee_changes(
        self, series_ticker: str = "", *, historical: bool = False
    ) -> tuple[wire.SeriesFeeChange, ...]:
        """Return coming fee changes, of one series or all; with `historical` past ones too."""
        query = query_of(
            [("series_ticker", series_ticker), ("show_historical", historical or None)]
        )
        return (await self._caller.call(at.SERIES_FEE_CHANGES, _series_fees, query=query)).changes

    async def event_fee_changes(self, event_ticker: str = "") -> list[wire.EventFeeChange]:
        """Return fee overrides, of one event or all."""
        query = query_of([("event_ticker", event_ticker)])
        return await self._caller.pages(at.EVENT_FEE_CHANGES, _event_fees, query)

    async def events(
        self, series_ticker: str, *, status: str = "", with_markets: bool = True
    ) -> list[wire.Event]:
        """Return the events of one series; `status` is unopened, open, closed, settled or ""."""
        query = query_of(
            [
                ("series_ticker", series_ticker),
                ("status", status),
                ("with_nested_markets", with_markets or None),
                ("limit", EVENTS_PER_PAGE),
            ]
        )
        return await self._caller.pages(at.EVENTS, _events, query)

    async def event(self, event_ticker: str) -> wire.Event:
        """Return one event with its markets nested. Raises UnreadableError without them."""
        answer = await self._caller.call(
            at.EVENT,
            _event,
            names={"event_ticker": event_ticker},
            query=[("with_nested_markets", "true")],
        )
        if answer.event.markets is None:
            raise UnreadableError(f"GET /events/{event_ticker}", 200, "expected nested markets")
        return answer.event

    async def markets(
        self,
        *,
        event_ticker: str = "",
        series_ticker: str = "",
        tickers: tuple[str, ...] = (),
        status: str = "",
    ) -> list[wire.Market]:
        """Return the markets of one event, of one series, or by name.

        `status` filters by unopened, open, paused, closed or settled. Raises ValueError when
        nothing narrows the listing, which is huge.
        """
        if not (event_ticker or series_ticker or tickers):
            raise ValueError("markets: expected an event, a series or tickers")
        query = query_of(
            [
                ("event_ticker", event_ticker),
                ("series_ticker", series_ticker),
                ("tickers", ",".join(tickers)),
                ("status", status),
                ("limit", MARKETS_PER_PAGE),
            ]
        )
        return await self._caller.pages(at.MARKETS, _markets, query)

    async def market(self, ticker: str) -> wire.Market | None:
        """Return one market; None on 404, which also a market just created may give (§2.8)."""
        try:
            answer = await self._caller.call(at.MARKET, _market, names={"ticker": ticker})
        except RefusedError as refused:
            if refused.status == 404:
                return None
            raise
        return answer.market

    async def orderbook(self, ticker: str) -> wire.OrderBook:
        """Return the YES book of one market."""
        answer = await self._caller.call(at.ORDERBOOK, _book, names={"ticker": ticker})
        return wire.yes_book(ticker, answer.orderbook_fp)

    async def orderbooks(self, tickers: list[str]) -> list[wire.OrderBook]:
        """Return the YES books of many markets, a hundred for each call."""
        books: list[wire.OrderBook] = []
        for first in range(0, len(tickers), BOOKS_PER_CALL):
            query = [("tickers", ticker) for ticker in tickers[first : first + BOOKS_PER_CALL]]
            answer = await self._caller.call(at.ORDERBOOKS, _books, query=query)
            books.extend(wire.yes_book(one.ticker, one.orderbook_fp) for one in answer.orderbooks)
        return books
