"""Every REST endpoint's answer against the official OpenAPI document."""

import pytest

from tests.lab.exchange.harness import EVENT, MARKET, ORDERS, TARGET_NS, Exchange, S, order_body
from tests.lab.exchange.schemas import check_answer, check_numbers

READS = [
    ("/exchange/status", "/exchange/status"),
    ("/exchange/schedule", "/exchange/schedule"),
    ("/exchange/user_data_timestamp", "/exchange/user_data_timestamp"),
    ("/account/endpoint_costs", "/account/endpoint_costs"),
    ("/account/limits", "/account/limits"),
    ("/series", "/series"),
    ("/series/fee_changes", "/series/fee_changes?show_historical=true"),
    ("/series/{series_ticker}", "/series/KXINXU"),
    ("/events", "/events?with_nested_markets=true&status=open"),
    ("/events/fee_changes", "/events/fee_changes"),
    ("/events/{event_ticker}", f"/events/{EVENT}"),
    ("/events/{event_ticker}", f"/events/{EVENT}?with_nested_markets=true"),
    ("/markets", f"/markets?event_ticker={EVENT}&status=open"),
    ("/markets", "/markets?series_ticker=KXINX&limit=2"),
    ("/markets/{ticker}", f"/markets/{MARKET}"),
    ("/markets/{ticker}/orderbook", f"/markets/{MARKET}/orderbook?depth=5"),
    ("/markets/orderbooks", f"/markets/orderbooks?tickers={MARKET}&tickers={EVENT}-T7879.9999"),
    ("/markets/trades", f"/markets/trades?ticker={MARKET}"),
    ("/historical/cutoff", "/historical/cutoff"),
    ("/historical/markets", f"/historical/markets?event_ticker={EVENT}"),
    ("/historical/trades", "/historical/trades"),
    ("/historical/orders", "/historical/orders"),
    ("/historical/fills", "/historical/fills"),
    ("/historical/positions", "/historical/positions"),
    ("/portfolio/balance", "/portfolio/balance"),
    ("/portfolio/positions", "/portfolio/positions"),
    ("/portfolio/fills", "/portfolio/fills"),
    ("/portfolio/settlements", "/portfolio/settlements"),
    ("/portfolio/orders", "/portfolio/orders"),
    (
        "/portfolio/orders/queue_positions",
        f"/portfolio/orders/queue_positions?event_ticker={EVENT}",
    ),
    (
        "/portfolio/summary/total_resting_order_value",
        "/portfolio/summary/total_resting_order_value",
    ),
]


async def trade_something(exchange: Exchange) -> str:
    """Make the account own a fill, a position and a resting order; return the order's id."""
    exchange.other_places("ask", 4_500, 500)
    exchange.other_places("ask", 4_700, 500)
    answer = await exchange.call("POST", ORDERS, order_body(price="0.4500", count="8.00"))
    assert answer.status_code == 201, answer.text
    order_id: str = answer.json()["order_id"]
    return order_id


@pytest.mark.parametrize(("path", "target"), READS)
async def test_reads_match_the_official_schema(exchange: Exchange, path: str, target: str) -> None:
    await trade_something(exchange)
    answer = await exchange.call("GET", target)
    assert answer.status_code == 200, answer.text
    check_answer("GET", path, 200, answer.json())
    check_numbers(answer.json())
    assert answer.headers["date"] == "Fri, 02 Oct 2026 14:45:00 GMT"


async def test_order_writes_match_the_official_schema(exchange: Exchange) -> None:
    order_id = await trade_something(exchange)
    one = f"/portfolio/orders/{order_id}"
    for path, target in (
        ("/portfolio/orders/{order_id}", one),
        ("/portfolio/orders/{order_id}/queue_position", f"{one}/queue_position"),
    ):
        answer = await exchange.call("GET", target)
        assert answer.status_code == 200, answer.text
        check_answer("GET", path, 200, answer.json())
    path = f"{ORDERS}/{{order_id}}"
    target = f"{ORDERS}/{order_id}"
    amended = order_body(price="0.4400", count="8.00")
    for method, schema, url, body, status in (
        ("POST", f"{path}/amend", f"{target}/amend", amended, 200),
        ("POST", f"{path}/decrease", f"{target}/decrease", {"reduce_by": "1.00"}, 200),
        ("DELETE", path, target, None, 200),
        ("DELETE", path, target, None, 404),
        ("POST", ORDERS, ORDERS, order_body(), 201),
        ("POST", ORDERS, ORDERS, order_body(client_order_id="x"), 201),
        ("POST", ORDERS, ORDERS, order_body(client_order_id="x"), 409),
        ("POST", ORDERS, ORDERS, order_body(price="0.4050"), 400),
        ("DELETE", ORDERS, ORDERS, None, 204),
    ):
        answer = await exchange.call(method, url, body)
        assert answer.status_code == status, answer.text
        if status < 400 and answer.content:
            check_answer(method, schema, status, answer.json())


