"""The Massive protocol over a real loopback socket, with time moved by hand.

Message shapes follow the service's public documentation of its indices feed.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from lab.market.faults import parse_faults
from lab.market.massive import BAD_FRAMES_MAX, MassiveServer
from lab.market.path import IndexPath
from libs.common.clock import ManualClock
from tests.lab.market.times import CLOSE_NS, NOON_NS, OPEN_NS

S = 1_000_000_000


class JumpClock(ManualClock):
    """A clock that can jump over what it should have slept through, as after a suspend."""

    async def jump_to(self, at_ns: int) -> None:
        sleepers, self._sleepers = self._sleepers, []
        self._now_ns = at_ns
        for _, _, woken in sleepers:
            woken.set_result(None)
        await self._settle()


KEY = "a-key-for-tests"
PATH = IndexPath(7)


@asynccontextmanager
async def serving(
    start_ns: int = NOON_NS, *faults: str, **options: Any
) -> AsyncIterator[tuple[MassiveServer, JumpClock]]:
    clock = JumpClock(start_ns)
    async with MassiveServer(PATH, clock, KEY, faults=parse_faults(faults), **options) as server:
        yield server, clock


async def told(client: ClientConnection) -> Any:
    async with asyncio.timeout(5):
        return json.loads(await client.recv())


async def ask(client: ClientConnection, action: str, params: str) -> Any:
    await client.send(json.dumps({"action": action, "params": params}))
    return await told(client)


@asynccontextmanager
async def subscribed(server: MassiveServer, channels: str) -> AsyncIterator[ClientConnection]:
    async with connect(server.url) as client:
        assert (await told(client))[0]["status"] == "connected"
        assert (await ask(client, "auth", KEY))[0]["status"] == "auth_success"
        await client.send(json.dumps({"action": "subscribe", "params": channels}))
        for channel in channels.split(","):
            assert await told(client) == [
                {"ev": "status", "status": "success", "message": f"subscribed to: {channel}"}
            ]
        yield client


async def closed_code(client: ClientConnection) -> int | None:
    async with asyncio.timeout(5):
        with suppress(ConnectionClosed):
            async for _ in client:
                pass
    return client.close_code


async def test_connecting_and_authenticating() -> None:
    async with serving() as (server, _), connect(server.url) as client:
        assert await told(client) == [
            {"ev": "status", "status": "connected", "message": "Connected Successfully"}
        ]
        assert await ask(client, "auth", KEY) == [
            {"ev": "status", "status": "auth_success", "message": "authenticated"}
        ]


async def test_a_wrong_key_is_refused_and_closed() -> None:
    async with serving() as (server, _), connect(server.url) as client:
        await told(client)
        assert await ask(client, "auth", "wrong") == [
            {"ev": "status", "status": "auth_failed", "message": "authentication failed"}
        ]
        assert await closed_code(client) == 1008


async def test_the_date_header_shows_the_clock() -> None:
    async with serving() as (server, _), connect(server.url) as client:
        assert client.response is not None
        assert client.response.headers.get_all("Date") == ["Mon, 03 Nov 2025 17:00:00 GMT"]


async def test_other_paths_are_not_found() -> None:
    async with serving() as (server, _):
        with pytest.raises(InvalidStatus, match="404"):
            await connect(server.url.replace("/indices", "/stocks"))


async def test_seconds_arrive_when_they_end() -> None:
    async with serving() as (server, clock), subscribed(server, "A.I:SPX,A.I:NDX") as client:
        await clock.advance_to(NOON_NS + S)
        events = await told(client)
        level = PATH.level_e4("I:SPX", NOON_NS + S) / 10_000
        assert events[0] == {
            "ev": "A",
            "sym": "I:SPX",
            "op": PATH.level_e4("I:SPX", OPEN_NS) / 10_000,
            "o": level,
            "c": level,
            "h": level,
            "l": level,
            "s": NOON_NS // 1_000_000,
            "e": NOON_NS // 1_000_000 + 1_000,
        }
        assert events[1]["sym"] == "I:NDX"
        await clock.advance_to(NOON_NS + 4 * S)
        ends = [(await told(client))[0]["e"] for _ in range(3)]
        assert ends == [NOON_NS // 1_000_000 + second * 1_000 for second in (2, 3, 4)]


async def test_a_minute_arrives_only_when_it_has_ended() -> None:
    async with serving() as (server, clock), subscribed(server, "AM.*") as client:
        await clock.advance_to(NOON_NS + 60 * S)
        events = await told(client)
        assert [event["sym"] for event in events] == ["I:SPX", "I:NDX"]
        minute = PATH.aggregate("I:SPX", NOON_NS, NOON_NS + 60 * S)
        shown = [round(events[0][name] * 10_000) for name in "ohlc"]
        assert shown == [minute.open_e4, minute.high_e4, minute.low_e4, minute.close_e4]
        assert events[0]["s"] == NOON_NS // 1_000_000
        assert events[0]["e"] == events[0]["s"] + 60_000


async def test_nothing_is_sent_outside_cash_hours() -> None:
    async with (
        serving(CLOSE_NS - 2 * S) as (server, clock),
        subscribed(server, "A.I:SPX") as client,
    ):
        await clock.advance_to(CLOSE_NS + 30 * S)
        ends = [(await told(client))[0]["e"] for _ in range(2)]
        assert ends[-1] == CLOSE_NS // 1_000_000
        # The next thing said is the answer to this question: no event came in between.
        assert (await ask(client, "unsubscribe", "A.I:SPX"))[0]["message"].startswith("unsub")


async def test_unsubscribing_ends_a_channel() -> None:
    async with serving() as (server, clock), subscribed(server, "A.I:SPX,A.I:NDX") as client:
        await ask(client, "unsubscribe", "A.I:SPX")
        await clock.advance_to(NOON_NS + S)
        assert [event["sym"] for event in await told(client)] == ["I:NDX"]


async def test_a_second_connection_of_the_key_is_told_max_connections() -> None:
    async with serving() as (server, clock), subscribed(server, "A.I:SPX") as first:
        async with connect(server.url) as second:
            await told(second)
            assert (await ask(second, "auth", KEY))[0]["status"] == "auth_success"
            assert (await told(second))[0]["status"] == "max_connections"
            assert await closed_code(second) == 1008
        await clock.advance_to(NOON_NS + S)
        assert (await told(first))[0]["ev"] == "A"
    async with serving() as (server, _), subscribed(server, "A.I:SPX") as first:
        await first.close()
        # The slot is free again as soon as the server has seen the close.
        async with asyncio.timeout(5), subscribed(server, "A.I:SPX"):
            pass


@pytest.mark.parametrize(
    "frame", ["", "no json", "[]", '{"action":"auth"}', '{"action":1,"params":2}', b"\x00\xff"]
)
async def test_malformed_frames_get_an_error_status(frame: str | bytes) -> None:
    async with serving() as (server, _), connect(server.url) as client:
        await told(client)
        await client.send(frame)
        answer = (await told(client))[0]
        assert (answer["ev"], answer["status"]) == ("status", "error")
        assert (await ask(client, "auth", KEY))[0]["status"] == "auth_success"


async def test_frames_out_of_order_or_unknown_get_an_error_status() -> None:
    async with serving() as (server, _), connect(server.url) as client:
        await told(client)
        assert "not authenticated" in (await ask(client, "subscribe", "A.*"))[0]["message"]
        await ask(client, "auth", KEY)
        assert "unknown action" in (await ask(client, "dance", ""))[0]["message"]
        assert "unknown channel" in (await ask(client, "subscribe", "A.I:DJI"))[0]["message"]
        assert "unknown channel" in (await ask(client, "subscribe", "T.AAPL"))[0]["message"]


async def test_too_many_bad_frames_close_the_connection() -> None:
    async with serving() as (server, _), connect(server.url) as client:
        for _ in range(BAD_FRAMES_MAX):
            await client.send("no json")
        assert await closed_code(client) == 1008


async def test_who_never_authenticates_is_told_and_closed() -> None:
    async with serving(auth_timeout_s=0.05) as (server, _), connect(server.url) as client:
        await told(client)
        assert (await told(client))[0]["status"] == "auth_timeout"
        assert await closed_code(client) == 1008


async def test_a_slow_consumer_is_closed_and_the_slot_is_free_again() -> None:
    async with serving(queue_frames_max=8) as (server, clock):
        async with subscribed(server, "A.*,AM.*") as client:
            # Thirty seconds at one instant: the sender has no turn, its queue must overflow.
            await clock.jump_to(NOON_NS + 30 * S)
            assert await closed_code(client) == 1008
        async with subscribed(server, "A.I:SPX") as client:
            await clock.advance_to(NOON_NS + 31 * S)
            assert (await told(client))[0]["ev"] == "A"


async def test_silence_drops_the_seconds_within_it() -> None:
    async with (
        serving(NOON_NS, "silence@+2s:3s") as (server, clock),
        subscribed(server, "A.I:SPX") as client,
    ):
        await clock.advance_to(NOON_NS + 6 * S)
        ends = [(await told(client))[0]["e"] - NOON_NS // 1_000_000 for _ in range(3)]
        assert ends == [1_000, 5_000, 6_000]


async def test_garbage_is_sent_among_good_events() -> None:
    async with (
        serving(NOON_NS, "garbage@+2s") as (server, clock),
        subscribed(server, "A.I:SPX") as client,
    ):
        await clock.advance_to(NOON_NS + 3 * S)
        async with asyncio.timeout(5):
            frames = [await client.recv() for _ in range(10)]
        assert b"\x00\xff\xfe" in frames
        assert "not json" in frames
        assert json.loads(frames[-1])[0]["e"] == NOON_NS // 1_000_000 + 3_000


async def test_disconnect_closes_and_the_client_may_come_back() -> None:
    async with serving(NOON_NS, "disconnect@+2s") as (server, clock):
        async with subscribed(server, "A.I:SPX") as client:
            await clock.advance_to(NOON_NS + 2 * S)
            assert await closed_code(client) == 1001
        async with subscribed(server, "A.I:SPX") as client:
            await clock.advance_to(NOON_NS + 3 * S)
            assert (await told(client))[0]["e"] == NOON_NS // 1_000_000 + 3_000


async def test_after_a_stall_the_feed_goes_on_from_now() -> None:
    async with serving() as (server, clock), subscribed(server, "A.I:SPX") as client:
        await clock.jump_to(NOON_NS + 600 * S)
        assert (await told(client))[0]["e"] == NOON_NS // 1_000_000 + 600_000


async def test_leaving_closes_clients_and_frees_the_port() -> None:
    async with serving() as (server, _):
        port = int(server.url.rsplit(":", 1)[1].split("/")[0])
        client = await connect(server.url)
    assert await closed_code(client) == 1001
    async with MassiveServer(PATH, ManualClock(NOON_NS), KEY, port=port):
        with pytest.raises(OSError, match="address already in use"):
            async with MassiveServer(PATH, ManualClock(NOON_NS), KEY, port=port):
                pass
