"""The sink over real streams and a real ledger: count = distinct = what the stream holds."""

from pathlib import Path

import pytest

from libs.common import messages as m
from libs.common.memory_bus import MemoryHub
from libs.common.topology import Service
from services.reporting.ledger import LedgerMismatch
from tests.services.reporting.making import (
    EVENT,
    RUNGS,
    SERIES,
    TARGET_NS,
    S,
    fill,
    intent,
    ladder,
    row_of,
    tick,
)
from tests.services.reporting.rig import COUNTS, NOW_NS, Rig, publish, row_counts
from tests.services.reporting.sessions import traded_session

ONE = intent("c1", 0, "bid", 4_500, 100, "v1")


@pytest.fixture
def hub() -> MemoryHub:
    return MemoryHub(lambda: NOW_NS)


def prints(count: int, first: int = 0) -> list[m.Message]:
    start_ns = TARGET_NS - 3_000 * S
    return [tick(start_ns + number * S, 51_500_000) for number in range(first, first + count)]


def rig_on(hub: MemoryHub, directory: Path, *, rows_max: int = 5_000) -> Rig:
    return Rig(hub.bus(Service.REPORTING), directory, rows_max=rows_max)


async def counts(rig: Rig) -> dict[str, tuple[int, int, int]]:
    return row_counts((await rig.ledger.query(COUNTS)).rows)


async def test_everything_stored_is_in_the_ledger_once(hub: MemoryHub, tmp_path: Path) -> None:
    publish(hub, *prints(2_500), ladder(), ONE, fill(ONE, "t1", 100))
    rig = rig_on(hub, tmp_path, rows_max=700)
    await rig.start()
    assert await counts(rig) == {
        "FILLS": (1, 1, 1), "LADDERS": (1, 1, 1), "ORDERS": (1, 1, 1), "TICKS": (2_500,) * 3,
    }  # fmt: skip
    await rig.stop()


async def test_a_crash_between_insert_and_next_read_repeats_nothing(
    hub: MemoryHub, tmp_path: Path
) -> None:
    publish(hub, *prints(300), ladder(), ONE, fill(ONE, "t1", 100))
    first = rig_on(hub, tmp_path)
    await first.start()
    publish(hub, *prints(300, first=300), fill(ONE, "t2", 50))
    await first.crash_after_insert()
    publish(hub, *prints(100, first=600))
    second = rig_on(hub, tmp_path)
    await second.start()
    found = await counts(second)
    assert found["TICKS"] == (700, 700, 700)
    assert found["FILLS"] == (2, 2, 2)
    # The core folded what only the ledger could tell it: both fills, once each.
    position = second.app.core.positions[RUNGS[0]]
    assert (position.position_e2, position.fills) == (150, 2)
    await second.stop()


async def test_an_overlapping_insert_changes_nothing(hub: MemoryHub, tmp_path: Path) -> None:
    publish(hub, *prints(50), fill(ONE, "t1", 100))
    rig = rig_on(hub, tmp_path)
    await rig.start()
    stored = await hub.bus(Service.REPORTING).read("TICKS", 20, 30)
    await rig.ledger.insert([row_of("TICKS", each) for each in stored])
    publish(hub, *prints(10, first=50))
    await rig.sink.catch_up()
    assert (await counts(rig))["TICKS"] == (60, 60, 60)
    await rig.stop()


