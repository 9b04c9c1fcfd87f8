"""Every channel of the scope is made to speak, and each frame is judged by AsyncAPI.

A frame that does not come within ten seconds fails: no channel may be silent.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import pytest
from kalshi_python_sync import KalshiAuth
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from tests.conformance.cases import case
from tests.conformance.market import PRICE, open_markets, place, quiet_market, take
from tests.conformance.sdk import Sdk
from tests.conformance.simulator import KINDS, Simulator
from tests.lab.exchange.harness import Socket

PATIENCE_S = 10
SIGNED_PATH = "/trade-api/ws/v2"
Json = dict[str, Any]


@asynccontextmanager
async def open_socket(url: str, auth: KalshiAuth) -> AsyncIterator[Socket]:
    """Connect, signed by the official SDK."""
    headers = auth.create_auth_headers("GET", SIGNED_PATH)
    async with connect(url, additional_headers=headers, max_queue=None) as raw:
        yield Socket(raw)


@pytest.fixture
async def socket(sdk: Sdk, live: Simulator) -> AsyncIterator[Socket]:
    async with open_socket(live.websocket, sdk.auth) as opened:
        yield opened


async def wait_for(
    socket: Socket, kind: str, good: Callable[[Json], bool] = lambda message: True
) -> Json:
    """Return the first frame of a type whose message is good, passing over others."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            frame = await socket.next()
            if frame["type"] == kind and good(frame["msg"]):
                return frame


async def refuse(socket: Socket, command: Any) -> int:
    """Return the code of the error that answers a command."""
    await socket.send(command)
    frame = await wait_for(socket, "error")
    return int(frame["msg"]["code"])


@pytest.mark.parametrize("kind", KINDS)
@case("C30")
async def test_the_handshake_needs_a_key(live: Simulator, kind: str) -> None:
    """A handshake signed by the SDK passes with either kind of key; an unsigned one gets 401."""
    key = live.keys["sync", kind]
    async with open_socket(live.websocket, KalshiAuth(key.key_id, key.pem)) as socket:
        assert await socket.rest() == []
    with pytest.raises(InvalidStatus) as refused:
        await connect(live.websocket)
    assert refused.value.response.status_code == 401


@case("C31")
async def test_order_book(sdk: Sdk, socket: Socket) -> None:
    """Snapshot, then deltas without a gap; our own order's delta names it, for us alone."""
    ticker, price = await quiet_market(sdk), PRICE
    frames = await socket.subscribe("orderbook_delta", market_tickers=[ticker], use_yes_price=True)
    assert [frame["type"] for frame in frames[:2]] == ["subscribed", "orderbook_snapshot"]
    numbers = [frame["seq"] for frame in frames if "seq" in frame]
    placed = await place(sdk, ticker, "bid", price, "1.00", post_only=True)
    while True:
        frame = await wait_for(socket, "orderbook_delta")
        numbers.append(frame["seq"])
        if "client_order_id" in frame["msg"]:
            break
    delta = frame["msg"]
    assert (delta["client_order_id"], delta["side"]) == (placed["client_order_id"], "yes")
    assert (delta["price_dollars"], delta["delta_fp"]) == (f"{price / 100:.4f}", "1.00")
    assert numbers == list(range(1, len(numbers) + 1))
    await sdk.ask("CancelOrderV2", order_id=placed["order_id"])
    gone = await wait_for(
        socket, "orderbook_delta", lambda delta: delta["price_dollars"] == f"{price / 100:.4f}"
    )
    assert gone["msg"]["delta_fp"] == "-1.00"


@case("C32")
async def test_others_make_books_tickers_and_trades_move(sdk: Sdk, socket: Socket) -> None:
    """Nobody but the other participants acts, and the three public channels speak."""
    tickers = [market["ticker"] for market in await open_markets(sdk)]
    await socket.subscribe("orderbook_delta", market_tickers=tickers, use_yes_price=False)
    await socket.subscribe("ticker", "trade")
    waiting = {"orderbook_delta", "ticker", "trade"}
    async with asyncio.timeout(3 * PATIENCE_S):
        while waiting:
            frame = await socket.next()
            waiting.discard(frame["type"])


@case("C33", "CreateOrderV2", "GetOrder", "GetPositions")
async def test_our_own_orders_fills_and_positions(sdk: Sdk, other: Sdk, socket: Socket) -> None:
    """What the private channels say of our trade is what REST says of it."""
    await socket.subscribe("user_orders", "fill", "market_positions")
    ticker = await quiet_market(sdk)
    taken = await take(sdk, other, ticker)
    order_id = taken["order_id"]
    seen: dict[str, Json] = {}
    async with asyncio.timeout(PATIENCE_S):
        while len(seen) < 3:
            frame = await socket.next()
            message = frame["msg"]
            if frame["type"] == "user_order" and message["order_id"] == order_id:
                if message["status"] == "executed":
                    seen["order"] = message
            elif frame["type"] == "fill" and message["order_id"] == order_id:
                seen["fill"] = message
            elif frame["type"] == "market_position":
                seen["position"] = message
    assert seen["order"]["fill_count_fp"] == "1.00"
    assert seen["order"]["last_update_reason"] == "Trade"
    assert seen["fill"]["client_order_id"] == taken["client_order_id"]
    shown = (await sdk.ask("GetOrder", order_id=order_id))["order"]
    assert seen["fill"]["fee_cost"] == shown["taker_fees_dollars"]
    held = await sdk.ask("GetPositions", ticker=ticker)
    [position] = held["market_positions"]
    assert seen["position"]["market_ticker"] == ticker
    assert seen["position"]["position_fp"] == position["position_fp"]
    assert Decimal(seen["fill"]["post_position_fp"]) == Decimal(position["position_fp"])


