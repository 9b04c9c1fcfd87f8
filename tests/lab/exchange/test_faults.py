"""Every fault as a client meets it, and the admin endpoint that asks for them."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed, InvalidMessage, InvalidStatus

from lab.exchange.faults import Fault, Pause, Window
from tests.lab.exchange.harness import (
    ED_ID,
    MARKET,
    ORDERS,
    RSA_ID,
    START_NS,
    Exchange,
    S,
    Socket,
    open_socket,
    order_body,
    running_exchange,
)
from tests.lab.exchange.schemas import check_object

TOKEN = "chaos-token"
MS = 1_000_000


class Admin:
    """A client of the admin endpoint."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self.http = http

    async def add(self, fault: str, **fields: Any) -> int:
        answer = await self.http.post("/faults", json={"fault": fault, **fields})
        assert answer.status_code == 201, answer.text
        [number] = answer.json()["numbers"]
        assert isinstance(number, int)
        return number

    async def injected(self) -> dict[str, int]:
        found: dict[str, int] = (await self.http.get("/state")).json()["injected"]
        return found


@asynccontextmanager
async def faulty_exchange(
    tmp_path: Path, *faults: Fault, **changes: Any
) -> AsyncIterator[tuple[Exchange, Admin]]:
    token_file = tmp_path / "token"
    token_file.write_text(TOKEN + "\n")
    settings: dict[str, Any] = {
        "admin_port": 0,
        "admin_token_file": str(token_file),
        "faults": faults,
    }
    async with running_exchange(tmp_path, **settings, **changes) as exchange:
        url = f"http://127.0.0.1:{exchange.server.admin_port}"
        headers = {"Authorization": f"Bearer {TOKEN}"}
        async with httpx.AsyncClient(base_url=url, headers=headers) as http:
            yield exchange, Admin(http)


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[tuple[Exchange, Admin]]:
    async with faulty_exchange(tmp_path) as running:
        yield running


Pair = tuple[Exchange, Admin]
CREATE = {"operations": ["CreateOrderV2"]}


def resting(exchange: Exchange) -> int:
    return len(exchange.engine.resting(RSA_ID))


async def create(exchange: Exchange, **changes: Any) -> httpx.Response:
    return await exchange.call("POST", ORDERS, order_body(**changes))


# Requests


async def test_a_dropped_request_is_never_handled(pair: Pair) -> None:
    exchange, admin = pair
    await admin.add("drop", where=CREATE, when={"count": 1})
    with pytest.raises(httpx.TransportError):
        await create(exchange)
    assert resting(exchange) == 0
    assert (await create(exchange)).status_code == 201
    assert await admin.injected() == {"drop": 1}


async def test_an_accepted_request_whose_answer_never_comes(pair: Pair) -> None:
    exchange, admin = pair
    await admin.add("accept_then_timeout", where=CREATE, hold_s=5, when={"count": 1})
    waiting = asyncio.create_task(create(exchange, client_order_id="mine"))
    while not resting(exchange):
        await asyncio.sleep(0)
    await exchange.clock.advance_to(START_NS + 4 * S)
    assert not waiting.done()
    await exchange.clock.advance_to(START_NS + 5 * S)
    with pytest.raises(httpx.TransportError):
        await waiting
    again = await create(exchange, client_order_id="mine")
    assert again.status_code == 409
    assert resting(exchange) == 1


async def test_a_held_request_does_not_keep_the_exchange_from_stopping(tmp_path: Path) -> None:
    async with faulty_exchange(tmp_path) as (exchange, admin):
        await admin.add("accept_then_timeout", hold_s=600)
        waiting = asyncio.create_task(create(exchange))
        while not resting(exchange):
            await asyncio.sleep(0)
        await asyncio.wait_for(exchange.server.stop(), 10)
        with pytest.raises(httpx.TransportError):
            await waiting


