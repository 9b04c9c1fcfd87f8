"""Candlesticks: worked by hand, and all four reads against the official schemas."""

from pathlib import Path
from typing import Any

import pytest

from lab.exchange.candles import Candles
from tests.lab.exchange.harness import (
    EVENT,
    MARKET,
    ORDERS,
    START_NS,
    TARGET_NS,
    Exchange,
    S,
    order_body,
    running_exchange,
)
from tests.lab.exchange.schemas import check_answer, check_numbers

START_S = START_NS // S
ONE = f"/series/KXINXU/markets/{MARKET}/candlesticks"


def test_a_minute_has_its_opening_from_before_and_ends_with_its_last_nanosecond() -> None:
    candles = Candles()
    minute_ns = 60 * S
    start_ns = 1_000 * minute_ns
    candles.quote(start_ns + 1, 4_000, None)
    candles.quote(start_ns + 2, 4_100, 4_500)
    candles.trade(start_ns + 3, 4_500, 200, 200)
    candles.trade(start_ns + 4, 4_300, 100, 300)
    candles.quote(start_ns + minute_ns, 3_900, 4_500)  # still the first minute
    candles.quote(start_ns + minute_ns + 1, 4_200, 4_500)
    first, second = candles.periods(0, 10**9, 1)
    assert (first.end_s, second.end_s) == (60_060, 60_120)
    bid, ask, traded = first.bid, first.ask, first.traded
    assert (bid.open_e4, bid.low_e4, bid.high_e4, bid.close_e4) == (0, 0, 4_100, 3_900)
    assert (ask.open_e4, ask.low_e4, ask.high_e4, ask.close_e4) == (10_000, 4_500, 10_000, 4_500)
    assert traded is not None
    assert (traded.open_e4, traded.low_e4, traded.high_e4) == (4_500, 4_300, 4_500)
    assert (first.mean_e4, first.previous_e4, first.volume_e2) == (4_433, None, 300)
    assert (second.bid.open_e4, second.bid.close_e4) == (3_900, 4_200)
    assert (second.traded, second.previous_e4, second.mean_e4) == (None, 4_300, None)
    assert (second.volume_e2, second.open_interest_e2) == (0, 300)


def test_an_hour_is_what_its_minutes_were() -> None:
    candles = Candles()
    hour_ns = 3600 * S
    for minute, price_e4 in ((1, 5_000), (20, 3_000), (59, 4_000), (61, 6_000)):
        at_ns = 10 * hour_ns + minute * 60 * S
        candles.quote(at_ns, price_e4 - 100, price_e4 + 100)
        candles.trade(at_ns, price_e4, 100, 100 * minute)
    first, second = candles.periods(0, 10**9, 60)
    assert (first.end_s, second.end_s) == (11 * 3600, 12 * 3600)
    assert first.traded is not None
    traded = first.traded
    assert (traded.open_e4, traded.low_e4, traded.high_e4, traded.close_e4) == (
        5_000,
        3_000,
        5_000,
        4_000,
    )
    assert (first.mean_e4, first.volume_e2, first.open_interest_e2) == (4_000, 300, 5_900)
    assert (second.previous_e4, second.volume_e2) == (4_000, 100)
    assert len(candles.periods(0, 10**9, 1)) == 4, "the minutes are as they were"
    assert candles.periods(11 * 3600, 11 * 3600, 60) == [first], "both ends belong to it"


async def busy(exchange: Exchange) -> None:
    """Trade in the first minute and quote in the third."""
    await exchange.clock.advance_to(START_NS + S)
    exchange.other_places("ask", 4_000, 500)
    await exchange.call("POST", ORDERS, order_body(count="2.00"))
    await exchange.clock.advance_to(START_NS + 130 * S)
    exchange.other_places("bid", 3_000, 100)


async def read(exchange: Exchange, path: str, target: str) -> Any:
    answer = await exchange.call("GET", target, key_id=None)
    assert answer.status_code == 200, answer.text
    check_answer("GET", path, 200, answer.json())
    check_numbers(answer.json())
    return answer.json()