async def test_what_cannot_be_read_is_stored_as_bad_and_dead_lettered(
    hub: MemoryHub, tmp_path: Path
) -> None:
    publish(hub, *prints(1))
    subject = f"fills.{SERIES}.{EVENT}"
    hub.append(subject, b'{"type":"fill.1","trade_id"', "torn", None)
    hub.append(subject, m.encode(fill(ONE, "t1", 100)), "good", None)
    hub.append("fills.KXOTHER.KXOTHER-24AUG05H1200", m.encode(fill(ONE, "t2", 100)), "lost", None)
    hub.append("ticks.index.I_3ASPX", b"\xff\xfe\x00", "binary", None)
    hub.append("ticks.index.I_3ASPX", m.encode(tick(NOW_NS + 6 * S, 1)), "future", None)
    rig = rig_on(hub, tmp_path)
    await rig.start()
    await rig.sink.catch_up()
    bad = await rig.ledger.query(
        "SELECT stream, seq, payload FROM messages FINAL WHERE type = 'bad' ORDER BY stream, seq"
    )
    assert [row[:2] for row in bad.rows] == [["FILLS", 1], ["FILLS", 3], ["TICKS", 2], ["TICKS", 3]]
    assert bad.rows[0][2] == '{"type":"fill.1","trade_id"'
    letters = await rig.ledger.query(
        "SELECT JSONExtractString(payload, 'stream'), JSONExtractInt(payload, 'sequence') "
        "FROM messages FINAL WHERE stream = 'DEAD' ORDER BY 1, 2"
    )
    assert letters.rows == [["FILLS", 1], ["FILLS", 3], ["TICKS", 2], ["TICKS", 3]]
    assert rig.app.core.positions[RUNGS[0]].fills == 1
    await rig.stop()


async def test_what_a_stream_lost_before_it_was_read_is_counted(
    hub: MemoryHub, tmp_path: Path
) -> None:
    publish(hub, *prints(10))
    for _ in range(4):
        hub.log("TICKS")._drop_oldest()
    rig = rig_on(hub, tmp_path)
    await rig.start()
    assert rig.sink.missing["TICKS"] == 4
    assert rig.sink.watermarks["TICKS"] == 10
    await rig.stop()


async def test_a_ledger_of_another_run_is_refused(hub: MemoryHub, tmp_path: Path) -> None:
    publish(hub, *prints(3), fill(ONE, "t1", 100))
    first = rig_on(hub, tmp_path)
    await first.start()
    await first.stop()
    other = MemoryHub(lambda: NOW_NS)
    publish(other, fill(ONE, "t9", 100))
    second = rig_on(other, tmp_path)
    with pytest.raises(LedgerMismatch, match=r"FILLS.*of another run: give this run a new dir"):
        await second.start()
    await second.stop()


async def test_a_market_data_stream_that_lost_its_end_is_followed(
    hub: MemoryHub, tmp_path: Path
) -> None:
    # An OS crash took ticks 8 to 10; their sequences now belong to other ticks.
    publish(hub, *prints(10))
    rig = rig_on(hub, tmp_path)
    await rig.start()
    log = hub.log("TICKS")
    for _ in range(3):
        log.kept.pop()
    log.last_sequence = 7
    publish(hub, *prints(5, first=100))
    await rig.sink.catch_up()
    assert (await counts(rig))["TICKS"] == (12, 12, 12)
    kept = await rig.ledger.query(
        "SELECT id FROM messages FINAL WHERE stream = 'TICKS' AND seq = 8"
    )
    assert kept.rows == [[prints(1, first=100)[0].id]]
    await rig.stop()


async def test_a_restart_after_settlement_publishes_it_no_second_time(
    hub: MemoryHub, tmp_path: Path
) -> None:
    session = traded_session()
    for stream, held in session.stored.items():
        for stored in held:
            if stream != "STATUS":
                hub.append(stored.subject, stored.data, f"{stream}{stored.sequence}", None)
    settled = "SELECT count(), uniqExact(id), sum(JSONExtractInt(payload, 'pnl_e6')) FROM messages "
    settled += "FINAL WHERE type = 'settlement.1'"
    first = rig_on(hub, tmp_path)
    await first.start()
    await first.sink.catch_up()
    assert (await first.ledger.query(settled)).rows == [[3, 3, 1_046_325]]
    await first.stop()
    hub.log("STATUS").ids.clear()  # the server's memory of ids has passed
    second = rig_on(hub, tmp_path)
    await second.start()
    await second.sink.catch_up()
    assert (await second.ledger.query(settled)).rows == [[3, 3, 1_046_325]]
    await second.stop()