@pytest.mark.parametrize(("shown", "status"), [("first", 201), ("second", 409)])
async def test_a_request_that_the_network_repeats(pair: Pair, shown: str, status: int) -> None:
    exchange, admin = pair
    await admin.add("duplicate_request", where=CREATE, shown=shown)
    assert (await create(exchange, client_order_id="mine")).status_code == status
    assert resting(exchange) == 1
    answer = await create(exchange)
    assert answer.status_code == 201
    assert resting(exchange) == 3, "without a client order id nothing tells the two apart"


@pytest.mark.parametrize("carried_out", [False, True])
@pytest.mark.parametrize("status", [409, 429, 500, 503])
async def test_error_answers_in_the_exchanges_own_words(
    pair: Pair, status: int, carried_out: bool
) -> None:
    exchange, admin = pair
    await admin.add("answer", status=status, carried_out=carried_out, where=CREATE)
    answer = await create(exchange)
    assert answer.status_code == status
    body = answer.json()
    if status == 503:
        check_object("ExchangeStatus", body)
    elif status == 429:
        assert body == {"error": "too many requests"}
    else:
        check_object("ErrorResponse", body["error"])
    assert resting(exchange) == int(carried_out)
    usual = await exchange.call("GET", "/exchange/status")
    assert set(answer.headers) == set(usual.headers), "nothing marks a fault"


@pytest.mark.parametrize("part", ["request", "answer"])
async def test_delays_before_and_after_the_deed(pair: Pair, part: str) -> None:
    exchange, admin = pair
    await admin.add("delay", ms=400, part=part, where=CREATE)
    waiting = asyncio.create_task(create(exchange))
    await admin.injected()
    while (await admin.injected()) != {"delay": 1}:
        await asyncio.sleep(0)
    assert resting(exchange) == (1 if part == "answer" else 0)
    await exchange.clock.advance_to(START_NS + 400 * MS)
    assert (await waiting).status_code == 201


async def test_a_cancelled_order_is_shown_as_resting_for_a_while(pair: Pair) -> None:
    exchange, admin = pair
    await admin.add("stale_read", ms=360)
    order_id = (await create(exchange)).json()["order_id"]
    one = f"/portfolio/orders/{order_id}"
    before = (await exchange.call("GET", one)).json()
    assert (await exchange.call("DELETE", f"{ORDERS}/{order_id}")).status_code == 200
    await exchange.clock.advance_to(START_NS + 359 * MS)
    assert (await exchange.call("GET", one)).json() == before
    listed = (await exchange.call("GET", "/portfolio/orders?status=resting")).json()["orders"]
    assert listed == [before["order"]]
    assert resting(exchange) == 0
    assert (await exchange.call("DELETE", f"{ORDERS}/{order_id}")).status_code == 404
    await exchange.clock.advance_to(START_NS + 360 * MS)
    after = (await exchange.call("GET", one)).json()["order"]
    assert (after["status"], after["remaining_count_fp"]) == ("canceled", "0.00")
    listed = (await exchange.call("GET", "/portfolio/orders?status=resting")).json()["orders"]
    assert listed == []
    assert await admin.injected() == {"stale_read": 2}


async def test_selectors_of_account_and_market(pair: Pair) -> None:
    exchange, admin = pair
    await admin.add("answer", status=500, where={"keys": [ED_ID], "markets": ["*-T7869.9999"]})
    assert (await create(exchange)).status_code == 201
    refused = await exchange.call("POST", ORDERS, order_body(), key_id=ED_ID)
    assert refused.status_code == 500
    for body in (order_body(ticker="KXINX-26OCT02H1100-T1"), {"orders": [7, "x", None]}):
        answer = await exchange.call("POST", ORDERS, body, key_id=ED_ID)
        assert answer.status_code < 500
    path = f"/markets/{MARKET}/orderbook"
    assert (await exchange.call("GET", path, key_id=ED_ID)).status_code == 500


