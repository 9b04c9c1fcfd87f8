"""Reporting as a whole over a real NATS server: recover, serve, drain, and do it again."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from libs.common import messages as m
from libs.common.clock import ManualClock
from libs.common.runner import Fatal, Runner
from libs.common.topology import STREAMS, Service, streams_read_by, subject_of
from services.reporting.app import ReportingApp
from services.reporting.ledger import Ledger
from tests.nats_fixture import NatsRig
from tests.services.reporting.rig import NOW_NS, config
from tests.services.reporting.sessions import traded_session

OWNERS = {"TICKS": Service.FEEDS, "LADDERS": Service.FEEDS, "VERDICTS": Service.RISK,
          "ORDERS": Service.BROKER, "FILLS": Service.BROKER}  # fmt: skip
LIMIT_S = 30


async def made(nats: NatsRig, directory: Path) -> tuple[ReportingApp, Runner]:
    """Return the service and its runner, connected and not yet running."""
    token = directory / "token"
    token.write_text("of-this-test")
    app = ReportingApp(config(directory, str(token), poll_s=0.05))
    bus = await nats.connect(Service.REPORTING)
    return app, Runner(app, bus, ManualClock(NOW_NS), app.config)


@asynccontextmanager
async def running(nats: NatsRig, directory: Path) -> AsyncIterator[ReportingApp]:
    """Run the service, and drain it at the end as SIGTERM does."""
    app, runner = await made(nats, directory)
    task = asyncio.create_task(runner.run())
    try:
        yield app
        runner.stop()
        await asyncio.wait_for(task, LIMIT_S)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(true: Callable[[], bool]) -> None:
    """Wait for something that the service does by itself."""
    async with asyncio.timeout(LIMIT_S):
        while not true():
            await asyncio.sleep(0.01)


async def publish_session(nats: NatsRig) -> dict[str, int]:
    """Store the session through its owners' own users; return how many in each stream."""
    session = traded_session()
    for stream, owner in OWNERS.items():
        bus = await nats.connect(owner)
        for stored in session.stored[stream]:
            message = m.decode(stored.data)
            await bus.publish(subject_of(message), stored.data, message_id=message.id)
        await bus.close()
    return {stream: len(session.stored[stream]) for stream in OWNERS}


async def test_a_session_settles_and_survives_a_restart(
    fresh_nats: NatsRig, tmp_path: Path
) -> None:
    expected = await publish_session(fresh_nats)
    async with running(fresh_nats, tmp_path) as app:
        await until(lambda: "3 settled" in app.detail())
    async with running(fresh_nats, tmp_path) as app:
        await until(lambda: "3 settled" in app.detail())
    ledger = Ledger(str(tmp_path / "ledger"))
    try:
        for stream, count in expected.items():
            place = ledger.places()[stream]
            assert (place.rows, place.watermark, place.missing) == (count, count, 0)
        assert ledger.query("SELECT count(), sum(pnl_e6) FROM settlements").rows == [[3, 1_046_325]]
        assert ledger.query(
            "SELECT count() FROM messages FINAL WHERE type = 'settlement.1'"
        ).rows == [[3]]
        assert ledger.query("SELECT count() FROM messages WHERE type = 'bad'").rows == [[0]]
    finally:
        ledger.close()


async def test_a_locked_ledger_ends_the_service_in_one_line(
    fresh_nats: NatsRig, tmp_path: Path
) -> None:
    holder = Ledger(str(tmp_path / "ledger"))
    try:
        _, runner = await made(fresh_nats, tmp_path)
        with pytest.raises(Fatal, match="expected to be its only user"):
            await asyncio.wait_for(runner.run(), LIMIT_S)
    finally:
        holder.close()


def test_reporting_may_read_every_stream() -> None:
    assert streams_read_by(Service.REPORTING) == tuple(stream.name for stream in STREAMS)
