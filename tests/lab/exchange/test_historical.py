"""The cutoff between live and historical reads: each thing is in exactly one, and in none never."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.lab.exchange.harness import (
    EVENT,
    MARKET,
    ORDERS,
    TARGET_NS,
    Exchange,
    S,
    order_body,
    running_exchange,
)
from tests.lab.exchange.schemas import check_answer, check_numbers

KEPT_S = 60


@pytest.fixture
async def short_memory(tmp_path: Path) -> AsyncIterator[Exchange]:
    async with running_exchange(tmp_path, history_kept_s=float(KEPT_S)) as running:
        yield running


async def read(exchange: Exchange, path: str, key: str) -> list[Any]:
    answer = await exchange.call("GET", path)
    assert answer.status_code == 200, answer.text
    check_answer("GET", path.partition("?")[0], 200, answer.json())
    check_numbers(answer.json())
    items: list[Any] = answer.json()[key]
    return items


async def test_a_restart_must_read_orders_and_fills_from_both_sides_of_the_cutoff(
    short_memory: Exchange,
) -> None:
    exchange = short_memory
    exchange.other_places("ask", 4_000, 100)
    start_ns = exchange.clock.now_ns()
    ids = {}
    for name, price in (("old filled", "0.4000"), ("resting", "0.1000"), ("old gone", "0.2000")):
        body = order_body(client_order_id=name, price=price, count="1.00")
        ids[name] = (await exchange.call("POST", ORDERS, body)).json()["order_id"]
    await exchange.call("DELETE", f"{ORDERS}/{ids['old gone']}")
    await exchange.clock.advance_to(start_ns + S * (KEPT_S - 5))
    exchange.other_places("ask", 4_000, 100)
    body = order_body(client_order_id="new filled", count="1.00")
    ids["new filled"] = (await exchange.call("POST", ORDERS, body)).json()["order_id"]
    assert len(await read(exchange, "/portfolio/orders", "orders")) == 4
    assert await read(exchange, "/historical/orders", "orders") == []

    await exchange.clock.advance_to(start_ns + S * (KEPT_S + 5))
    cutoff = (await exchange.call("GET", "/historical/cutoff", key_id=None)).json()
    assert cutoff["orders_updated_ts"] == cutoff["trades_created_ts"] == "2026-10-02T14:45:05Z"
    names = {order_id: name for name, order_id in ids.items()}
    live = await read(exchange, "/portfolio/orders", "orders")
    old = await read(exchange, "/historical/orders", "orders")
    assert [names[order["order_id"]] for order in live] == ["new filled", "resting"]
    assert [names[order["order_id"]] for order in old] == ["old gone", "old filled"]
    assert [order["status"] for order in old] == ["canceled", "executed"]
    for path, name in (("portfolio", "new filled"), ("historical", "old filled")):
        [fill] = await read(exchange, f"/{path}/fills", "fills")
        assert fill["order_id"] == ids[name]
    for path, name in (("markets", "new filled"), ("historical", "old filled")):
        [trade] = await read(exchange, f"/{path}/trades?ticker={MARKET}", "trades")
        assert trade["created_time"].startswith(
            "2026-10-02T14:45:" + ("55" if name[0] == "n" else "00")
        )
    one = await exchange.call("GET", f"/portfolio/orders/{ids['old gone']}")
    assert one.status_code == 404
    # used up for ever, wherever the order is read now
    again = await exchange.call("POST", ORDERS, order_body(client_order_id="old gone"))
    assert again.status_code == 409


async def test_settled_markets_and_positions_move_as_a_whole_event(
    short_memory: Exchange,
) -> None:
    exchange = short_memory
    exchange.other_places("ask", 4_000, 100)
    await exchange.call("POST", ORDERS, order_body(count="1.00"))
    exchange.levels["I:SPX"] = 78_700_000
    await exchange.clock.advance_to(TARGET_NS + 10 * S)
    assert await read(exchange, "/historical/positions", "market_positions") == []
    path = "/portfolio/positions?settlement_status=settled"
    assert len(await read(exchange, path, "market_positions")) == 1
    assert len(await read(exchange, "/portfolio/settlements", "settlements")) == 1
    assert len(await read(exchange, f"/markets?event_ticker={EVENT}", "markets")) == 5

    await exchange.clock.advance_to(TARGET_NS + S * (KEPT_S + 10))
    [position] = await read(exchange, "/historical/positions", "market_positions")
    assert (position["ticker"], position["realized_pnl_dollars"]) == (MARKET, "0.600000")
    assert await read(exchange, path, "market_positions") == []
    assert await read(exchange, "/portfolio/settlements", "settlements") == []
    assert await read(exchange, f"/markets?event_ticker={EVENT}", "markets") == []
    old = await read(exchange, f"/historical/markets?event_ticker={EVENT}", "markets")
    assert {market["status"] for market in old} == {"finalized"}
    for path, status in ((f"/markets/{MARKET}", 404), (f"/historical/markets/{MARKET}", 200)):
        answer = await exchange.call("GET", path)
        assert answer.status_code == status
    check_answer("GET", "/historical/markets/{ticker}", 200, answer.json())
    both = f"/historical/markets?event_ticker={EVENT}&series_ticker=KXINXU"
    assert (await exchange.call("GET", both)).status_code == 400
