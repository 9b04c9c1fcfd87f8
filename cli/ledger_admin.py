"""Ask reporting's admin endpoint: the ledger's books, and session reports."""

from typing import Any

from cli.admin_client import admin_channel, authorization, call
from cli.run_directory import RunDirectory
from proto import reporting_pb2, reporting_pb2_grpc

CALL_TIMEOUT_S = 30.0


async def get_books(run: RunDirectory, port: int) -> Any:
    """Return gRPC `Books` of all events in the ledger; raise `AdminError`."""
    return await _ask(run, port, "GetBooks", reporting_pb2.GetBooksRequest())


async def write_report(run: RunDirectory, port: int, session: str = "") -> Any:
    """Write the report of a New York day (all of the ledger by default); raise `AdminError`."""
    request = reporting_pb2.WriteReportRequest(session=session)
    return await _ask(run, port, "WriteReport", request)


async def _ask(run: RunDirectory, port: int, method: str, request: Any) -> Any:
    metadata = authorization(run.token("admin.token"))
    async with admin_channel(port) as channel:
        stub = reporting_pb2_grpc.LedgerStub(channel)
        return await call(getattr(stub, method), request, metadata, CALL_TIMEOUT_S)