async def test_the_handshake_can_fail_too(pair: Pair) -> None:
    exchange, admin = pair
    where = {"operations": ["WebSocketHandshake"]}
    await admin.add("answer", status=503, where=where, when={"nth": [1]})
    await admin.add("drop", where=where, when={"nth": [2]})
    with pytest.raises(InvalidStatus) as refused:
        async with open_socket(exchange):
            pass
    assert refused.value.response.status_code == 503
    with pytest.raises((InvalidMessage, OSError)):
        async with open_socket(exchange):
            pass
    async with open_socket(exchange) as socket:
        assert await socket.rest() == []


# Frames


async def subscribed(exchange: Exchange, socket: Socket, *channels: str) -> None:
    await socket.subscribe(*(channels or ("orderbook_delta",)), market_tickers=[MARKET])


def sequence(frames: list[dict[str, Any]]) -> list[int]:
    return [frame["seq"] for frame in frames if "seq" in frame]


async def test_frames_are_lost_while_the_sequence_counts_on(pair: Pair) -> None:
    exchange, admin = pair
    async with open_socket(exchange) as socket:
        await subscribed(exchange, socket)  # the snapshot is 1
        await admin.add("gap", frames=3, where={"channels": ["orderbook_delta"]}, when={"nth": [2]})
        for _ in range(6):
            exchange.other_places("bid", 4_000, 100)
        assert sequence(await socket.rest()) == [2, 6, 7]


async def test_frames_come_twice(pair: Pair) -> None:
    exchange, admin = pair
    async with open_socket(exchange) as socket:
        await subscribed(exchange, socket)
        await admin.add("duplicate_frame", where={"types": ["orderbook_delta"]}, when={"every": 2})
        for _ in range(4):
            exchange.other_places("bid", 4_000, 100)
        frames = await socket.rest()
        assert sequence(frames) == [2, 3, 3, 4, 5, 5]
        assert frames[1] == frames[2]


@pytest.mark.parametrize("then", ["late", "lost"])
async def test_one_channel_falls_silent(pair: Pair, then: str) -> None:
    exchange, admin = pair
    async with open_socket(exchange) as socket:
        await subscribed(exchange, socket, "orderbook_delta", "ticker")
        where = {"channels": ["orderbook_delta"]}
        await admin.add("silence", s=2, then=then, where=where, when={"count": 1})
        exchange.other_places("bid", 4_000, 100)
        exchange.other_places("bid", 4_000, 100)
        await asyncio.sleep(0)
        assert {frame["type"] for frame in await socket.rest()} == {"ticker"}
        await exchange.clock.advance_to(START_NS + 2 * S)
        exchange.other_places("bid", 4_000, 100)
        await asyncio.sleep(0)
        assert sequence(await socket.rest()) == ([2, 3, 4] if then == "late" else [4])


async def test_a_whole_connection_falls_silent_and_another_does_not(pair: Pair) -> None:
    exchange, admin = pair
    async with open_socket(exchange) as socket, open_socket(exchange, ED_ID) as other:
        await subscribed(exchange, socket)
        await subscribed(exchange, other)
        number = await admin.add("silence", s=60, where={"keys": [RSA_ID]}, when={"at_s": 0})
        exchange.other_places("bid", 4_000, 100)
        assert sequence(await other.rest()) == [2]
        await socket.send({"id": 9, "cmd": "list_subscriptions"})
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(socket.raw.recv(), 0.05)
        assert (await admin.http.delete(f"/faults/{number}")).status_code == 204
        assert [(await socket.next()).get("seq"), (await socket.next())["id"]] == [2, 9]


async def test_late_frames_keep_their_order(pair: Pair) -> None:
    exchange, admin = pair
    async with open_socket(exchange) as socket:
        await subscribed(exchange, socket)
        await admin.add("delay_frame", ms=100, when={"count": 1})
        for _ in range(3):
            exchange.other_places("bid", 4_000, 100)
        while (await admin.injected()) != {"delay_frame": 1}:
            await asyncio.sleep(0)
        await exchange.clock.advance_to(START_NS + 100 * MS)
        assert sequence(await socket.rest()) == [2, 3, 4]


