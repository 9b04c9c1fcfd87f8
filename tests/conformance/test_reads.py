"""Public reads: exchange, series, events, markets, books, trades, candles, limits, history."""

import time
from datetime import datetime
from typing import Any

import pytest

from tests.conformance.cases import case
from tests.conformance.market import NESTED, PARTITION, open_markets, until, wide_market
from tests.conformance.sdk import Sdk


@case("C01", "GetExchangeStatus", "GetExchangeSchedule", "GetUserDataTimestamp")
async def test_exchange(sdk: Sdk) -> None:
    """The exchange is open, has a schedule, and tells how fresh its user data is."""
    status = await sdk.ask("GetExchangeStatus")
    assert (status["exchange_active"], status["trading_active"]) == (True, True)
    schedule = (await sdk.ask("GetExchangeSchedule"))["schedule"]
    assert len(schedule["standard_hours"]) >= 1
    fresh = datetime.fromisoformat((await sdk.ask("GetUserDataTimestamp"))["as_of_time"])
    assert abs(fresh.timestamp() - time.time()) < 60


@case("C02", "GetSeries", "GetSeriesList", "GetSeriesFeeChanges")
async def test_series(sdk: Sdk) -> None:
    """Series one by one and all together, with today's fees and those that came before."""
    listed = {each["ticker"]: each for each in (await sdk.ask("GetSeriesList"))["series"]}
    assert {NESTED, PARTITION, "KXNASDAQ100U"} <= set(listed)
    one = (await sdk.ask("GetSeries", series_ticker=NESTED))["series"]
    assert one == listed[NESTED]
    # kalshi-api.md section 5: index series are quadratic times one since 3 July 2026.
    assert (one["fee_type"], one["fee_multiplier"]) == ("quadratic", 1)
    changes = await sdk.ask("GetSeriesFeeChanges", series_ticker=NESTED, show_historical=True)
    assert "2026-07-03T17:00:00Z" in [
        change["scheduled_ts"] for change in changes["series_fee_change_arr"]
    ]


@case("C03", "GetEvents", "GetEvent", "GetEventFeeChanges")
async def test_events(sdk: Sdk) -> None:
    """Both kinds of ladder: nested thresholds and a partition, with their collateral return."""
    for series, kind, exclusive in ((NESTED, "DIRECNET", False), (PARTITION, "MECNET", True)):
        page = await sdk.ask("GetEvents", series_ticker=series, status="open", limit=10)
        event = page["events"][0]
        assert "markets" not in event
        assert event["collateral_return_type"] == kind
        assert event["mutually_exclusive"] is exclusive
        ticker = event["event_ticker"]
        nested = await sdk.ask("GetEvent", event_ticker=ticker, with_nested_markets=True)
        types = {market["strike_type"] for market in nested["event"]["markets"]}
        assert types == ({"less", "between", "greater"} if exclusive else {"greater"})
        listed = await sdk.ask("GetEvents", tickers=ticker, with_nested_markets=True, limit=1)
        assert len(listed["events"][0]["markets"]) == len(nested["event"]["markets"])
    await sdk.ask("GetEventFeeChanges", limit=5)


@case("C04", "GetMarkets")
async def test_market_pages(sdk: Sdk) -> None:
    """Pages by cursor show each market once and end with an empty cursor."""
    wanted = [market["ticker"] for market in await open_markets(sdk)]
    seen: list[str] = []
    cursor = None
    for _ in range(20):
        page = await sdk.ask(
            "GetMarkets", series_ticker=NESTED, status="open", limit=25, cursor=cursor
        )
        assert len(page["markets"]) <= 25
        seen += [market["ticker"] for market in page["markets"]]
        cursor = page["cursor"]
        if not cursor:
            break
    assert cursor == ""
    assert seen == wanted
    assert len(set(seen)) == len(seen)


@case("C05", "GetMarkets", "GetMarket")
async def test_markets(sdk: Sdk) -> None:
    """One market as it is listed; quotes mirror, and the grid is where prices may be."""
    market = await wide_market(sdk)
    ticker = market["ticker"]
    one = (await sdk.ask("GetMarket", ticker=ticker))["market"]
    assert (one["ticker"], one["status"], one["result"]) == (ticker, "active", "")
    assert one["price_ranges"] == [{"start": "0.0000", "end": "1.0000", "step": "0.0100"}]
    assert float(one["no_bid_dollars"]) == pytest.approx(1 - float(one["yes_ask_dollars"]))
    assert float(one["no_ask_dollars"]) == pytest.approx(1 - float(one["yes_bid_dollars"]))
    by_ticker = await sdk.ask("GetMarkets", tickers=ticker)
    assert [each["ticker"] for each in by_ticker["markets"]] == [ticker]
    unopened = await sdk.ask("GetMarkets", series_ticker=NESTED, status="unopened", limit=5)
    assert {each["status"] for each in unopened["markets"]} == {"initialized"}
    assert {"floor_strike", "cap_strike"} & set(one) == {"floor_strike"}


