"""The ledger of a driven run: the same rows under the same keys as a live session's."""

from pathlib import Path

from lab.drive.services import Services
from libs.common.clock import NS_PER_S
from libs.common.effects import Received
from libs.common.messages import LedgerStatus, Message, tag_of
from libs.common.topology import STREAMS, Service
from services.reporting.config import ReportingConfig
from services.reporting.events import Inserted
from services.reporting.ledger import Ledger, LedgerRow

FOLD_EVERY_NS = NS_PER_S


class LedgerWriter:
    """Take every stored message; write rows in batches, and tell reporting's core of them.

    A live sink tells the core when rows are durable. Here a row that can't be written ends the
    run, so the core is told every second of the run's time and rows go down in larger batches.
    """

    def __init__(self, ledger: Ledger | None, services: Services, config: ReportingConfig) -> None:
        self._ledger = ledger
        self._services = services
        self._rows_max = config.insert_rows_max
        self._bytes_max = config.insert_bytes_max
        self._rows: list[LedgerRow] = []
        self._size_bytes = 0
        self._untold: list[tuple[str, int, Message]] = []
        self._marks = {stream.name: 0 for stream in STREAMS}
        self._stop_ns = 0
        self.rows = 0
        services.watch = self.take

    def start(self, until_ns: int) -> None:
        """Tell the core every second until that time."""
        self._stop_ns = until_ns
        self._turn()

    def take(self, stream: str, sequence: int, subject: str, message: Message, data: bytes) -> None:
        """Take one stored message. Raises LedgerError when a batch can't be written."""
        self._untold.append((stream, sequence, message))
        if self._ledger is None:
            return
        self._rows.append(
            LedgerRow(
                stream,
                sequence,
                subject,
                tag_of(type(message)),
                message.id,
                message.ts_event_ns,
                message.ts_pub_ns,
                message.source,
                data.decode(),
            )
        )
        self._size_bytes += len(data)
        if len(self._rows) >= self._rows_max or self._size_bytes >= self._bytes_max:
            self.flush()

    def flush(self) -> None:
        """Write what has gathered. Raises LedgerError."""
        if self._ledger is not None:
            self._ledger.insert(self._rows)
        self._rows, self._size_bytes = [], 0

    def fold(self) -> None:
        """Tell reporting's core of everything since the last time, as one durable batch."""
        untold, self._untold = self._untold, []
        now_ns, reporting = self._services.schedule.now_ns, self._services[Service.REPORTING]
        for stream, sequence, message in untold:
            self._marks[stream] = sequence
            reporting.dispatch(
                Received(now_ns=now_ns, message=message, stream=stream, sequence=sequence)
            )
        self.rows += len(untold)
        news = sum(not isinstance(message, LedgerStatus) for _, _, message in untold)
        reporting.dispatch(
            Inserted(now_ns=now_ns, watermarks=dict(self._marks), rows=self.rows, news=news)
        )

    def _turn(self) -> None:
        self.fold()
        schedule = self._services.schedule
        if schedule.now_ns < self._stop_ns:
            schedule.at(schedule.now_ns + FOLD_EVERY_NS, self._turn)


def open_ledger(directory: Path, config: ReportingConfig) -> Ledger:
    """Open a new ledger for a run. Raises LedgerError."""
    return Ledger(str(directory), limits=config.query)