async def test_the_reads_agree(exchange: Exchange) -> None:
    await busy(exchange)
    time = f"start_ts={START_S}&end_ts={START_S + 600}&period_interval=1"
    path = "/series/{series_ticker}/markets/{ticker}/candlesticks"
    one = await read(exchange, path, f"{ONE}?{time}")
    ends = [candle["end_period_ts"] for candle in one["candlesticks"]]
    assert ends == [START_S + 60, START_S + 180]
    first, third = one["candlesticks"]
    assert first["price"]["close_dollars"] == first["price"]["mean_dollars"] == "0.4000"
    assert (first["volume_fp"], first["open_interest_fp"]) == ("2.00", "2.00")
    assert third["price"]["open_dollars"] is None
    assert third["price"]["previous_dollars"] == "0.4000"
    assert third["yes_bid"]["open_dollars"] == "0.0000"
    assert third["yes_bid"]["close_dollars"] == "0.3000"
    batch = f"/markets/candlesticks?market_tickers={MARKET},UNKNOWN&{time}"
    [market] = (await read(exchange, "/markets/candlesticks", batch))["markets"]
    assert market == {"market_ticker": MARKET, "candlesticks": one["candlesticks"]}
    path = "/series/{series_ticker}/events/{ticker}/candlesticks"
    event = await read(exchange, path, f"/series/KXINXU/events/{EVENT}/candlesticks?{time}")
    index = event["market_tickers"].index(MARKET)
    assert event["market_candlesticks"][index] == one["candlesticks"]
    assert event["adjusted_end_ts"] == START_S + 600


async def test_the_latest_candle_before_the_start_is_carried_on(exchange: Exchange) -> None:
    await busy(exchange)
    time = f"start_ts={START_S + 90}&end_ts={START_S + 600}&period_interval=1"
    path = "/series/{series_ticker}/markets/{ticker}/candlesticks"
    target = f"{ONE}?{time}&include_latest_before_start=true"
    carried, third = (await read(exchange, path, target))["candlesticks"]
    assert (carried["end_period_ts"], third["end_period_ts"]) == (START_S + 120, START_S + 180)
    assert carried["price"]["close_dollars"] is None
    assert carried["price"]["previous_dollars"] == "0.4000"
    assert carried["yes_ask"]["open_dollars"] == carried["yes_ask"]["close_dollars"] == "0.4000"
    assert (carried["volume_fp"], carried["open_interest_fp"]) == ("0.00", "2.00")


@pytest.mark.parametrize(
    "query",
    [
        "",
        "start_ts=1&end_ts=2",
        "start_ts=1&end_ts=2&period_interval=2",
        "start_ts=2&end_ts=1&period_interval=1",
        "start_ts=0&end_ts=1000000&period_interval=1",
        "start_ts=x&end_ts=1&period_interval=1",
    ],
)
async def test_bad_queries_are_refused(exchange: Exchange, query: str) -> None:
    for path in (ONE, "/markets/candlesticks"):
        target = f"{path}?market_tickers={MARKET}&{query}"
        assert (await exchange.call("GET", target, key_id=None)).status_code == 400


async def test_unknown_places_are_not_found(exchange: Exchange) -> None:
    time = "start_ts=1&end_ts=2&period_interval=1"
    for path in (
        f"/series/KXINX/markets/{MARKET}/candlesticks",
        "/series/KXINXU/markets/UNKNOWN/candlesticks",
        f"/series/KXINX/events/{EVENT}/candlesticks",
        f"/historical/markets/{MARKET}/candlesticks",
    ):
        assert (await exchange.call("GET", f"{path}?{time}", key_id=None)).status_code == 404


async def test_an_archived_market_shows_its_candles_in_the_historical_read(
    tmp_path: Path,
) -> None:
    async with running_exchange(tmp_path, history_kept_s=60.0) as exchange:
        await busy(exchange)
        exchange.levels["I:SPX"] = 78_700_000
        await exchange.clock.advance_to(TARGET_NS + 70 * S)
        time = f"start_ts={START_S}&end_ts={TARGET_NS // S}&period_interval=60"
        path = "/historical/markets/{ticker}/candlesticks"
        answer = await read(exchange, path, f"/historical/markets/{MARKET}/candlesticks?{time}")
        [hour] = answer["candlesticks"]
        assert (hour["price"]["close"], hour["volume"]) == ("0.4000", "2.00")
        assert hour["yes_bid"]["high"] == "0.3000"
        assert (await exchange.call("GET", f"{ONE}?{time}", key_id=None)).status_code == 404