@case("C06", "GetMarketOrderbook", "GetMarketOrderbooks")
async def test_order_books(sdk: Sdk) -> None:
    """Bids only on both sides, best last; depth cuts the worst; many books in one call."""
    market = await wide_market(sdk)
    ticker = market["ticker"]
    book = (await sdk.ask("GetMarketOrderbook", ticker=ticker))["orderbook_fp"]
    for side in ("yes_dollars", "no_dollars"):
        prices = [float(price) for price, _ in book[side]]
        assert prices, f"{ticker}: {side} is empty"
        assert prices == sorted(prices)
    shallow = (await sdk.ask("GetMarketOrderbook", ticker=ticker, depth=1))["orderbook_fp"]
    assert [len(shallow["yes_dollars"]), len(shallow["no_dollars"])] == [1, 1]
    tickers = [each["ticker"] for each in (await open_markets(sdk))[:3]]
    many = await sdk.ask("GetMarketOrderbooks", tickers=tickers)
    assert [each["ticker"] for each in many["orderbooks"]] == tickers


@case("C07", "GetTrades")
async def test_trades(sdk: Sdk) -> None:
    """Participants trade; newest first, by page, by market, by time."""
    page = await until(lambda: sdk.ask("GetTrades", limit=2), lambda page: len(page["trades"]) == 2)
    newest = page["trades"]
    later, earlier = [datetime.fromisoformat(trade["created_time"]) for trade in newest]
    assert later >= earlier
    for trade in newest:
        prices = float(trade["yes_price_dollars"]) + float(trade["no_price_dollars"])
        assert prices == pytest.approx(1.0)
    ticker = newest[0]["ticker"]
    of_market = await sdk.ask("GetTrades", ticker=ticker, limit=10)
    assert {trade["ticker"] for trade in of_market["trades"]} == {ticker}
    before = await sdk.ask("GetTrades", max_ts=int(time.time()) - 86_400)
    assert before["trades"] == []


@case(
    "C08",
    "GetMarketCandlesticks",
    "BatchGetMarketCandlesticks",
    "GetMarketCandlesticksByEvent",
)
async def test_candlesticks(sdk: Sdk) -> None:
    """Minutes and hours of a market, of several and of an event tell of the same trades."""
    page = await until(lambda: sdk.ask("GetTrades", limit=1), lambda page: page["trades"])
    ticker = page["trades"][0]["ticker"]
    market = (await sdk.ask("GetMarket", ticker=ticker))["market"]
    event = market["event_ticker"]
    series = event.partition("-")[0]
    now_s = int(time.time())
    stretch: dict[str, Any] = {"start_ts": now_s - 3_600, "end_ts": now_s + 3_600}
    volumes = []
    for minutes in (1, 60):
        found = await sdk.ask(
            "GetMarketCandlesticks",
            series_ticker=series,
            ticker=ticker,
            period_interval=minutes,
            include_latest_before_start=True,
            **stretch,
        )
        ends = [candle["end_period_ts"] for candle in found["candlesticks"]]
        assert ends == sorted(ends)
        assert {end % (60 * minutes) for end in ends} == {0}
        volumes.append(sum(float(candle["volume_fp"]) for candle in found["candlesticks"]))
        if minutes == 60:
            batch = await sdk.ask(
                "BatchGetMarketCandlesticks",
                market_tickers=ticker,
                period_interval=minutes,
                **stretch,
            )
            assert [each["market_ticker"] for each in batch["markets"]] == [ticker]
    assert float(market["volume_fp"]) <= volumes[0] <= volumes[1]
    whole = await sdk.ask(
        "GetMarketCandlesticksByEvent",
        series_ticker=series,
        ticker=event,
        period_interval=60,
        **stretch,
    )
    assert ticker in whole["market_tickers"]
    assert len(whole["market_tickers"]) == len(whole["market_candlesticks"])


@case("C09", "GetAccountApiLimits", "GetAccountEndpointCosts")
async def test_limits(sdk: Sdk) -> None:
    """The tier's buckets and the calls that do not cost ten tokens (kalshi-api.md 2.6)."""
    limits = await sdk.ask("GetAccountApiLimits")
    assert limits["usage_tier"] == "prestige"
    assert (limits["read"]["refill_rate"], limits["write"]["refill_rate"]) == (12_000, 9_600)
    assert limits["write"]["bucket_capacity"] == 3 * 9_600
    costs = await sdk.ask("GetAccountEndpointCosts")
    assert costs["default_cost"] == 10
    by_call = {(each["method"], each["path"]): each["cost"] for each in costs["endpoint_costs"]}
    assert by_call["DELETE", "/trade-api/v2/portfolio/events/orders"] == 2
