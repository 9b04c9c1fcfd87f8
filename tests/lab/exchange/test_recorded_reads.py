"""More recorded answers as golden cases, and what became of every recording."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.lab.exchange.harness import (
    MARKET,
    ORDERS,
    TARGET_NS,
    Exchange,
    S,
    open_socket,
    order_body,
)
from tests.lab.exchange.test_recorded import recorded
from tests.shared_data import shared_file

# Keys that the exchange has taken away since June 2026, or that only other kinds of markets have
OLDER = {
    *("fractional_trading_enabled", "liquidity_dollars", "response_price_units", "is_provisional"),
    *("custom_strike", "mve_collection_ticker", "mve_selected_legs", "early_close_condition"),
    "occurrence_datetime",
}
NEWER = {"exchange_index", "settlement_bounds_type", "subtitle", "floor_strike", "cap_strike"}

NOT_GOLDEN = {
    "auth__balance_alt_host": "another host name for the same answer as auth__balance_ok",
    "orders__legacy_create": "V1 writes answer 410 since late June",
    "orders__legacy_cancel": "V1 writes answer 410 since late June",
    "orders__get_after_cancel": "a stale read: a fault on demand, judged in test_faults.py",
    "session__manifest": "a list of the recordings, no answer",
}


@pytest.mark.parametrize(
    ("status", "after_s", "name", "result"),
    [
        ("open", -900, "markets__status_open", False),
        ("closed", 1, "markets__status_closed", True),
        ("settled", 10, "markets__status_settled", True),
    ],
)
async def test_status_filters_and_the_statuses_they_mean(
    exchange: Exchange, status: str, after_s: int, name: str, result: bool
) -> None:
    exchange.levels["I:SPX"] = 78_700_000
    await exchange.clock.advance_to(TARGET_NS + after_s * S)
    _, old = recorded(name)
    found = await exchange.call("GET", f"/markets?status={status}&limit=5", key_id=None)
    markets = found.json()["markets"]
    assert len(markets) == 5
    assert {market["status"] for market in markets} == {each["status"] for each in old["markets"]}
    shown = [set(each) for each in old["markets"]]
    for market in markets:
        assert set(market) - NEWER - {"strike_type"} - set.union(*shown) == set()
        assert set.intersection(*shown) - set(market) - OLDER == set()
        assert bool(market["result"]) == result


async def test_a_filter_by_ticker_is_one_page(exchange: Exchange) -> None:
    _, old = recorded("markets__single_filter_lastpage")
    found = (await exchange.call("GET", f"/markets?tickers={MARKET}")).json()
    assert len(found["markets"]) == len(old["markets"]) == 1
    assert found["cursor"] == old["cursor"] == ""


@pytest.mark.parametrize(
    ("target", "name"),
    [
        ("/markets?limit=2", "markets__unauth_list"),
        (f"/markets/{MARKET}", "markets__unauth_single"),
    ],
)
async def test_public_reads_need_no_key(exchange: Exchange, target: str, name: str) -> None:
    status, old = recorded(name)
    found = await exchange.call("GET", target, key_id=None)
    assert (found.status_code, set(found.json())) == (status, set(old))


async def test_pages_follow_each_other_as_recorded(exchange: Exchange) -> None:
    seen: list[str] = []
    cursor = ""
    for name in ("markets__page1", "markets__page2"):
        _, old = recorded(name)
        page = (await exchange.call("GET", f"/markets?limit=5&cursor={cursor}")).json()
        assert set(page) == set(old)
        assert len(page["markets"]) == len(old["markets"]) == 5
        seen += [market["ticker"] for market in page["markets"]]
        cursor = page["cursor"]
        if name == "markets__page1":
            assert cursor
            assert old["cursor"]
    assert len(set(seen)) == 10
    old_tickers = [
        market["ticker"]
        for name in ("markets__page1", "markets__page2", "markets__page3")
        for market in recorded(name)[1]["markets"]
    ]
    assert len(set(old_tickers)) == 15
    garbage = recorded("markets__garbage_cursor")
    answer = await exchange.call("GET", "/markets?limit=5&cursor=garbage-cursor-fixture")
    assert answer.status_code == garbage[0]
    assert [market["ticker"] for market in answer.json()["markets"]] == seen[:5]


async def test_the_legs_of_a_partition_have_the_bounds_of_their_kind(exchange: Exchange) -> None:
    def kinds(markets: list[dict[str, Any]]) -> set[tuple[str, bool, bool]]:
        return {
            (market["strike_type"], "floor_strike" in market, "cap_strike" in market)
            for market in markets
        }

    recording = shared_file("kalshi/recorded/markets__high_temp.json")
    old = json.loads(recording.read_text("utf-8"))["markets"]
    found = (await exchange.call("GET", "/markets?series_ticker=KXINX")).json()["markets"]
    assert kinds(found) == kinds(old)
    for market in (*old, *found):
        letter = market["ticker"].rsplit("-", 1)[1][0]
        assert letter == ("B" if market["strike_type"] == "between" else "T")
        strikes = [market[name] for name in ("floor_strike", "cap_strike") if name in market]
        assert all(isinstance(strike, int | float) for strike in strikes)


async def test_orders_fills_and_cancels_of_a_session(exchange: Exchange) -> None:
    exchange.other_places("ask", 5_200, 300)
    maker = (await exchange.call("POST", ORDERS, order_body(price="0.0100", count="1.00"))).json()
    cancelled = await exchange.call("DELETE", f"{ORDERS}/{maker['order_id']}")
    status, old = recorded("cleanup__stp_resting")
    assert cancelled.status_code == status
    assert set(cancelled.json()) - {"client_order_id"} == set(old)
    body = order_body(price="0.9900", count="1.00", time_in_force="immediate_or_cancel")
    taken = await exchange.call("POST", ORDERS, body)
    status, old = recorded("orders__settlement_seed")
    assert (taken.status_code, set(taken.json())) == (status, set(old))
    for key in ("average_fee_paid", "average_fill_price", "fill_count", "remaining_count"):
        assert taken.json()[key] == old[key]
    for name in ("cleanup__leftover_0", "cleanup__leftover_1", "cleanup__leftover_2"):
        gone = await exchange.call("DELETE", f"{ORDERS}/{taken.json()['order_id']}")
        assert (gone.status_code, gone.json()) == recorded(name)
    listed = (await exchange.call("GET", "/portfolio/orders?limit=10")).json()
    _, old = recorded("portfolio__orders_list")
    assert set(listed) == set(old)
    for order, like in zip(listed["orders"], old["orders"], strict=False):
        assert set(order) - {"exchange_index", "cancel_order_on_pause"} == set(like)
        same = set(order) & set(like) - {"order_id", "user_id", "client_order_id", "ticker"}
        for key in same - {"created_time", "last_update_time"}:
            assert order[key] == like[key], key
    none = (await exchange.call("GET", "/portfolio/settlements?limit=10")).json()
    assert none == recorded("settlements__end_of_session")[1]


async def test_yes_prices_on_the_wire_as_recorded(exchange: Exchange) -> None:
    text = shared_file("kalshi/recorded/ws__orderbook_trade_yes.jsonl").read_text("utf-8")
    old = [json.loads(line) for line in text.splitlines() if line.strip()]
    exchange.other_places("bid", 4_700, 300)
    ask = exchange.other_places("ask", 5_200, 100)
    async with open_socket(exchange) as socket:
        frames = await socket.subscribe(
            "orderbook_delta", "trade", market_tickers=[MARKET], use_yes_price=True
        )
        exchange.engine.cancel("maker", ask.order_id, exchange.clock.now_ns())
        exchange.other_places("ask", 5_200, 200)
        frames += await socket.rest()
    kinds = ("orderbook_snapshot", "orderbook_delta")
    ours = [frame for frame in frames if frame["type"] in kinds]
    theirs = [frame for frame in old if frame["type"] in kinds]
    assert len(ours) == len(theirs) == 3
    changing = {"market_ticker", "market_id", "clock", "ts", "ts_ms"}
    for frame, like in zip(ours, theirs, strict=True):
        assert (frame["type"], frame["sid"], frame["seq"]) == (
            like["type"],
            like["sid"],
            like["seq"],
        )
        shown = {key: value for key, value in frame["msg"].items() if key not in changing}
        assert shown == {key: like["msg"][key] for key in like["msg"] if key not in changing}


def test_every_recording_is_a_golden_case_or_says_why_not() -> None:
    files = shared_file("kalshi/recorded/session__manifest.meta.json").parent.glob("*.meta.json")
    names = {path.name.removesuffix(".meta.json") for path in files}
    here = Path(__file__).parent
    used: set[str] = set()
    for path in here.glob("test_*.py"):
        used |= set(re.findall(r'["/]([a-z]+__\w+)(?:\.jsonl)?"', path.read_text("utf-8")))
    assert set(NOT_GOLDEN) <= names
    assert names - used == set()
