"""The ledger on a real embedded database: keys, types, limits, locks."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.reporting.ledger import (
    Ledger,
    LedgerLocked,
    LedgerRefused,
    LedgerRow,
    LedgerUnavailable,
    QueryLimits,
    StreamPlace,
)
from tests.services.reporting.making import Streams
from tests.services.reporting.sessions import traded_session


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "ledger"


@pytest.fixture
def ledger(directory: Path) -> Iterator[Ledger]:
    opened = Ledger(str(directory))
    yield opened
    opened.close()


def row(stream: str, seq: int, payload: str = "{}") -> LedgerRow:
    return LedgerRow(stream, seq, "status.x", "heartbeat.1", f"id{seq}", 7, 8, "feeds", payload)


def test_empty_ledger_has_no_places_and_no_rows_in_its_views(ledger: Ledger) -> None:
    assert ledger.places() == {}
    for view in ("orders", "fills", "settlements", "positions", "trades", "fees", "epochs"):
        assert ledger.query(f"SELECT count() FROM {view}").rows == [[0]]


def test_the_key_is_stream_and_sequence(ledger: Ledger) -> None:
    rows = [row("FILLS", 1), row("FILLS", 2), row("ORDERS", 1)]
    ledger.insert(rows)
    ledger.insert([*rows[1:], row("FILLS", 3)])
    assert ledger.query(
        "SELECT stream, count(), uniqExact(seq) FROM messages FINAL GROUP BY stream ORDER BY stream"
    ).rows == [["FILLS", 3, 3], ["ORDERS", 1, 1]]
    assert ledger.places()["FILLS"] == StreamPlace("FILLS", 3, 3, 0)


def test_places_count_what_a_stream_no_longer_had(ledger: Ledger) -> None:
    ledger.insert([row("STATUS", 5), row("STATUS", 9)])
    assert ledger.places()["STATUS"] == StreamPlace("STATUS", 2, 9, 7)


def test_nanoseconds_and_large_integers_come_back_exactly(ledger: Ledger) -> None:
    at_ns = 1_722_873_600_123_456_789
    big = 9_007_199_254_740_993  # 2^53 + 1: a float would lose it
    made = LedgerRow("FILLS", big, "fills.a", "bad", "", at_ns, at_ns + 1, "", "p'\\\n\"é")
    ledger.insert([made])
    assert ledger.query(
        "SELECT seq, toUnixTimestamp64Nano(ts_event), toUnixTimestamp64Nano(ts_pub), payload "
        "FROM messages"
    ).rows == [[big, at_ns, at_ns + 1, "p'\\\n\"é"]]


def test_a_reopened_ledger_goes_on_where_it_was(directory: Path, ledger: Ledger) -> None:
    ledger.insert([row("FILLS", 1), row("FILLS", 2)])
    ledger.close()
    again = Ledger(str(directory))
    try:
        assert again.places()["FILLS"].watermark == 2
    finally:
        again.close()


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO messages (stream) VALUES ('x')",
        "DROP TABLE messages",
        "SET readonly = 0",
        "SYSTEM FLUSH LOGS",
        "",
        "SELECT 1; DROP TABLE messages",
        "SELECT 1 FORMAT Null",
        "SELECT 1 INTO OUTFILE '/tmp/x'",
        "SELECT 1 INTO/**/outfile '/tmp/x'",
        "SELECT * FROM Python(rows)",
        "WITH 1 AS one INSERT INTO messages (stream) SELECT 'x'",
        "SELECT * FROM file('/etc/hostname', 'LineAsString')",
        "SELECT * FROM url('http://127.0.0.1:1/', 'LineAsString')",
        "SELECT 1 SETTINGS max_result_rows = 0, readonly = 0",
        "SELECT nothing FROM nowhere",
    ],
)
def test_query_refuses_all_but_reading(ledger: Ledger, sql: str) -> None:
    with pytest.raises(LedgerRefused) as caught:
        ledger.query(sql)
    assert "\n" not in str(caught.value)
    assert ledger.places() == {}


def test_query_limits_hold(directory: Path) -> None:
    ledger = Ledger(str(directory), limits=QueryLimits(rows_max=10, bytes_max=10_000))
    try:
        assert len(ledger.query("SELECT number FROM numbers(10)").rows) == 10
        with pytest.raises(LedgerRefused, match="Limit for result"):
            ledger.query("SELECT number FROM numbers(11)")
        with pytest.raises(LedgerRefused, match="at most 10000 bytes"):
            ledger.query("SELECT repeat('x', 20000)")
        # Nothing of a failed answer is left over for the next one.
        assert ledger.query("SELECT 2").rows == [[2]]
    finally:
        ledger.close()


def test_query_accepts_select_with_and_a_leading_comment(ledger: Ledger) -> None:
    assert ledger.query("-- why\nSELECT 1 AS one;").columns == ("one",)
    assert ledger.query(" with 2 as two select two").rows == [[2]]


def test_second_opener_gets_one_line(directory: Path, ledger: Ledger) -> None:
    code = (
        "import sys; from services.reporting.ledger import Ledger, LedgerLocked\n"
        "try: Ledger(sys.argv[1])\n"
        "except LedgerLocked as error: print(error)"
    )
    ran = subprocess.run(  # the lock is between processes
        [sys.executable, "-c", code, str(directory)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=Path(__file__).parents[3],
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.count("\n") == 1
    assert "only user" in ran.stdout
    with pytest.raises(LedgerLocked):
        Ledger(str(directory))


def test_unusable_targets_are_typed_errors(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a directory")
    with pytest.raises(LedgerUnavailable, match="writable directory"):
        Ledger(str(tmp_path / "file"))
    with pytest.raises(LedgerUnavailable):
        Ledger("http://127.0.0.1:1")


def test_orders_view_holds_the_newest_state(ledger: Ledger) -> None:
    ledger.insert(traded_session().rows())
    assert ledger.query(
        "SELECT client_order_id, state, filled_count_e2, order_id FROM orders "
        "ORDER BY client_order_id"
    ).rows == [
        ["c1", "filled", 100, "x-c1"],
        ["c2", "filled", 200, "x-c2"],
        ["c3", "cancelled", 50, "x-c3"],
        ["c4", "rejected", 0, ""],
    ]


def test_views_ignore_bad_rows_and_redelivered_fills(ledger: Ledger) -> None:
    session: Streams = traded_session()
    again = session.stored["FILLS"][0]
    session.add_raw(again.subject, again.data)  # published twice, outside the duplicate window
    ledger.insert(session.rows())
    ledger.insert([LedgerRow("FILLS", 99, "fills.x.y", "bad", "", 0, 0, "", "{torn")])
    assert ledger.query("SELECT count(), sum(count_e2), sum(fee_e6) FROM fills").rows == [
        [4, 350, 3_675]
    ]
