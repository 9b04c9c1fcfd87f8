"""The index adapter against the simulator's server, over real sockets, on a clock set by hand."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest
from msgspec.structs import replace
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve

from lab.market.faults import parse_faults
from lab.market.massive import MassiveServer
from lab.market.path import IndexPath
from libs.common.clock import ManualClock
from libs.common.effects import Event
from libs.common.logs import make_logger
from libs.common.metrics import Metrics
from services.feeds.events import FeedFailed, IndexBar, SkewMeasured
from services.feeds.massive import MassiveFeed
from services.feeds.raw import RawLog
from tests.lab.market.times import NOON_NS
from tests.services.feeds.feeding import CONFIG, S

KEY = "the-key-of-the-index-feed"
PATH = IndexPath(7)
E = TypeVar("E", bound=Event)


class Listener:
    """What the adapter hands on, and what it keeps as raw copies, as they come."""

    def __init__(
        self,
        url: str,
        tmp_path: Path,
        key: str = KEY,
        clock: ManualClock | None = None,
        refused_wait_s: float = 0.05,
    ) -> None:
        self.clock = clock or ManualClock(NOON_NS)
        self.task: asyncio.Task[None] | None = None
        self.arrived: asyncio.Queue[Event | str] = asyncio.Queue()
        self.metrics = Metrics()
        log = make_logger("feeds", self.clock)
        arrived = self.arrived

        class Copies(RawLog):
            def add(self, raw: str | bytes, recv_ns: int) -> None:
                super().add(raw, recv_ns)
                arrived.put_nowait(str(raw))

        self.feed = MassiveFeed(
            replace(CONFIG, index_url=url),
            key,
            self.clock,
            self.arrived.put_nowait,
            Copies(tmp_path, "index.ws", self.clock, log, 10**6),
            log,
            self.metrics,
            refused_wait_s=refused_wait_s,
        )

    async def next(self, kind: type[E], wanted: Callable[[E], bool] = lambda _: True) -> E:
        async with asyncio.timeout(10):
            while True:
                found = await self.arrived.get()
                if isinstance(found, kind) and wanted(found):
                    return found

    async def subscribed(self) -> None:
        async with asyncio.timeout(10):
            while True:
                found = await self.arrived.get()
                if isinstance(found, str) and "subscribed to: A.I:NDX" in found:
                    return

    async def second(self) -> None:
        await self.clock.advance_to(self.clock.now_ns() + S)

    def count(self, name: str, **labels: str) -> float:
        value = self.metrics.registry.get_sample_value(f"alpha_{name}_total", labels)
        return value or 0.0


@asynccontextmanager
async def listening(tmp_path: Path, *faults: str, key: str = KEY) -> AsyncIterator[Listener]:
    """Run the adapter against a server that shares its clock."""
    clock = ManualClock(NOON_NS)
    async with MassiveServer(PATH, clock, KEY, faults=parse_faults(faults)) as server:
        listener = Listener(server.url, tmp_path, key, clock)
        listener.task = task = asyncio.create_task(listener.feed.run())
        try:
            yield listener
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def test_bars_of_both_indices_come_with_their_times(tmp_path: Path) -> None:
    async with listening(tmp_path) as listener:
        await listener.subscribed()
        await listener.second()
        bars = [await listener.next(IndexBar), await listener.next(IndexBar)]
        assert {bar.symbol for bar in bars} == {"I:SPX", "I:NDX"}
        for bar in bars:
            assert (bar.start_ns, bar.end_ns, bar.now_ns) == (NOON_NS, NOON_NS + S, NOON_NS + S)
            assert bar.level_e4 == PATH.level_e4(bar.symbol, bar.end_ns)


async def test_the_handshake_s_date_tells_the_skew(tmp_path: Path) -> None:
    async with listening(tmp_path) as listener:
        skew = await listener.next(SkewMeasured)
        assert skew.reference == "massive"
        assert abs(skew.skew_ns) <= skew.uncertainty_ns <= S


async def test_garbage_is_counted_and_bars_go_on(tmp_path: Path) -> None:
    async with listening(tmp_path, "garbage@+2s") as listener:
        await listener.subscribed()
        for _ in range(3):
            await listener.second()
        await listener.next(IndexBar, lambda bar: bar.end_ns == NOON_NS + 3 * S)
        assert listener.count("frames_bad", feed="index.ws", reason="unreadable") == 4
        assert listener.count("disconnects", feed="index.ws") == 0


async def test_a_lost_connection_is_told_and_taken_up_again(tmp_path: Path) -> None:
    async with listening(tmp_path, "disconnect@+2s") as listener:
        await listener.subscribed()
        await listener.second()
        await listener.next(IndexBar)
        await listener.second()
        failed = await listener.next(FeedFailed)
        assert (failed.feed, failed.losses) == ("index.ws", 1)
        await listener.subscribed()
        await listener.second()
        await listener.next(IndexBar, lambda bar: bar.end_ns == NOON_NS + 3 * S)
        assert listener.count("disconnects", feed="index.ws") == 1


async def test_silence_is_not_filled(tmp_path: Path) -> None:
    async with listening(tmp_path, "silence@+2s:3s") as listener:
        await listener.subscribed()
        for _ in range(6):
            await listener.second()
        ends = [
            (await listener.next(IndexBar, lambda bar: bar.symbol == "I:SPX")).end_ns
            for _ in range(3)
        ]
        assert ends == [NOON_NS + n * S for n in (1, 5, 6)]


async def test_a_refused_key_ends_the_feed_in_words_without_the_key(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = "a-wrong-key-of-somebody"
    async with listening(tmp_path, key=wrong) as listener:
        failed = await listener.next(FeedFailed)
        assert failed.detail.startswith("ended: auth_failed")
        assert "index_key_file" in failed.detail
        assert wrong not in failed.detail
        assert listener.task is not None
        async with asyncio.timeout(5):
            await listener.task  # it ends by itself
        assert listener.arrived.empty()
    assert wrong not in capsys.readouterr().err


async def test_one_connection_too_many_ends_the_feed_after_one_more_try(tmp_path: Path) -> None:
    clock = ManualClock(NOON_NS)
    async with MassiveServer(PATH, clock, KEY) as server, connect(server.url) as holder:
        await holder.recv()
        await holder.send(json.dumps({"action": "auth", "params": KEY}))
        assert "auth_success" in str(await holder.recv())
        listener = Listener(server.url, tmp_path)
        async with asyncio.timeout(10):
            await listener.feed.run()  # it ends by itself
        told = [event for event in drained(listener) if isinstance(event, FeedFailed)]
        assert len(told) == 2
        assert "max_connections" in told[0].detail
        assert told[1].detail.startswith("ended: max_connections")


async def test_a_place_that_becomes_free_is_taken_at_the_second_try(tmp_path: Path) -> None:
    clock = ManualClock(NOON_NS)
    async with MassiveServer(PATH, clock, KEY) as server:
        async with connect(server.url) as holder:
            await holder.recv()
            await holder.send(json.dumps({"action": "auth", "params": KEY}))
            await holder.recv()
            listener = Listener(server.url, tmp_path, refused_wait_s=0.5)
            task = asyncio.create_task(listener.feed.run())
            assert "max_connections" in (await listener.next(FeedFailed)).detail
        await listener.subscribed()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def drained(listener: Listener) -> list[Any]:
    return [listener.arrived.get_nowait() for _ in range(listener.arrived.qsize())]


async def test_an_absent_server_is_tried_again_until_it_is_there(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    listener = Listener(f"ws://127.0.0.1:{port}/indices", tmp_path)
    task = asyncio.create_task(listener.feed.run())
    assert "connection failed" in (await listener.next(FeedFailed)).detail
    async with MassiveServer(PATH, listener.clock, KEY, port=port):
        await listener.subscribed()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert listener.feed._losses == 1  # attempts that never stood are no losses


@pytest.mark.parametrize(
    ("frames", "expected"),
    [
        (['[{"ev":"status","status":"connected"}]', '[{"ev":"status","status":"error"}]'], "says"),
        (['[{"ev":"status","status":"auth_timeout","message":"late"}]'], "auth_timeout: late"),
        (['[{"ev":"status","status":"x","message":"Policy violation"}]'], "Policy violation"),
    ],
)
async def test_each_refusal_ends_the_feed(tmp_path: Path, frames: list[str], expected: str) -> None:
    async def refuse(connection: ServerConnection) -> None:
        for frame in frames:
            await connection.send(frame)
        await connection.wait_closed()

    async with serve(refuse, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        listener = Listener(f"ws://127.0.0.1:{port}", tmp_path)
        async with asyncio.timeout(10):
            await listener.feed.run()
    told = [event for event in drained(listener) if isinstance(event, FeedFailed)]
    assert told[-1].detail.startswith("ended:")
    assert expected in told[-1].detail


async def test_a_server_that_drops_us_after_each_log_in_is_asked_ever_more_slowly(
    tmp_path: Path,
) -> None:
    async def welcome_and_drop(connection: ServerConnection) -> None:
        await connection.send('[{"ev":"status","status":"connected"}]')
        await connection.recv()
        await connection.send('[{"ev":"status","status":"auth_success"}]')
        await connection.recv()

    async with serve(welcome_and_drop, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        listener = Listener(f"ws://127.0.0.1:{port}", tmp_path)
        task = asyncio.create_task(listener.feed.run())
        for _ in range(3):
            await listener.next(FeedFailed)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    waits = [listener.feed._backoff_s() for _ in range(2)]
    assert waits[0] >= 0.25 * 2**3 / 2  # three failures so far: at least half of the doubled wait
    assert waits[1] >= 0.25 * 2**4 / 2
