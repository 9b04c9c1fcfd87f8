"""Any bytes on any door of the simulator: a Kalshi-shaped answer, never a traceback or a hang."""

import asyncio
import json
import logging
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.lab.exchange.harness import (
    MARKET,
    ORDERS,
    Exchange,
    S,
    open_socket,
    order_body,
    running_exchange,
)

FUZZ = settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20)
    | st.sampled_from([MARKET, "1.00", "0.5000", "bid", "ask", "good_till_canceled"]),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4)
    ),
    max_leaves=12,
)
OPTIONAL = (
    "post_only",
    "reduce_only",
    "client_order_id",
    "expiration_time",
    "order_group_id",
    "subaccount",
    "cancel_order_on_pause",
)
CHANGED = st.dictionaries(st.sampled_from([*order_body(), *OPTIONAL]), JSON)
BODIES = st.one_of(
    st.binary(max_size=200),
    JSON.map(lambda value: json.dumps(value).encode()),
    CHANGED.map(lambda changes: json.dumps(order_body(**changes)).encode()),
    CHANGED.map(lambda changes: json.dumps({"orders": [order_body(**changes)]}).encode()),
    st.integers(0, 200).map(lambda cut: json.dumps(order_body()).encode()[:cut]),
)
WRITES = st.sampled_from(
    [
        ("POST", ORDERS),
        ("POST", f"{ORDERS}/batched"),
        ("DELETE", f"{ORDERS}/batched"),
        ("DELETE", f"{ORDERS}/x"),
        ("POST", f"{ORDERS}/x/amend"),
        ("POST", f"{ORDERS}/x/decrease"),
        ("POST", "/portfolio/order_groups/create"),
        ("PUT", "/portfolio/order_groups/x/limit"),
        ("PUT", "/portfolio/subaccounts/netting"),
    ]
)
READS = st.sampled_from(
    [
        "/markets",
        "/events",
        "/markets/trades",
        "/markets/orderbooks",
        f"/markets/{MARKET}/orderbook",
        "/series/fee_changes",
        "/historical/markets",
        "/markets/candlesticks",
        "/historical/trades",
        "/historical/orders",
        "/historical/fills",
        "/historical/positions",
        "/portfolio/orders",
        "/portfolio/fills",
        "/portfolio/positions",
        "/portfolio/settlements",
        "/portfolio/orders/queue_positions",
        "/portfolio/balance",
    ]
)
QUERY_NAMES = """
    limit cursor ticker tickers status event_ticker min_ts max_ts depth subaccount
    exchange_index settlement_status with_nested_markets start_ts end_ts period_interval
    market_tickers
"""
NAMES = st.sampled_from(QUERY_NAMES.split())
VALUES = st.text(max_size=30) | st.integers(-(2**70), 2**70).map(str)


def assert_shaped(answer: httpx.Response) -> None:
    """Assert one of the exchange's error shapes, or success."""
    assert answer.status_code < 500, answer.text
    if answer.status_code < 400:
        return
    body = answer.json()
    nested = isinstance(body.get("error"), dict) and {"code", "message"} <= set(body["error"])
    assert nested or {"code", "message"} <= set(body) or set(body) == {"msg"}, body


@pytest.fixture(scope="module")
def served(
    loop: asyncio.AbstractEventLoop, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Exchange]:
    """One exchange for all examples; it runs while an example does."""
    context = running_exchange(tmp_path_factory.mktemp("fuzz"))
    yield loop.run_until_complete(context.__aenter__())
    loop.run_until_complete(context.__aexit__(None, None, None))


@pytest.fixture(autouse=True)
def no_errors_logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    yield
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert "Traceback" not in caplog.text


@FUZZ
@given(cases=st.lists(st.tuples(WRITES, BODIES), min_size=1, max_size=8))
def test_bodies(cases: list[Any], loop: asyncio.AbstractEventLoop, served: Exchange) -> None:
    async def run() -> None:
        for (method, path), body in cases:
            assert_shaped(await served.call(method, path, content=body))
        await served.call("DELETE", ORDERS)
        good = await served.call("POST", ORDERS, order_body(count="0.01"))
        assert good.status_code == 201

    loop.run_until_complete(run())


@FUZZ
@given(cases=st.lists(st.tuples(READS, st.dictionaries(NAMES, VALUES)), min_size=1, max_size=8))
def test_query_strings(cases: list[Any], loop: asyncio.AbstractEventLoop, served: Exchange) -> None:
    async def run() -> None:
        for path, query in cases:
            # five balance reads a second are allowed
            await served.clock.advance_to(served.clock.now_ns() + S // 5)
            assert_shaped(await served.call("GET", f"{path}?{httpx.QueryParams(query)}"))

    loop.run_until_complete(run())


PARAM_NAMES = """
    channels market_ticker market_tickers sids sid action use_yes_price
    send_initial_snapshot market_id market_ids
"""
PARAMS = PARAM_NAMES.split()
LIKELY: list[Any] = [["orderbook_delta"], ["ticker", "fill"], [MARKET], MARKET, [1], 1, True]
COMMANDS = st.one_of(
    st.text(max_size=60),
    JSON.map(json.dumps),
    st.fixed_dictionaries(
        {
            "id": st.integers(0, 5) | JSON,
            "cmd": st.sampled_from(
                ["subscribe", "unsubscribe", "update_subscription", "list_subscriptions"]
            ),
            "params": st.dictionaries(
                st.sampled_from(PARAMS),
                JSON
                | st.sampled_from(LIKELY)
                | st.sampled_from(["add_markets", "get_snapshot", "delete_markets"]),
            ),
        }
    ).map(json.dumps),
)


@FUZZ
@given(commands=st.lists(COMMANDS, min_size=5, max_size=20))
def test_websocket_commands(
    commands: list[str], loop: asyncio.AbstractEventLoop, served: Exchange
) -> None:
    async def run() -> None:
        async with open_socket(served) as socket:
            for command in commands:
                await socket.raw.send(command)
            served.other_places("bid", 4_000, 100)
            await socket.rest()

    loop.run_until_complete(run())


@pytest.mark.parametrize(
    "raw",
    [
        b"\x00\x01\x02\x03\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST /trade-api/v2/portfolio/events/orders HTTP/1.1\r\nContent-Length: -5\r\n\r\n",
        b"GET /trade-api/v2/markets HTTP/1.1\r\nHost: x\r\nBad Header\r\n\r\n",
        b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /trade-api/v2/markets?limit=%zz%ff HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /trade-api/ws/v2 HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
)
def test_raw_bytes(raw: bytes, loop: asyncio.AbstractEventLoop, served: Exchange) -> None:
    async def run() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.server.port)
        try:
            await check(reader, writer)
        finally:
            writer.close()
            await writer.wait_closed()

    async def check(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(raw)
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
        assert head[:10] in (b"HTTP/1.1 4", b"HTTP/1.0 4"), head
        assert b"Date: Fri, 02 Oct 2026" in head, "the exchange's own clock"
        length = int(head.lower().partition(b"content-length:")[2].split()[0])
        body = json.loads(await asyncio.wait_for(reader.readexactly(length), 5))
        assert set(body) & {"code", "error", "msg"}

    loop.run_until_complete(run())
