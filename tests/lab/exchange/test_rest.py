"""REST behaviour that no recording shows: V1 writes, limits, redirects, bad bodies, pauses."""

import json
from pathlib import Path

import pytest

from tests.lab.exchange.harness import (
    API,
    EVENT,
    MARKET,
    ORDERS,
    RSA_ID,
    Exchange,
    S,
    order_body,
    running_exchange,
    sign_headers,
)
from tests.lab.exchange.schemas import check_object


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/portfolio/orders"),
        ("POST", "/portfolio/orders/batched"),
        ("DELETE", "/portfolio/orders/batched"),
        ("DELETE", "/portfolio/orders/abc"),
        ("POST", "/portfolio/orders/abc/amend"),
        ("POST", "/portfolio/orders/abc/decrease"),
    ],
)
async def test_v1_writes_are_gone(exchange: Exchange, method: str, path: str) -> None:
    answer = await exchange.call(method, path, {})
    assert answer.status_code == 410
    assert answer.json()["error"]["code"] == "deprecated_v1_order_endpoint"


async def test_paths(exchange: Exchange) -> None:
    assert (await exchange.call("GET", "/nothing/here")).status_code == 404
    assert (await exchange.call("PATCH", "/markets")).status_code == 405
    moved = await exchange.call("GET", "/markets/", key_id=None)
    assert (moved.status_code, moved.headers["location"]) == (301, f"{API}/markets")
    assert (await exchange.call("GET", "/markets/UNKNOWN")).status_code == 404
    assert (await exchange.call("GET", "/events/UNKNOWN")).status_code == 404
    assert (await exchange.call("GET", "/series/UNKNOWN")).status_code == 404
    unsigned = await exchange.call("GET", "/portfolio/balance", key_id=None)
    assert unsigned.status_code == 401


async def test_an_ask_is_the_no_side(exchange: Exchange) -> None:
    await exchange.call("POST", ORDERS, order_body(side="ask", price="0.6000"))
    book = (await exchange.call("GET", f"/markets/{MARKET}/orderbook")).json()
    assert book["orderbook_fp"] == {"yes_dollars": [], "no_dollars": [["0.4000", "10.00"]]}
    [order] = (await exchange.call("GET", "/portfolio/orders")).json()["orders"]
    assert (order["outcome_side"], order["book_side"]) == ("no", "ask")
    assert (order["yes_price_dollars"], order["no_price_dollars"]) == ("0.6000", "0.4000")
    market = (await exchange.call("GET", f"/markets/{MARKET}")).json()["market"]
    assert (market["yes_ask_dollars"], market["no_bid_dollars"]) == ("0.6000", "0.4000")
    assert (market["yes_bid_dollars"], market["yes_bid_size_fp"]) == ("0.0000", "0.00")
    assert market["no_ask_dollars"] == "1.0000"


async def test_the_book_lists_bids_with_the_best_last(exchange: Exchange) -> None:
    for price in (4_100, 4_300, 4_200):
        exchange.other_places("bid", price, 100)
        exchange.other_places("ask", price + 1_000, 200)
    book = (await exchange.call("GET", f"/markets/{MARKET}/orderbook?depth=2")).json()
    assert book["orderbook_fp"] == {
        "yes_dollars": [["0.4200", "1.00"], ["0.4300", "1.00"]],
        "no_dollars": [["0.4800", "2.00"], ["0.4900", "2.00"]],
    }


@pytest.mark.parametrize(
    ("body", "shape"),
    [
        (b"", "flat"),
        (b"{", "flat"),
        (b"[]", "flat"),
        (b'"text"', "flat"),
        (b"\xff\xfe", "flat"),
        (b"{}", "flat"),
        (json.dumps(order_body(side="yes")).encode(), "flat"),
        (json.dumps(order_body(post_only="yes")).encode(), "flat"),
        (json.dumps(order_body(expiration_time="soon")).encode(), "flat"),
        (json.dumps(order_body(expiration_time=10**30)).encode(), "flat"),
        (json.dumps(order_body(expiration_time=1)).encode(), "invalid_order"),
        (json.dumps(order_body(count="0.00")).encode(), "invalid_order_size"),
        (json.dumps(order_body(count="-1.00")).encode(), "invalid_order_size"),
        (json.dumps(order_body(count="1.001")).encode(), "invalid_order_size"),
        (json.dumps(order_body(price="1.0000")).encode(), "invalid_price"),
        (json.dumps(order_body(price="0.0000")).encode(), "invalid_price"),
        (json.dumps(order_body(price="x")).encode(), "invalid_price"),
        (json.dumps(order_body(ticker="NOPE")).encode(), "market_not_found"),
        (json.dumps(order_body(reduce_only=True)).encode(), "invalid_order"),
        (json.dumps(order_body(subaccount=1)).encode(), "forbidden"),
        (json.dumps(order_body(order_group_id="nope")).encode(), "not_found"),
    ],
)
async def test_bad_orders_get_a_shaped_4xx(exchange: Exchange, body: bytes, shape: str) -> None:
    answer = await exchange.call("POST", ORDERS, content=body)
    assert 400 <= answer.status_code < 500
    if shape == "flat":
        assert answer.json()["code"] == "bad_request"
        check_object("ErrorResponse", answer.json())
    else:
        assert answer.json()["error"]["code"] == shape


