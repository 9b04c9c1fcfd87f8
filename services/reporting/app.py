"""The reporting service: the ledger's only writer, our settlement, the session report."""

import functools
from collections.abc import Sequence

from libs.common.admin import AddServicer
from libs.common.bus import BusError
from libs.common.clock import NS_PER_S
from libs.common.config import read_secret
from libs.common.effects import Core, Received
from libs.common.messages import Message
from libs.common.runner import AppBase, Context, Fatal
from libs.common.topology import Service
from services.reporting.admin import LedgerAdmin
from services.reporting.config import ReportingConfig
from services.reporting.core import ReportingCore
from services.reporting.events import Recovered
from services.reporting.ledger import Ledger, LedgerError
from services.reporting.ledger_thread import LedgerThread
from services.reporting.recovery import fold_ledger
from services.reporting.sink import Sink, SinkLimits

DAY_NS = 86_400 * NS_PER_S


class ReportingApp(AppBase):
    """Keep the ledger, settle what was traded, report it."""

    service = Service.REPORTING

    def __init__(self, config: ReportingConfig) -> None:
        self.config = config
        self._core = ReportingCore(Service.REPORTING, config.settlement)
        self.core: Core = self._core
        self._ledger = LedgerThread(self._open)
        self._sink: Sink | None = None
        self._admin = LedgerAdmin(self._ledger, config.reports_dir, self._core.differences)

    def _open(self) -> Ledger:
        config, password = self.config, ""
        if config.ledger_password_file:
            password = read_secret(config.ledger_password_file, "ledger_password_file")
        return Ledger(
            config.ledger, limits=config.query, user=config.ledger_user, password=password
        )

    async def recover(self, context: Context) -> None:
        """Open the ledger, fold what it holds, then what the streams hold beyond it."""
        limits = SinkLimits(
            rows_max=self.config.insert_rows_max,
            bytes_max=self.config.insert_bytes_max,
            poll_s=self.config.poll_s,
        )
        since_ns = max(0, context.now_ns() - self.config.recover_days * DAY_NS)
        try:
            await self._ledger.open()
            sink = Sink(context, self._ledger, limits)
            await sink.start()
            fold = functools.partial(self._fold, context.now_ns())
            folded = await self._ledger.call(lambda ledger: fold_ledger(ledger, since_ns, fold))
            await sink.catch_up()
        except LedgerError as error:
            raise Fatal(str(error)) from None
        self._sink = sink
        self._admin.attach(sink)
        context.log.info("ledger open", rows=sink.rows, folded=folded, missing=sink.missing)

    def _fold(self, now_ns: int, message: Message, stream: str, sequence: int) -> None:
        # In the ledger's thread, while the event loop waits for it: nobody else has the core.
        effects = self._core.handle(
            Received(now_ns=now_ns, message=message, stream=stream, sequence=sequence)
        )
        assert not effects, "recovery has no effects"

    async def run(self, context: Context) -> None:
        assert self._sink is not None, "run follows recover"
        context.dispatch(Recovered(now_ns=context.now_ns()))
        try:
            await self._sink.run()
        except LedgerError as error:
            raise Fatal(str(error)) from None

    async def drain(self, context: Context) -> None:
        """Take in what is still in the streams, then let go of the ledger."""
        try:
            if self._sink is not None:
                await self._sink.catch_up()
        except (LedgerError, BusError, TimeoutError) as error:
            # Nothing is lost: the next start goes on from the ledger's own watermark.
            context.log.warning("ledger left behind the streams", error=str(error))
        finally:
            await self._ledger.close()

    def detail(self) -> str:
        """Return rows, gaps and what is not settled or not agreed, in one line."""
        if self._sink is None:
            return "opening the ledger"
        missing = sum(self._sink.missing.values())
        parts = [f"{self._sink.rows} rows", f"{len(self._core.settlements)} settled"]
        if missing:
            parts.append(f"{missing} missing from the streams")
        if self._core.unsettled:
            parts.append(f"UNSETTLED {len(self._core.unsettled)}")
        if differences := self._core.differences():
            parts.append(f"ALERT {len(differences)} settlements differ from the exchange's")
        if self._sink.unavailable_since_ns is not None:
            parts.append("LEDGER UNAVAILABLE")
        return ", ".join(parts)

    def admin_services(self) -> Sequence[AddServicer]:
        return (self._admin.add_to,)