@pytest.mark.parametrize(
    "what", ["any", "not_json", "truncated", "binary", "wrong_types", "unknown_type"]
)
async def test_garbage_comes_between_good_frames(pair: Pair, what: str) -> None:
    exchange, admin = pair
    async with open_socket(exchange) as socket:
        await subscribed(exchange, socket)
        await admin.add("garbage", what=what, when={"count": 1})
        exchange.other_places("bid", 4_000, 100)
        text = await asyncio.wait_for(socket.raw.recv(), 5)
        assert isinstance(text, bytes) or not _is_known(text)
        assert sequence(await socket.rest()) == [2]


def _is_known(text: str) -> bool:
    try:
        frame = json.loads(text)
    except ValueError:
        return False
    return frame["type"] == "orderbook_delta" and isinstance(frame["sid"], int)


@pytest.mark.parametrize("when", [{"at_s": 0}, {"nth": [1]}])
@pytest.mark.parametrize("code", [10, 25])
async def test_terminal_errors_end_a_subscription_not_the_connection(
    pair: Pair, code: int, when: dict[str, Any]
) -> None:
    exchange, admin = pair
    async with open_socket(exchange) as socket:
        await subscribed(exchange, socket, "orderbook_delta", "trade")
        where = {"channels": ["orderbook_delta"]}
        await admin.add("terminal_error", code=code, where=where, when=when)
        exchange.other_places("bid", 4_000, 100)
        frame = await socket.next()
        assert (frame["type"], frame["msg"]["code"], frame["sid"]) == ("error", code, 1)
        exchange.other_places("bid", 4_000, 100)
        assert await socket.rest() == [], "the subscription is dead"
        await admin.http.delete("/faults")
        frames = await socket.subscribe("orderbook_delta", market_tickers=[MARKET])
        assert [frame["type"] for frame in frames] == ["subscribed", "orderbook_snapshot"]
        assert frames[1]["sid"] == 3
        assert await admin.injected() == {"terminal_error": 1}


@pytest.mark.parametrize(("code", "seen"), [(None, 1006), (1012, 1012)])
async def test_connections_are_cut_or_closed(pair: Pair, code: int | None, seen: int) -> None:
    exchange, admin = pair
    async with open_socket(exchange) as socket:
        await subscribed(exchange, socket)
        await admin.add("disconnect", code=code, when={"at_s": 0})
        with pytest.raises(ConnectionClosed):
            await socket.next()
        assert (socket.raw.close_code or 1006) == seen
    async with open_socket(exchange) as socket:
        assert await socket.rest() == []
    assert await admin.injected() == {"disconnect": 1}


# States


async def test_trading_stops_and_goes_on(pair: Pair) -> None:
    exchange, admin = pair
    number = await admin.add("pause")
    answer = await create(exchange)
    assert answer.status_code in (400, 403, 503)
    status = (await exchange.call("GET", "/exchange/status")).json()
    assert (status["exchange_active"], status["trading_active"]) == (True, False)
    assert (await admin.http.get("/state")).json()["trading_active"] is False
    await admin.http.delete(f"/faults/{number}")
    assert (await create(exchange)).status_code == 201


async def test_a_pause_begins_and_ends_by_the_clock(tmp_path: Path) -> None:
    pause = Pause(what="exchange", when=Window(from_s=2, until_s=4))
    async with faulty_exchange(tmp_path, pause) as (exchange, _):
        seen = []
        for second in range(1, 6):
            await exchange.clock.advance_to(START_NS + second * S)
            status = (await exchange.call("GET", "/exchange/status")).json()
            seen.append(status["exchange_active"])
        assert seen == [True, False, False, True, True]