async def test_rate_limit_refuses_a_batch_that_does_not_fit_whole(tmp_path: Path) -> None:
    async with running_exchange(tmp_path, tier="basic") as exchange:
        batch = {"orders": [order_body(count="1.00", price="0.0100")] * 11}
        refused = await exchange.call("POST", f"{ORDERS}/batched", batch)
        assert (refused.status_code, refused.json()) == (429, {"error": "too many requests"})
        batch["orders"].pop()
        assert (await exchange.call("POST", f"{ORDERS}/batched", batch)).status_code == 201
        assert (await exchange.call("POST", ORDERS, order_body())).status_code == 429
        await exchange.clock.advance_to(exchange.clock.now_ns() + S // 10)
        assert (await exchange.call("POST", ORDERS, order_body())).status_code == 201


async def test_reads_without_a_key_are_limited_by_address(tmp_path: Path) -> None:
    async with running_exchange(tmp_path, reads_per_s=1.0) as exchange:
        codes = [
            (await exchange.call("GET", "/exchange/status", key_id=None)).status_code
            for _ in range(6)
        ]
        assert codes == [200] * 5 + [429]
        assert (await exchange.call("GET", "/exchange/status")).status_code == 200


async def test_pause_keeps_orders_and_lets_them_be_cancelled(exchange: Exchange) -> None:
    kept = (await exchange.call("POST", ORDERS, order_body())).json()["order_id"]
    gone = (await exchange.call("POST", ORDERS, order_body(cancel_order_on_pause=True))).json()
    now_ns = exchange.clock.now_ns()
    exchange.engine.set_pause(exchange_active=True, trading_active=False, now_ns=now_ns)
    status = (await exchange.call("GET", "/exchange/status")).json()
    assert (status["exchange_active"], status["trading_active"]) == (True, False)
    assert (await exchange.call("POST", ORDERS, order_body())).status_code == 503
    read = await exchange.call("GET", f"/portfolio/orders/{gone['order_id']}")
    assert read.json()["order"]["status"] == "canceled"
    assert (await exchange.call("DELETE", f"{ORDERS}/{kept}")).status_code == 200
    exchange.engine.set_pause(exchange_active=False, trading_active=False, now_ns=now_ns)
    assert (await exchange.call("DELETE", f"{ORDERS}/{kept}")).status_code == 503


async def test_orders_can_be_found_again(exchange: Exchange) -> None:
    for index in range(5):
        await exchange.call("POST", ORDERS, order_body(price=f"0.0{index + 1}00"))
    first = (await exchange.call("GET", "/portfolio/orders?limit=2&status=resting")).json()
    assert [order["yes_price_dollars"] for order in first["orders"]] == ["0.0500", "0.0400"]
    await exchange.call("POST", ORDERS, order_body(price="0.0900"))
    more = f"/portfolio/orders?limit=2&status=resting&cursor={first['cursor']}"
    second = (await exchange.call("GET", more)).json()
    assert [order["yes_price_dollars"] for order in second["orders"]] == ["0.0300", "0.0200"]
    of_event = (await exchange.call("GET", f"/portfolio/orders?event_ticker={EVENT}")).json()
    assert len(of_event["orders"]) == 6
    of_other = (await exchange.call("GET", "/portfolio/orders?event_ticker=OTHER")).json()
    assert of_other["orders"] == []


async def test_queue_position_counts_what_trades_first(exchange: Exchange) -> None:
    exchange.other_places("bid", 4_100, 300)
    exchange.other_places("bid", 4_000, 250)
    mine = (await exchange.call("POST", ORDERS, order_body())).json()["order_id"]
    exchange.other_places("bid", 4_000, 700)
    answer = await exchange.call("GET", f"/portfolio/orders/{mine}/queue_position")
    assert answer.json() == {"queue_position_fp": "5.50"}


async def test_one_key_does_not_see_anothers_orders(exchange: Exchange) -> None:
    from tests.lab.exchange.harness import ED_ID

    mine = (await exchange.call("POST", ORDERS, order_body())).json()["order_id"]
    for method, path in (
        ("GET", f"/portfolio/orders/{mine}"),
        ("DELETE", f"{ORDERS}/{mine}"),
        ("GET", f"/portfolio/orders/{mine}/queue_position"),
    ):
        answer = await exchange.call(method, path, key_id=ED_ID)
        assert answer.status_code == 404
    assert (await exchange.call("GET", "/portfolio/orders", key_id=ED_ID)).json()["orders"] == []


async def test_series_shows_the_fees_of_the_exchanges_own_day(exchange: Exchange) -> None:
    series = (await exchange.call("GET", "/series/KXINXU")).json()["series"]
    assert (series["fee_type"], series["fee_multiplier"]) == ("quadratic", 1.0)


async def test_too_large_a_body_is_refused(exchange: Exchange) -> None:
    path = API + ORDERS
    headers = sign_headers("POST", path, exchange.clock.now_ns(), RSA_ID)
    answer = await exchange.http.post(path, headers=headers, content=b" " * 3_000_000)
    assert answer.status_code == 400
    assert answer.json()["code"] == "bad_request"
