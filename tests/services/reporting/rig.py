"""Reporting's real sink, core and ledger on an in-process bus; nothing is pretended."""

from pathlib import Path
from typing import Any

from libs.common import messages as m
from libs.common.bus import Bus
from libs.common.clock import ManualClock
from libs.common.effects import Received
from libs.common.memory_bus import MemoryHub
from libs.common.runner import AppBase, Context
from libs.common.topology import Service, subject_of
from services.reporting.config import ReportingConfig
from services.reporting.core import ReportingCore, SettlementPolicy
from services.reporting.events import Recovered
from services.reporting.ledger import Ledger
from services.reporting.ledger_thread import LedgerThread
from services.reporting.recovery import fold_ledger
from services.reporting.sink import Sink, SinkLimits
from tests.services.reporting.making import TARGET_NS, S

NOW_NS = TARGET_NS + 120 * S
COUNTS = (
    "SELECT stream, count(), uniqExact(seq), max(seq) FROM messages FINAL "
    "WHERE stream IN ('TICKS', 'LADDERS', 'VERDICTS', 'ORDERS', 'FILLS') "
    "GROUP BY stream ORDER BY stream"
)


def config(directory: Path, admin_token_file: str = "", **changed: Any) -> ReportingConfig:
    return ReportingConfig(
        service="reporting",
        nats_url="",
        nats_password_file="",
        admin_token_file=admin_token_file,
        log_level="error",
        ledger=str(directory / "ledger"),
        reports_dir=str(directory / "reports"),
        **changed,
    )


class Shell(AppBase):
    """An app that is only its core: the tests drive the sink themselves."""

    service = Service.REPORTING

    def __init__(self) -> None:
        self.core = ReportingCore("reporting", SettlementPolicy())

    async def recover(self, context: Context) -> None:
        """Do nothing: the rig recovers."""

    async def run(self, context: Context) -> None:
        """Do nothing: the rig runs."""


class Rig:
    """One life of reporting over a bus and a directory that outlive it."""

    def __init__(self, bus: Bus, directory: Path, *, rows_max: int = 5_000) -> None:
        self.app = Shell()
        self.clock = ManualClock(NOW_NS)
        self.context = Context(self.app, bus, self.clock, config(directory))
        self.ledger = LedgerThread(lambda: Ledger(str(directory / "ledger")))
        limits = SinkLimits(rows_max=rows_max, bytes_max=16_000_000, poll_s=0.25)
        self.sink = Sink(self.context, self.ledger, limits)

    async def start(self) -> None:
        """Open, fold what the ledger holds, catch up, begin to publish."""
        await self.ledger.open()
        await self.sink.start()
        await self.ledger.call(lambda ledger: fold_ledger(ledger, 0, self._fold))
        await self.sink.catch_up()
        self.context.dispatch(Recovered(now_ns=NOW_NS))

    def _fold(self, message: m.Message, stream: str, sequence: int) -> None:
        self.app.core.handle(
            Received(now_ns=NOW_NS, message=message, stream=stream, sequence=sequence)
        )

    async def crash_after_insert(self) -> None:
        """Read and insert a batch, then die before anything else is done about it."""
        taken, _ = await self.sink._read_batch()
        await self.ledger.insert([each.row for each in taken])
        await self.stop()

    async def stop(self) -> None:
        await self.ledger.close()


def publish(hub: MemoryHub, *messages: m.Message) -> None:
    """Store messages as their owners would."""
    for message in messages:
        hub.append(subject_of(message), m.encode(message), message.id, None)


def row_counts(rows: list[list[Any]]) -> dict[str, tuple[int, int, int]]:
    return {stream: (count, distinct, last) for stream, count, distinct, last in rows}