async def test_one_market_stops_and_its_return_cancels_what_rests(pair: Pair) -> None:
    exchange, admin = pair
    await create(exchange)
    async with open_socket(exchange) as socket:
        await socket.subscribe("market_lifecycle_v2", "user_orders")
        number = await admin.add("halt", markets=["*-T7869.9999"])
        assert (await create(exchange)).status_code == 400
        await admin.http.delete(f"/faults/{number}")
        assert (await create(exchange)).status_code == 201
        told = [
            frame["msg"].get("event_type") or frame["msg"]["status"]
            for frame in await socket.rest()
        ]
    assert told == ["deactivated", "canceled", "activated", "resting"]


async def test_a_tick_grid_changes_in_mid_life(pair: Pair) -> None:
    exchange, admin = pair
    finer = {"price": "0.4010"}
    assert (await create(exchange, **finer)).status_code == 400
    async with open_socket(exchange) as socket:
        await socket.subscribe("market_lifecycle_v2")
        number = await admin.add("tick_grid", markets=[MARKET], structure="deci_cent")
        assert (await create(exchange, **finer)).status_code == 201
        await admin.http.delete(f"/faults/{number}")
        assert (await create(exchange, **finer)).status_code == 400
        changes = [frame["msg"] for frame in await socket.rest()]
    assert [change["event_type"] for change in changes] == ["price_level_structure_updated"] * 2
    assert [change["price_level_structure"] for change in changes] == ["deci_cent", "linear_cent"]
    assert changes[0]["price_ranges"] == [{"start": "0.0000", "end": "1.0000", "step": "0.0010"}]


@pytest.mark.parametrize(("checked", "status"), [(False, 200), (True, 401)])
async def test_the_clock_is_off(pair: Pair, checked: bool, status: int) -> None:
    exchange, admin = pair
    await admin.add("clock_offset", s=300, checked=checked)
    answer = await exchange.call("GET", "/portfolio/balance")
    shown = parsedate_to_datetime(answer.headers["Date"]).timestamp()
    assert shown == START_NS // S + 300
    assert answer.status_code == status


# The admin endpoint


async def test_admin_asks_for_its_token_and_explains_itself(pair: Pair) -> None:
    exchange, admin = pair
    port = exchange.server.admin_port
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as stranger:
        for method, path in (("GET", "/state"), ("POST", "/faults"), ("GET", "/nowhere")):
            assert (await stranger.request(method, path)).status_code == 401
    cases: list[tuple[bytes, str]] = [
        (b"not json", "malformed"),
        (b'{"fault":"explode"}', "expected one of"),
        (b'[{"fault":"drop"},{"fault":"delay"}]', "[1].ms"),
        (b"[" * 5_000, ""),
        (b"\xff", ""),
        (b"7", "expected"),
    ]
    for body, words in cases:
        answer = await admin.http.post("/faults", content=body)
        assert answer.status_code == 400, answer.text
        assert words in answer.json()["error"]
    for path, status in (("/faults/7", 404), ("/faults/x", 400), ("/nowhere", 404)):
        assert (await admin.http.delete(path)).status_code == status
    assert (await admin.http.get("/faults")).json() == {"faults": []}


async def test_admin_shows_what_is_in_force_and_what_happened(pair: Pair) -> None:
    exchange, admin = pair
    await admin.add("delay", ms=1, where=CREATE, when={"from_s": 10})
    await create(exchange)
    async with open_socket(exchange) as socket:
        await subscribed(exchange, socket)
        state = (await admin.http.get("/state")).json()
    assert state["requests"] == {"CreateOrderV2": 1}
    assert state["connections"] == [
        {"key_id": RSA_ID, "account": RSA_ID, "channels": ["orderbook_delta"]}
    ]
    assert state["resting"] == {RSA_ID: 1, ED_ID: 0}
    [fault] = state["faults"]
    assert (fault["fault"], fault["matched"], fault["injected"]) == ("delay", 0, 0)
    assert fault["where"] == CREATE
    too_many = [{"fault": "drop", "when": {"from_s": 999}}] * 256
    answer = await admin.http.post("/faults", json=too_many)
    assert answer.status_code == 400
    assert len((await admin.http.get("/faults")).json()["faults"]) == 1, "all or none"