@case("C34", "CreateOrderGroup", "TriggerOrderGroup", "ResetOrderGroup", "DeleteOrderGroup")
async def test_order_group_updates(sdk: Sdk, socket: Socket) -> None:
    """Every step of a group's life comes, numbered."""
    await socket.subscribe("order_group_updates")
    made = await sdk.ask("CreateOrderGroup", {"contracts_limit": 10})
    group = made["order_group_id"]
    for step in ("TriggerOrderGroup", "ResetOrderGroup", "DeleteOrderGroup"):
        await sdk.ask(step, order_group_id=group)
    frames = [
        await wait_for(
            socket, "order_group_updates", lambda message: message["order_group_id"] == group
        )
        for _ in range(4)
    ]
    steps = [frame["msg"]["event_type"] for frame in frames]
    assert steps == ["created", "triggered", "reset", "deleted"]
    numbers = [frame["seq"] for frame in frames]
    assert numbers == list(range(numbers[0], numbers[0] + 4))


@case("C35")
async def test_commands(sdk: Sdk, socket: Socket) -> None:
    """Subscribe again, add, snapshot, delete, list, unsubscribe."""
    one, two = [market["ticker"] for market in (await open_markets(sdk))[:2]]
    frames = await socket.subscribe("orderbook_delta", market_tickers=[one], use_yes_price=True)
    sid = frames[0]["msg"]["sid"]
    again = await socket.subscribe("orderbook_delta", market_tickers=[one], use_yes_price=True)
    acknowledged = [frame["type"] for frame in again if frame["type"] != "orderbook_delta"]
    assert acknowledged == ["ok"], "subscribing again is idempotent"
    update = {"sids": [sid], "market_tickers": [two], "action": "add_markets"}
    await socket.send({"id": 1, "cmd": "update_subscription", "params": update})
    added = await wait_for(socket, "ok")
    assert sorted(added["msg"]["market_tickers"]) == sorted([one, two])
    await wait_for(socket, "orderbook_snapshot", lambda book: book["market_ticker"] == two)
    await socket.send(
        {
            "id": 2,
            "cmd": "update_subscription",
            "params": {"sid": sid, "market_ticker": one, "action": "get_snapshot"},
        }
    )
    snapshot = await wait_for(socket, "orderbook_snapshot")
    assert (snapshot["msg"]["market_ticker"], snapshot["id"]) == (one, 2)
    update["action"] = "delete_markets"
    await socket.send({"id": 3, "cmd": "update_subscription", "params": update})
    assert (await wait_for(socket, "ok"))["msg"]["market_tickers"] == [one]
    await socket.send({"id": 4, "cmd": "list_subscriptions"})
    listed = await wait_for(socket, "ok", lambda message: isinstance(message, list))
    assert listed["msg"] == [{"channel": "orderbook_delta", "sid": sid}]
    await socket.send({"id": 5, "cmd": "unsubscribe", "params": {"sids": [sid]}})
    async with asyncio.timeout(PATIENCE_S):
        while (frame := await socket.next())["type"] != "unsubscribed":
            assert frame["type"] == "orderbook_delta"
    assert (frame["id"], frame["sid"]) == (5, sid)
    assert await socket.rest() == []


@case("C36")
async def test_commands_that_are_refused(sdk: Sdk, socket: Socket) -> None:
    """Each wrong command gets the code of kalshi-api.md section 3, and the socket lives."""
    ticker = (await open_markets(sdk))[0]["ticker"]
    frames = await socket.subscribe("ticker", market_tickers=[ticker])
    sid = frames[0]["msg"]["sid"]

    def update(**params: Any) -> Json:
        return {"id": 1, "cmd": "update_subscription", "params": params}

    for command, code in (
        ({"id": 1, "cmd": "subscribe"}, 2),
        ({"id": 1, "cmd": "subscribe", "params": {}}, 3),
        ({"id": 1, "cmd": "unsubscribe", "params": {}}, 4),
        ({"id": 1, "cmd": "dance"}, 5),
        ({"id": 1, "cmd": "unsubscribe", "params": {"sids": [999]}}, 7),
        ({"id": 1, "cmd": "subscribe", "params": {"channels": ["weather"]}}, 8),
        (update(sids=[sid, sid], action="add_markets", market_ticker=ticker), 12),
        (update(sids=[sid], action="paint", market_ticker=ticker), 13),
        ({"id": 1, "cmd": "subscribe", "params": {"channels": ["orderbook_delta"]}}, 14),
        (update(sids=[sid], market_ticker=ticker), 15),
    ):
        assert await refuse(socket, command) == code, command
    await socket.raw.send("{not json")
    assert (await wait_for(socket, "error"))["msg"]["code"] == 1
    pong = await socket.raw.ping()
    await asyncio.wait_for(pong, PATIENCE_S)