async def test_batches_match_the_official_schema(exchange: Exchange) -> None:
    exchange.other_places("ask", 4_500, 500)
    batched = f"{ORDERS}/batched"
    orders = [order_body(), order_body(price="0.4550"), order_body(price="0.45", count="2")]
    created = await exchange.call("POST", batched, {"orders": orders})
    assert created.status_code == 201, created.text
    check_answer("POST", batched, 201, created.json())
    first, second, third = created.json()["orders"]
    assert first["fill_count"] == "0.00"
    assert second["error"] == {"code": "invalid_price", "message": "invalid price"}
    assert second["fill_count"] is None
    assert third["average_fill_price"] == "0.4500"
    wanted = [{"order_id": first["order_id"]}, {"order_id": third["order_id"]}]
    cancelled = await exchange.call("DELETE", batched, {"orders": wanted})
    assert cancelled.status_code == 200, cancelled.text
    check_answer("DELETE", batched, 200, cancelled.json())
    assert [order["reduced_by"] for order in cancelled.json()["orders"]] == ["10.00", "0.00"]
    assert cancelled.json()["orders"][1]["error"]["code"] == "not_found"


async def test_settled_reads_match_the_official_schema(exchange: Exchange) -> None:
    await trade_something(exchange)
    exchange.levels["I:SPX"] = 78_700_000
    await exchange.clock.advance_to(TARGET_NS + 5 * S)
    answer = await exchange.call("GET", "/portfolio/settlements")
    check_answer("GET", "/portfolio/settlements", 200, answer.json())
    check_numbers(answer.json())
    [settled] = answer.json()["settlements"]
    assert (settled["market_result"], settled["revenue"], settled["value"]) == ("yes", 500, 100)
    market = (await exchange.call("GET", f"/markets/{MARKET}")).json()
    check_answer("GET", "/markets/{ticker}", 200, market)
    assert market["market"]["status"] == "finalized"
    assert market["market"]["result"] == "yes"
    assert market["market"]["expiration_value"] == "7870"
    positions = await exchange.call("GET", "/portfolio/positions?settlement_status=settled")
    check_answer("GET", "/portfolio/positions", 200, positions.json())
    assert len(positions.json()["market_positions"]) == 1


async def test_order_groups_match_the_official_schema(exchange: Exchange) -> None:
    path = "/portfolio/order_groups"
    one = f"{path}/{{order_group_id}}"
    made = await exchange.call("POST", f"{path}/create", {"contracts_limit": 5})
    assert made.status_code == 201, made.text
    check_answer("POST", f"{path}/create", 201, made.json())
    group = made.json()["order_group_id"]
    placed = await exchange.call("POST", ORDERS, order_body(order_group_id=group))
    assert placed.status_code == 201
    for method, schema, url, body in (
        ("GET", path, path, None),
        ("GET", one, f"{path}/{group}", None),
        ("PUT", f"{one}/limit", f"{path}/{group}/limit", {"contracts_limit_fp": "6.00"}),
        ("PUT", f"{one}/trigger", f"{path}/{group}/trigger", None),
        ("PUT", f"{one}/reset", f"{path}/{group}/reset", None),
        ("DELETE", one, f"{path}/{group}", None),
    ):
        answer = await exchange.call(method, url, body)
        assert answer.status_code == 200, answer.text
        check_answer(method, schema, 200, answer.json())
    resting = await exchange.call("GET", "/portfolio/orders?status=resting")
    assert resting.json()["orders"] == []
