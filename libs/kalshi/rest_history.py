"""Reads of what is past: trades, candlesticks, and all that lies beyond the historical cutoff.

A record is under /historical once it is older than `historical_cutoff()`, and nowhere else.
"""

from libs.kalshi import endpoints as at
from libs.kalshi.caller import Caller, query_of
from libs.kalshi.endpoints import Endpoint
from libs.kalshi.fields import NS_PER_S, decoder
from libs.kalshi.rest_market import MARKETS_PER_PAGE
from libs.kalshi.rest_portfolio import PER_PAGE, second_before
from libs.kalshi.wire import history as wire
from libs.kalshi.wire import market, portfolio

CANDLESTICK_TICKERS_MAX = 100
CANDLESTICK_MINUTES = (1, 60, 1440)

_cutoff = decoder(wire.HistoricalCutoff)
_trades = decoder(wire.TradesPage)
_candlesticks = decoder(wire.CandlesticksAnswer)
_markets = decoder(market.MarketsPage)
_fills = decoder(portfolio.FillsPage)
_orders = decoder(portfolio.OrdersPage)
_positions = decoder(portfolio.PositionsPage)


class HistoryReads:
    """All raise KalshiError (errors.py); `since_ns` as in PortfolioReads."""

    _caller: Caller

    async def trades(
        self, ticker: str, *, since_ns: int | None = None, until_ns: int | None = None
    ) -> list[wire.PublicTrade]:
        """Return the prints of one market since the cutoff, newest first."""
        return await self._trades(at.TRADES, ticker, since_ns, until_ns)

    async def candlesticks(
        self, tickers: tuple[str, ...], *, since_ns: int, until_ns: int, minutes: int = 1
    ) -> tuple[wire.MarketCandlesticks, ...]:
        """Return the periods of 1, 60 or 1440 minutes of up to 100 markets."""
        if not 0 < len(tickers) <= CANDLESTICK_TICKERS_MAX or minutes not in CANDLESTICK_MINUTES:
            raise ValueError(
                f"candlesticks: expected 1 to {CANDLESTICK_TICKERS_MAX} tickers and"
                f" {CANDLESTICK_MINUTES} minutes, got {len(tickers)} and {minutes}"
            )
        query = query_of(
            [
                ("market_tickers", ",".join(tickers)),
                ("start_ts", second_before(since_ns)),
                ("end_ts", -(-until_ns // NS_PER_S)),
                ("period_interval", minutes),
            ]
        )
        return (await self._caller.call(at.CANDLESTICKS, _candlesticks, query=query)).markets

    async def historical_cutoff(self) -> wire.HistoricalCutoff:
        """Return the times before which records are under /historical."""
        return await self._caller.call(at.HISTORICAL_CUTOFF, _cutoff)

    async def historical_markets(self, *, event_ticker: str) -> list[market.Market]:
        """Return the markets of an event that settled before the cutoff."""
        query = query_of([("event_ticker", event_ticker), ("limit", MARKETS_PER_PAGE)])
        return await self._caller.pages(at.HISTORICAL_MARKETS, _markets, query)

    async def historical_trades(
        self, ticker: str, *, since_ns: int | None = None, until_ns: int | None = None
    ) -> list[wire.PublicTrade]:
        """Return the prints of one market before the cutoff."""
        return await self._trades(at.HISTORICAL_TRADES, ticker, since_ns, until_ns)

    async def historical_fills(
        self, *, ticker: str = "", since_ns: int | None = None
    ) -> list[portfolio.Fill]:
        """Return our fills before the cutoff."""
        query = _since(ticker, since_ns)
        return await self._caller.pages(at.HISTORICAL_FILLS, _fills, query)

    async def historical_orders(
        self, *, ticker: str = "", since_ns: int | None = None
    ) -> list[portfolio.Order]:
        """Return our orders that were finished before the cutoff."""
        query = _since(ticker, since_ns)
        return await self._caller.pages(at.HISTORICAL_ORDERS, _orders, query)

    async def historical_positions(self, *, event_ticker: str = "") -> list[portfolio.Position]:
        """Return our settled positions that were moved out of `positions`."""
        query = query_of([("event_ticker", event_ticker), ("limit", PER_PAGE)])
        return await self._caller.pages(at.HISTORICAL_POSITIONS, _positions, query)

    async def _trades(
        self, endpoint: Endpoint, ticker: str, since_ns: int | None, until_ns: int | None
    ) -> list[wire.PublicTrade]:
        if not ticker:
            raise ValueError("trades: expected a market, the exchange's whole tape is huge")
        until_s = None if until_ns is None else -(-until_ns // NS_PER_S)
        query = [*_since(ticker, since_ns), *query_of([("max_ts", until_s)])]
        return await self._caller.pages(endpoint, _trades, query)


def _since(ticker: str, since_ns: int | None) -> list[tuple[str, str]]:
    return query_of([("ticker", ticker), ("min_ts", second_before(since_ns)), ("limit", PER_PAGE)])
