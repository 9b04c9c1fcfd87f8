"""The WebSocket: handshake, commands, channels and what their frames say."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from msgspec import structs
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from lab.exchange.ladders import build_ladder
from lab.exchange.model import Amendment, NewOrder
from libs.domain.fee_table import EventFeeOverride, FeeType
from tests.lab.exchange.harness import (
    ED_ID,
    EVENT,
    LADDER,
    MARKET,
    ORDERS,
    RSA_ID,
    START_NS,
    TARGET_NS,
    WS_PATH,
    Exchange,
    S,
    Socket,
    open_socket,
    order_body,
    running_exchange,
    sign_headers,
)
from tests.shared_data import shared_file

OTHER = f"{EVENT}-T7879.9999"
SHARDED = '{{"id":1,"cmd":"subscribe","params":{{"channels":["communications"],{}}}}}'


def messages(frames: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [frame["msg"] for frame in frames if frame["type"] == kind]


async def test_the_handshake_needs_a_key_even_for_public_channels(exchange: Exchange) -> None:
    with pytest.raises(InvalidStatus) as refused:
        await connect(exchange.ws_url)
    assert refused.value.response.status_code == 401
    assert b"signature_is_missing_from_headers" in refused.value.response.body
    for key_id in (RSA_ID, ED_ID):
        async with open_socket(exchange, key_id) as socket:
            assert await socket.rest() == []


async def test_book_frames_are_those_of_the_recording(exchange: Exchange) -> None:
    """The recorded session of June: same keys in the same kinds of frames, plus `clock`."""
    exchange.other_places("bid", 4_700, 300)
    ask = exchange.other_places("ask", 5_200, 200)
    async with open_socket(exchange) as socket:
        frames = await socket.subscribe(
            "orderbook_delta", "trade", market_tickers=[MARKET], use_yes_price=False
        )
        exchange.engine.cancel("maker", ask.order_id, exchange.clock.now_ns())
        frames += await socket.rest()
    old = shared_file("kalshi/recorded/ws__orderbook_trade_noleg.jsonl").read_text()
    recorded = [json.loads(line) for line in old.splitlines() if line.strip()]
    assert [frame["type"] for frame in frames] == [
        "subscribed",
        "orderbook_snapshot",
        "subscribed",
        "orderbook_delta",
    ]
    for frame in frames:
        frame.pop("id", None)
        like = next(each for each in recorded if each["type"] == frame["type"])
        like.pop("id", None)
        assert set(frame) == set(like)
        assert set(frame["msg"]) - {"clock"} == set(like["msg"])
    snapshot = messages(frames, "orderbook_snapshot")[0]
    assert snapshot["yes_dollars_fp"] == [["0.4700", "3.00"]]
    assert snapshot["no_dollars_fp"] == [["0.4800", "2.00"]]
    [delta] = messages(frames, "orderbook_delta")
    assert (delta["price_dollars"], delta["delta_fp"], delta["side"]) == ("0.4800", "-2.00", "no")


async def test_yes_prices_when_asked_for_and_empty_sides_left_out(exchange: Exchange) -> None:
    async with open_socket(exchange) as socket:
        frames = await socket.subscribe(
            "orderbook_delta", market_tickers=[MARKET], use_yes_price=True
        )
        [snapshot] = messages(frames, "orderbook_snapshot")
        assert snapshot["clock"] == 0
        assert "yes_dollars_fp" not in snapshot
        assert "no_dollars_fp" not in snapshot
        exchange.other_places("ask", 5_200, 200)
        [delta] = messages(await socket.rest(), "orderbook_delta")
        assert (delta["price_dollars"], delta["side"], delta["clock"]) == ("0.5200", "no", 1)
        assert "client_order_id" not in delta


async def test_sequence_counts_per_subscription_over_all_its_markets(exchange: Exchange) -> None:
    async with open_socket(exchange) as socket:
        frames = await socket.subscribe("orderbook_delta", market_tickers=[MARKET, OTHER])
        exchange.other_places("bid", 4_000, 100)
        now_ns = exchange.clock.now_ns()
        order = NewOrder(ticker=OTHER, side="bid", price_e4=3_000, count_e2=100)
        exchange.engine.place("maker", order, now_ns)
        exchange.other_places("ask", 4_100, 100)
        frames += await socket.rest()
        assert [frame["seq"] for frame in frames if "seq" in frame] == [1, 2, 3, 4, 5]
        clocks = [(m["market_ticker"], m["clock"]) for m in messages(frames, "orderbook_delta")]
        assert clocks == [(MARKET, 1), (OTHER, 1), (MARKET, 2)]


async def test_deltas_of_one_action_share_their_clock_and_rebuild_the_book(
    exchange: Exchange,
) -> None:
    exchange.other_places("ask", 5_000, 100)
    exchange.other_places("ask", 5_100, 100)
    async with open_socket(exchange) as socket:
        await socket.subscribe("orderbook_delta", market_tickers=[MARKET], use_yes_price=True)
        await exchange.call("POST", ORDERS, order_body(price="0.5200", count="3.00"))
        deltas = messages(await socket.rest(), "orderbook_delta")
        shown = [(d["side"], d["price_dollars"], d["delta_fp"], d["clock"]) for d in deltas]
        assert shown == [
            ("no", "0.5000", "-1.00", 3),
            ("no", "0.5100", "-1.00", 3),
            ("yes", "0.5200", "1.00", 3),
        ]
        assert "client_order_id" not in deltas[0]
        assert "client_order_id" in deltas[2]


async def test_own_orders_fills_positions_trades_and_ticker(exchange: Exchange) -> None:
    exchange.other_places("ask", 4_000, 400)
    async with open_socket(exchange) as socket, open_socket(exchange, ED_ID) as stranger:
        private = ("user_orders", "fill", "market_positions")
        await socket.subscribe(*private, "trade", "ticker")
        await stranger.subscribe(*private)
        placed = await exchange.call("POST", ORDERS, order_body(client_order_id="mine"))
        frames = await socket.rest()
        assert await stranger.rest() == []
    order_id = placed.json()["order_id"]
    orders = messages(frames, "user_order")
    assert [order["remaining_count_fp"] for order in orders] == ["10.00", "6.00"]
    assert orders[-1]["last_update_reason"] == "Trade"
    assert orders[-1]["fill_count_fp"] == "4.00"
    assert "last_update_reason" not in orders[0]
    [fill] = messages(frames, "fill")
    assert (fill["order_id"], fill["client_order_id"]) == (order_id, "mine")
    assert (fill["count_fp"], fill["post_position_fp"]) == ("4.00", "4.00")
    assert fill["fee_cost"] == "0.067200"  # 0.07 x 4 x 0.4 x 0.6
    [position] = messages(frames, "market_position")
    assert (position["position_fp"], position["position_cost_dollars"]) == ("4.00", "1.600000")
    [trade] = messages(frames, "trade")
    assert (trade["trade_id"], trade["taker_book_side"]) == (fill["trade_id"], "bid")
    [ticker] = messages(frames, "ticker")
    assert (ticker["yes_bid_dollars"], ticker["yes_bid_size_fp"]) == ("0.4000", "6.00")
    assert (ticker["yes_ask_dollars"], ticker["yes_ask_size_fp"]) == ("1.0000", "0.00")
    assert (ticker["volume_fp"], ticker["open_interest_fp"]) == ("4.00", "4.00")


async def test_reasons_of_ended_orders(exchange: Exchange) -> None:
    expires_s = exchange.clock.now_ns() // S + 10
    async with open_socket(exchange) as socket:
        await socket.subscribe("user_orders")
        await exchange.call("POST", ORDERS, order_body(expiration_time=expires_s))
        placed = await exchange.call("POST", ORDERS, order_body(price="0.3000"))
        order_id = placed.json()["order_id"]
        await exchange.call("POST", f"{ORDERS}/{order_id}/decrease", {"reduce_to": "4.00"})
        amended = order_body(price="0.3100", count="4.00")
        await exchange.call("POST", f"{ORDERS}/{order_id}/amend", amended)
        await exchange.clock.advance_to(TARGET_NS + S)
        orders = messages(await socket.rest(), "user_order")
    told = [(o["status"], o["remaining_count_fp"], o.get("last_update_reason")) for o in orders]
    assert told == [
        ("resting", "10.00", None),
        ("resting", "10.00", None),
        ("resting", "4.00", "Decrease"),
        ("resting", "4.00", "Amend"),
        ("canceled", "0.00", "ExpiryCancel"),
        ("canceled", "0.00", "CloseCancel"),
    ]
    assert orders[4]["last_updated_ts_ms"] == expires_s * 1000
    assert orders[5]["last_updated_ts_ms"] == TARGET_NS // 1_000_000


async def test_lifecycle_tells_results_but_not_what_time_does(exchange: Exchange) -> None:
    exchange.levels["I:SPX"] = 78_700_000
    async with open_socket(exchange) as socket:
        await socket.subscribe("market_lifecycle_v2")
        await exchange.clock.advance_to(TARGET_NS + 10 * S)
        told = messages(await socket.rest(), "market_lifecycle_v2")
    mine = [message for message in told if message["market_ticker"] == MARKET]
    assert [message["event_type"] for message in mine] == ["determined", "settled"]
    assert (mine[0]["result"], mine[0]["settlement_value"]) == ("yes", "1.0000")
    assert mine[1]["settled_ts"] == TARGET_NS // S + 2


async def test_order_group_updates(exchange: Exchange) -> None:
    async with open_socket(exchange) as socket:
        await socket.subscribe("order_group_updates")
        made = await exchange.call("POST", "/portfolio/order_groups/create", {"contracts_limit": 5})
        group = made.json()["order_group_id"]
        await exchange.call("PUT", f"/portfolio/order_groups/{group}/trigger")
        told = messages(await socket.rest(), "order_group_updates")
    assert [message["event_type"] for message in told] == ["created", "triggered"]
    assert told[0]["contracts_limit_fp"] == "5.00"


async def test_updating_a_subscription(exchange: Exchange) -> None:
    async with open_socket(exchange) as socket:
        first = await socket.subscribe("orderbook_delta", market_ticker=MARKET)
        sid = first[0]["msg"]["sid"]
        update = {"sids": [sid], "market_tickers": [OTHER], "action": "add_markets"}
        await socket.send({"id": 7, "cmd": "update_subscription", "params": update})
        ok, snapshot = await socket.rest()
        assert ok["msg"]["market_tickers"] == [MARKET, OTHER]
        assert snapshot["msg"]["market_ticker"] == OTHER
        again = {"sid": sid, "market_ticker": MARKET, "action": "get_snapshot"}
        await socket.send({"id": 8, "cmd": "update_subscription", "params": again})
        [snapshot] = await socket.rest()
        assert (snapshot["type"], snapshot["id"]) == ("orderbook_snapshot", 8)
        gone = {"sid": sid, "market_ticker": MARKET, "action": "delete_markets"}
        await socket.send({"id": 9, "cmd": "update_subscription", "params": gone})
        [ok] = await socket.rest()
        assert ok["msg"]["market_tickers"] == [OTHER]
        exchange.other_places("bid", 4_000, 100)
        assert await socket.rest() == []
        repeated = await socket.subscribe("orderbook_delta", market_ticker=MARKET)
        assert [frame["type"] for frame in repeated] == ["ok", "orderbook_snapshot"]
        await socket.send({"id": 10, "cmd": "list_subscriptions"})
        listed = await socket.next()
        assert listed["msg"] == [{"channel": "orderbook_delta", "sid": sid}]
        await socket.send({"id": 11, "cmd": "unsubscribe", "params": {"sids": [sid]}})
        [done] = await socket.rest()
        assert (done["type"], done["sid"]) == ("unsubscribed", sid)
        exchange.other_places("bid", 4_000, 100)
        assert await socket.rest() == []


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", 1),
        ("{", 1),
        ("[1]", 1),
        ("null", 1),
        ('{"id":1,"cmd":"dance"}', 5),
        ('{"id":1}', 5),
        ('{"id":1,"cmd":["subscribe"]}', 5),
        ('{"id":"x","cmd":"subscribe","params":{}}', 11),
        ('{"id":1,"cmd":"subscribe"}', 2),
        ('{"id":1,"cmd":"subscribe","params":{}}', 3),
        ('{"id":1,"cmd":"subscribe","params":{"channels":["news"]}}', 8),
        ('{"id":1,"cmd":"subscribe","params":{"channels":[{}]}}', 8),
        ('{"id":1,"cmd":"subscribe","params":{"channels":["orderbook_delta"]}}', 14),
        ('{"id":1,"cmd":"subscribe","params":{"channels":["trade"],"market_tickers":3}}', 11),
        ('{"id":1,"cmd":"subscribe","params":{"channels":["trade"],"use_yes_price":1}}', 11),
        ('{"id":1,"cmd":"unsubscribe","params":{}}', 4),
        ('{"id":1,"cmd":"unsubscribe","params":{"sids":[9]}}', 7),
        ('{"id":1,"cmd":"update_subscription","params":{}}', 12),
        ('{"id":1,"cmd":"update_subscription","params":{"sids":[1,2]}}', 12),
        ('{"id":1,"cmd":"update_subscription","params":{"sid":9}}', 7),
        ('{"id":1,"cmd":"update_subscription","params":{"sid":[]}}', 11),
        ('{"id":1,"cmd":"update_subscription","params":{"sid":1}}', 15),
        ('{"id":1,"cmd":"update_subscription","params":{"sid":1,"action":"fly"}}', 13),
        ('{"id":1,"cmd":"update_subscription","params":{"sid":1,"action":"add_markets"}}', 14),
        ('{"id":1,"cmd":"update_subscription","params":{"sid":1,"sids":[1]}}', 12),
        (
            '{"id":1,"cmd":"update_subscription","params":{"sid":2,"action":"subscribe_indices"}}',
            24,
        ),
        ('{"id":1,"cmd":"update_subscription","params":{"sid":2,"action":"add_markets"}}', 13),
        (
            '{"id":1,"cmd":"update_subscription","params":'
            '{"sid":3,"action":"subscribe_underlyings"}}',
            28,
        ),
        (SHARDED.format('"shard_factor":0'), 19),
        (SHARDED.format('"shard_key":0'), 20),
        (SHARDED.format('"shard_factor":3,"shard_key":3'), 21),
        (SHARDED.format('"shard_factor":101'), 22),
        (SHARDED.format('"shard_factor":"x"'), 11),
    ],
)
async def test_command_errors(exchange: Exchange, text: str, code: int) -> None:
    async with open_socket(exchange) as socket:
        await socket.subscribe("trade", "cfbenchmarks_value", "pyth_value")
        await socket.raw.send(text)
        frame = await socket.next()
        assert (frame["type"], frame["msg"]["code"]) == ("error", code)
        assert await socket.rest() == []


async def test_ping_says_heartbeat_and_frames_may_be_compressed(exchange: Exchange) -> None:
    headers = sign_headers("GET", WS_PATH, exchange.clock.now_ns())
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(exchange.ws_url, headers=headers, autoping=False, compress=15) as socket,
    ):
        assert socket.compress == 15
        await socket.send_str('{"id":1,"cmd":"list_subscriptions"}')
        assert (await socket.receive(5)).type is aiohttp.WSMsgType.TEXT
        await exchange.clock.advance_to(exchange.clock.now_ns() + 10 * S)
        message = await socket.receive(5)
        assert (message.type, message.data) == (aiohttp.WSMsgType.PING, b"heartbeat")


async def test_a_subscription_that_is_not_read_ends_with_25_and_the_others_live(
    tmp_path: Path,
) -> None:
    async with (
        running_exchange(tmp_path, queue_frames_max=16) as exchange,
        open_socket(exchange) as socket,
        open_socket(exchange, ED_ID) as other,
    ):
        for each in (socket, other):
            await each.subscribe("orderbook_delta", market_tickers=[MARKET])
        await socket.subscribe("trade")
        for index in range(17):  # one turn of the loop: the writer cannot drain in between
            exchange.other_places("bid", 4_000, 100 + index)
        for each in (socket, other):
            *deltas, last = await each.rest()
            assert [frame["seq"] for frame in deltas] == list(range(2, 18))
            assert (last["type"], last["msg"]["code"], last["sid"]) == ("error", 25, 1)
        exchange.other_places("bid", 4_000, 100)
        assert await socket.rest() == []
        frames = await socket.subscribe("orderbook_delta", market_tickers=[MARKET])
        assert [frame["type"] for frame in frames] == ["subscribed", "orderbook_snapshot"]
        await exchange.call("POST", ORDERS, order_body(side="ask", count="1.00"))
        kinds = [frame["type"] for frame in await socket.rest()]
        assert kinds == ["orderbook_delta", "trade"]


async def test_a_client_that_commands_without_reading_is_cut(tmp_path: Path) -> None:
    async with running_exchange(tmp_path, queue_frames_max=16) as exchange:
        async with open_socket(exchange) as socket:
            with suppress(ConnectionClosed):
                for _ in range(2_000):  # hundreds of them are in each read of the server
                    await socket.raw.send('{"id":1,"cmd":"fly"}')
            answers = [text async for text in drain(socket)]
            assert len(answers) < 2_000
        async with open_socket(exchange) as socket:
            assert await socket.rest() == []


async def drain(socket: Socket) -> AsyncIterator[str | bytes]:
    """Yield what comes until the connection is over."""
    with suppress(ConnectionClosed):
        while True:
            yield await asyncio.wait_for(socket.raw.recv(), 5)


async def test_one_account_has_two_hundred_connections(tmp_path: Path) -> None:
    async with running_exchange(tmp_path) as exchange, AsyncExitStack() as stack:
        for _ in range(200):
            await stack.enter_async_context(open_socket(exchange))
        with pytest.raises(InvalidStatus) as refused:
            await stack.enter_async_context(open_socket(exchange))
        assert refused.value.response.status_code == 429
        await stack.enter_async_context(open_socket(exchange, ED_ID))


async def test_market_subscriptions_and_commands_are_limited(exchange: Exchange) -> None:
    many = [f"M{number}" for number in range(60_000)]
    async with open_socket(exchange) as socket:
        await socket.subscribe("trade", market_tickers=[MARKET], skip_ticker_ack=True)
        for index in range(9):
            tickers = [f"{ticker}-{index}" for ticker in many]
            params = {
                "sid": 1,
                "action": "add_markets",
                "market_tickers": tickers,
            }
            await socket.send({"id": 7, "cmd": "update_subscription", "params": params})
            frame = await socket.next()
            if index < 8:
                assert frame["type"] == "ok"
        assert (frame["type"], frame["msg"]["code"]) == ("error", 26)
    async with open_socket(exchange) as socket:
        await socket.subscribe("trade", market_tickers=[MARKET], skip_ticker_ack=True)
        params = {"sid": 1, "action": "add_markets", "market_ticker": OTHER}
        for _ in range(1_001):
            await socket.send({"id": 7, "cmd": "update_subscription", "params": params})
        *done, last = await socket.rest()
        assert {frame["type"] for frame in done} == {"ok"}
        assert last["msg"]["code"] == 27


async def test_an_event_is_announced_before_its_markets(exchange: Exchange) -> None:
    later = structs.replace(LADDER, target_ns=TARGET_NS + 3_600 * S)
    async with open_socket(exchange) as socket:
        await socket.subscribe("market_lifecycle_v2")
        exchange.engine.add_ladder(build_ladder(later), exchange.clock.now_ns())
        event, *markets = await socket.rest()
    assert event["type"] == "event_lifecycle"
    assert event["msg"]["event_ticker"] == "KXINXU-26OCT02H1200"
    assert event["msg"]["collateral_return_type"] == "DIRECNET"
    assert event["msg"]["strike_date"] == TARGET_NS // S + 3_600
    assert [frame["msg"]["event_type"] for frame in markets] == ["created"] * 5
    assert [frame["seq"] for frame in markets] == [2, 3, 4, 5, 6]


async def test_an_events_new_fees_are_told_when_they_begin(tmp_path: Path) -> None:
    with_maker = FeeType.QUADRATIC_WITH_MAKER_FEES
    rows = (
        EventFeeOverride(EVENT, START_NS + S, with_maker, 5_000),
        EventFeeOverride(EVENT, START_NS + 3 * S),
    )
    async with (
        running_exchange(tmp_path, fee_overrides=rows) as exchange,
        open_socket(exchange) as socket,
    ):
        await socket.subscribe("market_lifecycle_v2")
        await exchange.clock.advance_to(START_NS + 2 * S)
        told = messages(await socket.rest(), "event_fee_update")
        await exchange.clock.advance_to(START_NS + 4 * S)
        told += messages(await socket.rest(), "event_fee_update")
    shown = [(m["fee_type_override"], m["fee_multiplier_override"]) for m in told]
    assert shown == [("quadratic_with_maker_fees", 0.5), (None, None)]


async def test_tickers_by_market_id(exchange: Exchange) -> None:
    ids = [exchange.engine.market(ticker).spec.market_id for ticker in (MARKET, OTHER)]
    async with open_socket(exchange) as socket:
        frames = await socket.subscribe("ticker", market_id=ids[0], send_initial_snapshot=True)
        assert [frame["type"] for frame in frames] == ["subscribed", "ticker"]
        assert (frames[1]["msg"]["market_id"], frames[1]["msg"]["market_ticker"]) == (
            ids[0],
            MARKET,
        )
        params = {"sid": 1, "action": "add_markets", "market_ids": [ids[1]]}
        await socket.send({"id": 0, "cmd": "update_subscription", "params": params})
        frame = await socket.next()
        assert "id" not in frame, "0 is no id"
        assert sorted(frame["msg"]["market_ids"]) == sorted(ids)
        params = {"sid": 1, "action": "add_markets", "market_id": ids[0], "market_ids": ids}
        await socket.send({"id": 5, "cmd": "update_subscription", "params": params})
        assert (await socket.next())["msg"]["code"] == 11


async def test_index_channels_keep_their_filter_and_stay_silent(exchange: Exchange) -> None:
    async with open_socket(exchange) as socket:
        await socket.subscribe("cfbenchmarks_value", "pyth_value")
        cases: list[tuple[dict[str, Any], str, dict[str, Any]]] = [
            (
                {"sid": 1, "action": "subscribe_indices", "index_ids": ["BRTI"]},
                "ok",
                {"index_ids": ["BRTI"]},
            ),
            ({"sid": 1, "action": "indexlist"}, "cfbenchmarks_value_indexlist", {"index_ids": []}),
            (
                {"sid": 2, "action": "underlying_list"},
                "pyth_value_underlying_list",
                {"underlying_tickers": []},
            ),
        ]
        for params, kind, message in cases:
            await socket.send({"id": 9, "cmd": "update_subscription", "params": params})
            frame = await socket.next()
            assert (frame["type"], frame["msg"]) == (kind, message)


async def test_stopping_closes_the_sockets(tmp_path: Path) -> None:
    async with running_exchange(tmp_path) as exchange, open_socket(exchange) as socket:
        await socket.subscribe("trade")
        await exchange.server.stop()
        with pytest.raises(ConnectionClosed):
            await socket.next()


async def test_an_amended_order_moves_in_the_book(exchange: Exchange) -> None:
    placed = exchange.other_places("bid", 4_000, 100)
    async with open_socket(exchange) as socket:
        await socket.subscribe("orderbook_delta", market_tickers=[MARKET])
        change = Amendment(ticker=MARKET, side="bid", price_e4=4_100, count_e2=200)
        exchange.engine.amend("maker", placed.order_id, change, exchange.clock.now_ns())
        deltas = messages(await socket.rest(), "orderbook_delta")
    shown = [(delta["price_dollars"], delta["delta_fp"]) for delta in deltas]
    assert shown == [("0.4000", "-1.00"), ("0.4100", "2.00")]
    assert len({delta["clock"] for delta in deltas}) == 1


async def test_many_clients_get_the_same_deltas(exchange: Exchange) -> None:
    async with open_socket(exchange) as first, open_socket(exchange, ED_ID) as second:
        for socket in (first, second):
            await socket.subscribe("orderbook_delta", market_tickers=[MARKET])
        for price in range(1_000, 4_000, 100):
            exchange.other_places("bid", price, 100)
        one, other = await asyncio.gather(first.rest(), second.rest())
        assert one == other
        assert len(one) == 30
