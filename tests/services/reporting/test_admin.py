"""gRPC `Ledger` over a real server: books, queries, reports, watermarks, refusals."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from libs.common.admin import AdminServer
from libs.common.memory_bus import MemoryHub
from libs.common.topology import Service
from proto import reporting_pb2 as pb
from proto import reporting_pb2_grpc
from services.reporting.admin import LedgerAdmin
from tests.services.reporting.making import EVENT, TARGET_NS, fill, intent, tick
from tests.services.reporting.rig import NOW_NS, Rig, publish
from tests.services.reporting.sessions import traded_session

TOKEN = (("authorization", "Bearer of-this-test"),)


class Served:
    """Reporting's answers on a port, and the streams behind them."""

    def __init__(self, hub: MemoryHub, rig: Rig, admin: LedgerAdmin, server: AdminServer) -> None:
        self.hub, self.rig, self.admin = hub, rig, admin
        self.channel = grpc.aio.insecure_channel(f"127.0.0.1:{server.port}")
        self.stub: Any = reporting_pb2_grpc.LedgerStub(self.channel)


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    hub = MemoryHub(lambda: NOW_NS)
    for stream, held in traded_session().stored.items():
        for stored in held:
            hub.append(stored.subject, stored.data, f"{stream}{stored.sequence}", None)
    rig = Rig(hub.bus(Service.REPORTING), tmp_path)
    differences = rig.app.core.differences
    admin = LedgerAdmin(rig.ledger, str(tmp_path / "reports"), differences)
    server = AdminServer("127.0.0.1", 0, "of-this-test", (admin.add_to,))
    await server.start()
    made = Served(hub, rig, admin, server)
    yield made
    await made.channel.close(None)
    await server.close()
    await rig.stop()


async def started(served: Served) -> Any:
    await served.rig.start()
    served.admin.attach(served.rig.sink)
    return served.stub


def written(reply: pb.WriteReportReply) -> tuple[str, dict[str, Any]]:
    figures: dict[str, Any] = json.loads(Path(reply.json_path).read_text())
    return Path(reply.markdown_path).read_text(), figures


async def test_not_open_yet_is_unavailable(served: Served) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await served.stub.GetBooks(pb.GetBooksRequest(), metadata=TOKEN)
    assert caught.value.code() == grpc.StatusCode.UNAVAILABLE


async def test_books_hold_what_was_published_before_the_call(served: Served) -> None:
    stub = await started(served)
    late = intent("c3", 2, "bid", 2_000, 100, "v1")
    publish(served.hub, fill(late, "t9", 50))
    books = await stub.GetBooks(pb.GetBooksRequest(event_tickers=[EVENT]), metadata=TOKEN)
    assert (books.account, books.orders, books.fills) == ("pilot", 4, 5)
    assert books.contracts_filled_e2 == 400
    assert dict(books.orders_by_state) == {"filled": 2, "cancelled": 1, "rejected": 1}
    # The late fill (another 0.50 @ .20 that pays nothing) is settled too, and the exchange's
    # position is no longer ours.
    assert books.settlement_pnl_e6 == 1_046_325 - 100_000
    assert [line.split(":")[0] for line in books.settlement_differences] == [late.ticker]


async def test_query_answers_in_json_and_refuses_writing(served: Served) -> None:
    stub = await started(served)
    ask = pb.QueryRequest(
        sql="SELECT side, sum(cost_e6) AS cost FROM fills GROUP BY side ORDER BY 1"
    )
    answer = await stub.Query(ask, metadata=TOKEN)
    assert list(answer.columns) == ["side", "cost"]
    assert json.loads(answer.rows_json) == [["ask", -600_000], ["bid", 550_000]]
    for sql in ("DROP TABLE messages", "SELECT 1; SELECT 2", "x" * 20_001):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.Query(pb.QueryRequest(sql=sql), metadata=TOKEN)
        assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.Query(ask)
    assert caught.value.code() == grpc.StatusCode.UNAUTHENTICATED


async def test_report_is_written_where_the_reply_says(served: Served) -> None:
    stub = await started(served)
    reply = await stub.WriteReport(pb.WriteReportRequest(event_tickers=[EVENT]), metadata=TOKEN)
    assert (reply.books_agree, list(reply.problems)) == (True, [])
    markdown, figures = written(reply)
    assert markdown.startswith("# Session of 2024-08-05 12:00")
    assert figures["totals"]["settled_e6"] == 1_046_325
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.WriteReport(pb.WriteReportRequest(event_tickers=["NONE"]), metadata=TOKEN)
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT


async def test_watermarks_follow_the_streams(served: Served) -> None:
    stub = await started(served)
    publish(served.hub, tick(TARGET_NS - 10**9 * 50, 1))
    await served.rig.sink.catch_up()
    marks = await stub.GetWatermarks(pb.GetWatermarksRequest(), metadata=TOKEN)
    held = {place.stream: place.watermark for place in marks.streams}
    assert (held["TICKS"], held["FILLS"], held["ORDERS"]) == (7, 7, 12)
    assert all(place.missing == 0 for place in marks.streams)
