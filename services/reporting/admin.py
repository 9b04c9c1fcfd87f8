"""gRPC `Ledger`: how others read the embedded ledger, books, and reports on demand."""

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import grpc

from libs.common.bus import BusError
from proto import reporting_pb2 as pb
from proto import reporting_pb2_grpc
from services.reporting.account_books import account_books
from services.reporting.ledger import LedgerError, LedgerRefused
from services.reporting.ledger_thread import LedgerThread
from services.reporting.report import write_report
from services.reporting.sink import Sink

EVENTS_MAX = 500
SQL_LENGTH_MAX = 20_000
T = TypeVar("T")


class LedgerAdmin(reporting_pb2_grpc.LedgerServicer):
    """Answer from the ledger, caught up with the streams first."""

    def __init__(
        self, ledger: LedgerThread, reports_dir: str, differences: Callable[[], dict[str, str]]
    ) -> None:
        self._ledger = ledger
        self._reports_dir = Path(reports_dir)
        self._differences = differences
        self._sink: Sink | None = None

    def attach(self, sink: Sink) -> None:
        """Begin to answer: the ledger is open and recovered."""
        self._sink = sink

    def add_to(self, server: grpc.aio.Server) -> str:
        """Register with a server; return the service's full name."""
        reporting_pb2_grpc.add_LedgerServicer_to_server(self, server)
        return str(pb.DESCRIPTOR.services_by_name["Ledger"].full_name)

    async def GetBooks(self, request: pb.GetBooksRequest, context: Any) -> pb.Books:  # noqa: N802
        async def answer(sink: Sink) -> pb.Books:
            await sink.catch_up()
            events = _events(request.event_tickers)
            fields = await self._ledger.call(lambda ledger: account_books(ledger, events))
            markets = [pb.MarketBooks(**market) for market in fields.pop("markets")]
            differences = [f"{ticker}: {text}" for ticker, text in self._differences().items()]
            return pb.Books(**fields, markets=markets, settlement_differences=differences)

        return await self._answered(answer, context)

    async def Query(self, request: pb.QueryRequest, context: Any) -> pb.QueryReply:  # noqa: N802
        async def answer(_: Sink) -> pb.QueryReply:
            if len(request.sql) > SQL_LENGTH_MAX:
                raise LedgerRefused(
                    f"query: expected at most {SQL_LENGTH_MAX} characters, got {len(request.sql)}"
                )
            found = await self._ledger.query(request.sql)
            rows = json.dumps(found.rows, ensure_ascii=False)
            return pb.QueryReply(columns=found.columns, rows_json=rows, row_count=len(found.rows))

        return await self._answered(answer, context)

    async def WriteReport(  # noqa: N802
        self, request: pb.WriteReportRequest, context: Any
    ) -> pb.WriteReportReply:
        async def answer(sink: Sink) -> pb.WriteReportReply:
            await sink.catch_up()
            events = _events(request.event_tickers)
            written = await self._ledger.call(
                lambda ledger: write_report(ledger, self._reports_dir, events, request.session)
            )
            return pb.WriteReportReply(
                markdown_path=str(written.markdown),
                json_path=str(written.json),
                books_agree=not written.problems,
                problems=written.problems,
            )

        return await self._answered(answer, context)

    async def GetWatermarks(  # noqa: N802
        self, request: pb.GetWatermarksRequest, context: Any
    ) -> pb.Watermarks:
        async def answer(sink: Sink) -> pb.Watermarks:
            places = [
                pb.StreamPlace(stream=name, watermark=mark, missing=sink.missing[name])
                for name, mark in sorted(sink.watermarks.items())
            ]
            return pb.Watermarks(streams=places, rows=sink.rows)

        return await self._answered(answer, context)

    async def _answered(self, answer: Callable[[Sink], Awaitable[T]], context: Any) -> T:
        """Return the answer, or end the call with a status whose text is one line."""
        sink = self._sink
        if sink is None:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "the ledger is not open yet")
            raise AssertionError("abort raises")
        try:
            return await answer(sink)
        except LedgerRefused as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        except (LedgerError, BusError, TimeoutError) as error:
            await context.abort(grpc.StatusCode.UNAVAILABLE, str(error) or type(error).__name__)
        raise AssertionError("abort raises")


def _events(event_tickers: Any) -> list[str]:
    events = [str(ticker) for ticker in event_tickers]
    if len(events) > EVENTS_MAX:
        raise LedgerRefused(f"events: expected at most {EVENTS_MAX}, got {len(events)}")
    return events
