"""The client over real sockets: what each failure lets a caller conclude, and never a retry."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from libs.common.clock import SystemClock
from libs.kalshi.errors import (
    CursorLoopError,
    NoAnswerError,
    NotSentError,
    RateLimitedError,
    RefusedError,
    ServerFaultError,
    UnreadableError,
)
from libs.kalshi.rest import KalshiClient
from libs.kalshi.rest_orders import ItemRefused
from libs.kalshi.transport import AiohttpTransport, Timeouts
from libs.kalshi.wire.orders import Amendment, Created, NewOrder
from tests.libs.kalshi.client_calls import PlainSigner

CREATED = {"order_id": "o1", "fill_count": "0.00", "remaining_count": "1.00", "ts_ms": 1}
TRADE = {
    "trade_id": "t",
    "ticker": "T",
    "yes_price_dollars": "0.4700",
    "count_fp": "1.00",
    "taker_book_side": "bid",
    "created_time": "2026-10-02T15:00:00Z",
    "is_block_trade": False,
}
PREFIX = "/trade-api/v2"
Reply = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class Exchange:
    """A server that keeps what it was asked and answers with the next reply, the last for ever."""

    replies: list[Reply] = field(default_factory=list)
    requests: list[tuple[str, str, bytes]] = field(default_factory=list)
    signatures: list[str] = field(default_factory=list)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append((request.method, request.path_qs, await request.read()))
        self.signatures.append(request.headers.get("KALSHI-ACCESS-SIGNATURE", ""))
        reply = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
        return await reply(request)

    def says(self, status: int, value: object = None, *, raw: bytes | None = None) -> None:
        body = msgspec.json.encode(value) if raw is None else raw

        async def reply(request: web.Request) -> web.StreamResponse:
            return web.Response(status=status, body=body, content_type="application/json")

        self.replies.append(reply)


@pytest.fixture
async def exchange() -> AsyncIterator[tuple[Exchange, KalshiClient]]:
    state = Exchange()
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", state.handle)
    server = TestServer(app)
    await server.start_server()
    transport = AiohttpTransport(Timeouts(connect_s=2.0, total_s=2.0))
    client = KalshiClient(str(server.make_url(PREFIX)), transport, SystemClock(), PlainSigner())
    yield state, client
    await client.close()
    await server.close()


def an_order(client_order_id: str = "c1") -> NewOrder:
    return NewOrder(
        ticker="KXINXU-26OCT02H1100-T7869.9999",
        client_order_id=client_order_id,
        side="ask",
        price_e4=5300,
        count_e2=100,
        expires_ns=1_791_000_000_000_000_000,
        order_group_id="g1",
    )


async def test_create_sends_one_signed_v2_order(exchange: tuple[Exchange, KalshiClient]) -> None:
    state, client = exchange
    state.says(201, CREATED)
    created = await client.create_order(an_order())
    assert created == Created("o1", 0, 100, 1_000_000)
    method, path, body = state.requests[0]
    assert (method, path) == ("POST", "/trade-api/v2/portfolio/events/orders")
    assert msgspec.json.decode(body) == {
        "ticker": "KXINXU-26OCT02H1100-T7869.9999",
        "client_order_id": "c1",
        "side": "ask",
        "count": "1.00",
        "price": "0.5300",
        "time_in_force": "good_till_canceled",
        "self_trade_prevention_type": "taker_at_cross",
        "post_only": True,
        "cancel_order_on_pause": True,
        "exchange_index": 0,
        "expiration_time": 1_791_000_000,
        "order_group_id": "g1",
    }
    assert state.signatures[0].endswith("POST/trade-api/v2/portfolio/events/orders")


async def test_signature_leaves_the_query_out(exchange: tuple[Exchange, KalshiClient]) -> None:
    state, client = exchange
    state.says(200, {"orders": [], "cursor": ""})
    assert await client.orders(status="resting", since_ns=5_000_000_000) == []
    assert state.requests[0][1] == (
        "/trade-api/v2/portfolio/orders?status=resting&min_ts=4&limit=1000"
    )
    assert state.signatures[0].endswith("GET/trade-api/v2/portfolio/orders")


@pytest.mark.parametrize(
    ("status", "raw", "error"),
    [
        (400, b'{"error":{"code":"invalid_price","message":"m"}}', RefusedError),
        (409, b'{"error":{"code":"order_already_exists","message":"m"}}', RefusedError),
        (429, b'{"error":"too many requests"}', RateLimitedError),
        (500, b"", ServerFaultError),
        (503, b'{"exchange_active":false,"trading_active":false}', ServerFaultError),
        (400, b"<html>", UnreadableError),
        (301, b"", UnreadableError),
        (201, b"{}", UnreadableError),
        (201, b"<html>", UnreadableError),
        (201, b'{"order_id":"o","fill_count":0,"remaining_count":"1","ts_ms":1}', UnreadableError),
        (201, msgspec.json.encode(CREATED | {"client_order_id": "other"}), UnreadableError),
        (401, b'{"error":{"code":"header_timestamp_expired","message":"m"}}', RefusedError),
    ],
)
async def test_a_write_is_sent_once_whatever_comes_back(
    exchange: tuple[Exchange, KalshiClient], status: int, raw: bytes, error: type[Exception]
) -> None:
    state, client = exchange
    state.says(status, raw=raw)
    with pytest.raises(error) as caught:
        await client.create_order(an_order())
    assert type(caught.value) is error
    assert len(state.requests) == 1


async def hang(request: web.Request) -> web.StreamResponse:
    await asyncio.Event().wait()
    raise AssertionError("never reached")


async def hang_up(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.close()
    return web.Response()


async def half_an_answer(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    response = web.StreamResponse(status=201, headers={"Content-Length": "1000"})
    await response.prepare(request)
    await response.write(b'{"order_id":')
    request.transport.close()
    return response


@pytest.mark.parametrize("reply", [hang, hang_up, half_an_answer])
async def test_a_broken_answer_leaves_the_outcome_unknown(reply: Reply) -> None:
    state = Exchange(replies=[reply])
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", state.handle)
    async with TestServer(app) as server:
        transport = AiohttpTransport(Timeouts(connect_s=0.2, total_s=0.3))
        url = str(server.make_url(PREFIX))
        client = KalshiClient(url, transport, SystemClock(), PlainSigner())
        with pytest.raises(NoAnswerError):
            await client.create_order(an_order())
        assert len(state.requests) == 1
        await client.close()


async def test_a_cancel_on_a_kept_connection_is_not_repeated_by_the_transport(
    exchange: tuple[Exchange, KalshiClient],
) -> None:
    """aiohttp would send a DELETE again when a reused connection closes without an answer."""
    state, client = exchange
    state.says(200, {"exchange_active": True, "trading_active": True})
    state.replies.append(hang_up)
    await client.exchange_status()
    with pytest.raises(NoAnswerError):
        await client.cancel_order("o1")
    assert [method for method, _, _ in state.requests] == ["GET", "DELETE"]


async def test_no_listener_means_nothing_was_sent(unused_tcp_port: int) -> None:
    url = f"http://127.0.0.1:{unused_tcp_port}{PREFIX}"
    client = KalshiClient(url, AiohttpTransport(), SystemClock(), PlainSigner())
    with pytest.raises(NotSentError, match="no connection"):
        await client.create_order(an_order())
    await client.close()


async def test_an_order_that_stood_still_in_the_process_does_not_leave_it() -> None:
    """Between `send` and the socket aiohttp takes a turn of the loop: a process that is stopped
    there wakes up with orders of another time. What takes risk away leaves all the same.
    """
    state = Exchange()
    state.says(200, {"order_id": "o1", "reduced_by": "1.00", "ts_ms": 1})
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", state.handle)
    async with TestServer(app) as server:
        transport = AiohttpTransport(Timeouts(leave_s=0.0))
        url = str(server.make_url(PREFIX))
        client = KalshiClient(url, transport, SystemClock(), PlainSigner())
        for _ in range(2):
            with pytest.raises(NotSentError, match="held up"):
                await client.create_order(an_order())
        with pytest.raises(NotSentError, match="held up"):
            await client.reset_order_group("g1")
        await client.cancel_order("o1")
        with pytest.raises(UnreadableError):
            await client.cancel_orders(["o1"])
        assert [method for method, _, _ in state.requests] == ["DELETE", "DELETE"]
        await client.close()


async def test_a_read_is_signed_again_once_with_the_exchanges_time(
    exchange: tuple[Exchange, KalshiClient],
) -> None:
    state, client = exchange
    expired = b'{"error":{"code":"header_timestamp_expired","message":"m"}}'

    async def an_hour_ahead(request: web.Request) -> web.StreamResponse:
        headers = {"Date": "Fri, 01 Jan 2100 00:00:00 GMT"}
        return web.Response(status=401, body=expired, headers=headers)

    state.replies.append(an_hour_ahead)
    state.says(200, {"balance_dollars": "98.0186", "updated_ts": 1})
    assert (await client.balance()).balance_e6 == 98_018_600
    first, second = (int(text.partition("GET")[0]) for text in state.signatures)
    year_2100_ms = 4_102_444_800_000
    assert first < year_2100_ms - 10**10
    assert abs(second - year_2100_ms) < 10_000
    assert abs(client.signing_ms - year_2100_ms) < 10_000  # what a WebSocket is signed with
    state.replies[:] = [an_hour_ahead]
    with pytest.raises(RefusedError, match="header_timestamp_expired"):
        await client.balance()
    assert len(state.requests) == 4


async def test_an_event_without_its_markets_is_refused(
    exchange: tuple[Exchange, KalshiClient],
) -> None:
    state, client = exchange
    event = {
        "event_ticker": "E",
        "series_ticker": "S",
        "title": "",
        "sub_title": "",
        "mutually_exclusive": False,
        "collateral_return_type": "DIRECNET",
    }
    state.says(200, {"event": event, "markets": []})
    with pytest.raises(UnreadableError, match="nested markets"):
        await client.event("E")


async def test_skew_comes_from_the_date_header(exchange: tuple[Exchange, KalshiClient]) -> None:
    state, client = exchange
    assert client.last_skew_ns is None
    state.says(200, {"exchange_active": True, "trading_active": True})
    await client.exchange_status()
    assert client.last_skew_ns is not None
    assert client.last_skew_uncertainty_ns is not None
    # The server runs on this machine's clock: the true skew is zero.
    assert abs(client.last_skew_ns) <= client.last_skew_uncertainty_ns


async def test_status_is_read_from_a_503(exchange: tuple[Exchange, KalshiClient]) -> None:
    state, client = exchange
    state.says(503, {"exchange_active": False, "trading_active": False})
    assert not (await client.exchange_status()).exchange_active
    state.replies.clear()
    state.says(503, raw=b"<html>")
    with pytest.raises(ServerFaultError):
        await client.exchange_status()


async def test_pages_are_followed_to_the_end(exchange: tuple[Exchange, KalshiClient]) -> None:
    state, client = exchange
    position = {
        "ticker": "T",
        "position_fp": "-3.00",
        "market_exposure_dollars": "1.5",
        "realized_pnl_dollars": "-0.25",
        "fees_paid_dollars": "0.017472",
        "total_traded_dollars": "2",
    }
    state.says(200, {"market_positions": [position], "event_positions": [], "cursor": "a/b="})
    other = position | {"ticker": "U"}
    state.says(200, {"market_positions": [other], "event_positions": []})
    positions = await client.positions()
    assert [one.position_e2 for one in positions] == [-300, -300]
    assert state.requests[1][1].endswith("positions?limit=1000&cursor=a%2Fb%3D")


async def test_a_cursor_that_returns_is_an_error(exchange: tuple[Exchange, KalshiClient]) -> None:
    state, client = exchange
    state.says(200, {"fills": [], "cursor": "again"})
    with pytest.raises(CursorLoopError, match="twice"):
        await client.fills()
    assert len(state.requests) == 2


async def test_a_first_page_that_returns_is_an_error(
    exchange: tuple[Exchange, KalshiClient],
) -> None:
    """A cursor that the exchange forgot gives the first page, with a new cursor (§2.5)."""
    state, client = exchange
    for number in range(5):
        state.says(200, {"trades": [TRADE], "cursor": f"c{number}"})
    with pytest.raises(CursorLoopError, match="first page came again, after 1 items"):
        await client.trades("T")
    assert len(state.requests) == 2


async def test_a_shard_is_no_better_than_the_whole(
    exchange: tuple[Exchange, KalshiClient],
) -> None:
    state, client = exchange
    shards = [
        {"exchange_index": 0, "exchange_active": True, "trading_active": False},
        {"exchange_index": 2, "exchange_active": True, "trading_active": True},
    ]
    whole = {"exchange_active": True, "trading_active": True}
    state.says(200, whole | {"exchange_index_statuses": shards})
    status = await client.exchange_status()
    assert [status.of_shard(index).trading_active for index in (0, 1, 2)] == [False, True, True]
    state.replies.clear()
    state.says(200, whole | {"trading_active": False, "exchange_index_statuses": shards[1:]})
    status = await client.exchange_status()
    assert [status.of_shard(index).trading_active for index in (0, 2)] == [False, False]


async def test_batch_create_answers_item_by_item(exchange: tuple[Exchange, KalshiClient]) -> None:
    state, client = exchange
    nulls = {"order_id": None, "fill_count": None, "remaining_count": None, "ts_ms": None}
    state.says(
        201,
        {
            "orders": [
                CREATED | {"client_order_id": "a"},
                nulls | {"client_order_id": "b", "error": {"code": "invalid_price"}},
                nulls | {"error": {"code": "internal_server_error"}},
                nulls | {"client_order_id": "d"},
            ]
        },
    )
    answers = await client.create_orders([an_order(name) for name in "abcd"])
    assert answers[0] == Created("o1", 0, 100, 1_000_000, "a")
    refused = [one for one in answers if isinstance(one, ItemRefused)]
    assert [(one.id, one.proven) for one in refused] == [("b", True), ("c", False), ("d", False)]


async def test_batch_answers_about_other_orders_are_unknown(
    exchange: tuple[Exchange, KalshiClient],
) -> None:
    state, client = exchange
    state.says(201, {"orders": [CREATED]})
    with pytest.raises(UnreadableError, match="expected 2 items"):
        await client.create_orders([an_order("a"), an_order("b")])
    state.replies.clear()
    state.says(200, {"orders": [{"order_id": "x", "reduced_by": "1.00", "ts_ms": 1}]})
    with pytest.raises(UnreadableError, match="expected the answer for 'o1'"):
        await client.cancel_orders(["o1"])


async def test_an_answer_about_another_order_is_unknown(
    exchange: tuple[Exchange, KalshiClient],
) -> None:
    state, client = exchange
    state.says(200, {"order_id": "x", "reduced_by": "1.00", "remaining_count": "1.00", "ts_ms": 1})
    with pytest.raises(UnreadableError, match="expected the answer for 'o1'"):
        await client.cancel_order("o1")
    with pytest.raises(UnreadableError, match="expected the answer for 'o1'"):
        await client.decrease_order("o1", 100)
    state.replies.clear()
    state.says(200, {"order_id": "o2", "client_order_id": "old", "ts_ms": 1})
    change = Amendment(
        ticker="T", side="bid", price_e4=4700, total_e2=250, updated_client_order_id="new"
    )
    with pytest.raises(UnreadableError, match="expected the answer for 'new'"):
        await client.amend_order("o1", change)


async def test_cancel_amend_decrease_and_cancel_all(
    exchange: tuple[Exchange, KalshiClient],
) -> None:
    state, client = exchange
    state.says(200, {"order_id": "o1", "reduced_by": "1.00", "ts_ms": 1781159364112})
    state.says(200, {"order_id": "o2", "remaining_count": "2.00", "fill_count": "0.50", "ts_ms": 1})
    state.says(200, {"order_id": "o1", "remaining_count": "0.50", "ts_ms": 1})
    state.says(
        200, {"orders": [{"order_id": "o1", "reduced_by": "0.00", "error": {"code": "not_found"}}]}
    )
    state.says(204, raw=b"")
    assert (await client.cancel_order("o1")).reduced_by_e2 == 100
    change = Amendment(ticker="T", side="bid", price_e4=4700, total_e2=250, expires_ns=0)
    amended = await client.amend_order("o1", change)
    assert (amended.order_id, amended.remaining_e2, amended.filled_e2) == ("o2", 200, 50)
    assert (await client.decrease_order("o1", 50)).remaining_e2 == 50
    refused = (await client.cancel_orders(["o1"]))[0]
    assert isinstance(refused, ItemRefused)
    assert refused.refusal.code == "not_found"
    await client.cancel_all()
    base = "/trade-api/v2/portfolio/events/orders"
    bodies = [msgspec.json.decode(body) if body else None for _, _, body in state.requests]
    assert [request[:2] for request in state.requests] == [
        ("DELETE", f"{base}/o1?exchange_index=0"),
        ("POST", f"{base}/o1/amend"),
        ("POST", f"{base}/o1/decrease"),
        ("DELETE", f"{base}/batched"),
        ("DELETE", base),
    ]
    assert bodies[1:] == [
        {
            "ticker": "T",
            "side": "bid",
            "price": "0.4700",
            "count": "2.50",
            "exchange_index": 0,
            "expiration_time": 0,
        },
        {"reduce_to": "0.50", "exchange_index": 0},
        {"orders": [{"order_id": "o1", "exchange_index": 0}]},
        None,
    ]


async def test_a_missing_order_or_market_is_none(exchange: tuple[Exchange, KalshiClient]) -> None:
    state, client = exchange
    state.says(404, {"error": {"code": "not_found", "message": "not found"}})
    assert await client.order("o1") is None
    assert await client.market("T") is None


async def test_private_calls_need_a_signer(exchange: tuple[Exchange, KalshiClient]) -> None:
    client = KalshiClient("http://127.0.0.1:1/trade-api/v2", AiohttpTransport(), SystemClock())
    with pytest.raises(RuntimeError, match="needs a signer"):
        await client.balance()
    await client.close()


@pytest.mark.parametrize(
    "bad",
    [
        {"price_e4": 0},
        {"price_e4": 10_000},
        {"count_e2": 0},
        {"client_order_id": ""},
        {"reduce_only": True},
        {"time_in_force": "immediate_or_cancel"},
    ],
)
def test_impossible_orders_cannot_be_built(bad: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="order"):
        msgspec.structs.replace(an_order(), **bad)


def test_the_client_knows_no_cryptography() -> None:
    folder = Path(__file__).resolve().parents[3] / "libs" / "kalshi"
    assert not [path for path in folder.rglob("*.py") if "cryptography" in path.read_text()]


async def test_a_closed_client_sends_nothing():
    client = KalshiClient("http://127.0.0.1:1/trade-api/v2", AiohttpTransport(), SystemClock())
    await client.close()
    with pytest.raises(NotSentError, match="this client is closed"):
        await client.exchange_status()
