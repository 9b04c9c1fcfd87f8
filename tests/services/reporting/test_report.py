"""The report and the books of the session in `sessions.py`, against its arithmetic."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from services.reporting.account_books import account_books
from services.reporting.ledger import Ledger, LedgerRefused
from services.reporting.report import build_report, write_report
from tests.services.reporting.making import (
    EVENT,
    RUNGS,
    TARGET_NS,
    S,
    Streams,
    fill,
    intent,
    ladder,
    paid,
    tick,
    update,
)
from tests.services.reporting.sessions import settled_by_core, traded_session


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    opened = Ledger(str(tmp_path / "ledger"))
    yield opened
    opened.close()


def records(report: dict[str, Any], section: str) -> list[dict[str, Any]]:
    held = report["sections"][section]
    return [dict(zip(held["columns"], row, strict=True)) for row in held["rows"]]


def test_report_of_the_hand_made_session(ledger: Ledger) -> None:
    ledger.insert(traded_session().rows())
    report = build_report(ledger, [], "2024-08-05")
    assert report["problems"] == []
    assert report["provenance"] == ["replay"]
    assert report["totals"] == {
        "orders": 4,
        "fills": 4,
        "contracts_e2": 350,
        "fee_e6": 3_675,
        "fills_without_expectation": 0,
        "expected_e8": 18_550_000,
        "fills_unsettled": 0,
        "settled_e6": 1_046_325,
        "open_orders": 0,
    }
    assert [
        (row["ticker"], row["result"], row["level_e4"], row["fallback"], row["pnl_e6"])
        for row in records(report, "settlements")
    ] == [
        (RUNGS[0], "yes", 51_542_300, "", 550_000),
        (RUNGS[1], "no", 51_542_300, "", 596_325),
        (RUNGS[2], "no", 51_542_300, "", -100_000),
    ]
    assert [row["agrees"] for row in records(report, "reconciliation")] == [1, 1, 1]
    assert [row["settled_e6"] for row in records(report, "fills")] == [
        550_000,
        447_244,  # 1.50 × .30 - .002756
        149_081,  # 0.50 × .30 - .000919
        -100_000,
    ]
    assert records(report, "gates") == [
        {
            "gate": "freshness",
            "reason": "polygon_ws_stale",
            "weight": "decides",
            "verdicts": 1,
        }
    ]
    assert {row["decision"]: row["verdicts"] for row in records(report, "decisions")} == {
        "GO": 1,
        "NO-GO": 1,
    }
    assert [(row["service"], row["restarts"]) for row in records(report, "services")] == [
        ("broker", 1)
    ]
    assert [row["detail"] for row in records(report, "feed_failures")] == ["closed"]
    assert [row["monitor"] for row in records(report, "alerts")] == ["freshness"]
    assert [row["of_stream"] for row in records(report, "dead_letters")] == ["TICKS"]
    assert [row["account"] for row in records(report, "brokers")] == ["pilot"]
    assert [row["config_hash"] for row in records(report, "config_hashes")] == ["cafe0123"]
    assert [(row["stream"], row["rows"], row["missing"]) for row in records(report, "books")] == [
        ("FILLS", 7, 0),
        ("ORDERS", 12, 0),
    ]
    # 1.046325 settled less 0.1855 expected, of one event: no error bar, no conclusion.
    assert report["evidence"]["events_settled"] == 1
    assert report["evidence"]["gap_dollars_mean"] == pytest.approx(0.860825)
    assert report["evidence"]["gap_dollars_error"] is None


def test_every_section_can_be_asked_for_again(ledger: Ledger) -> None:
    ledger.insert(traded_session().rows())
    report = build_report(ledger, [EVENT], "")
    for name, section in report["sections"].items():
        answer = ledger.query(section["sql"])
        assert (list(answer.columns), answer.rows) == (section["columns"], section["rows"]), name


def test_written_files_are_the_same_for_the_same_ledger(ledger: Ledger, tmp_path: Path) -> None:
    rows = traded_session().rows()
    ledger.insert(rows)
    first = write_report(ledger, tmp_path / "reports", [EVENT], "")
    texts = first.markdown.read_text(), first.json.read_text()
    ledger.insert(rows[: len(rows) // 2])  # delivered again
    second = write_report(ledger, tmp_path / "reports", [EVENT], "")
    assert second == first
    assert (second.markdown.read_text(), second.json.read_text()) == texts
    assert first.markdown.name.startswith("session-2024-08-05T1200-")
    assert json.loads(texts[1])["totals"]["settled_e6"] == 1_046_325


def test_markdown_says_what_it_is_and_what_it_cannot_say(ledger: Ledger, tmp_path: Path) -> None:
    ledger.insert(traded_session().rows())
    text = write_report(ledger, tmp_path, [EVENT], "").markdown.read_text()
    assert text.startswith("# Session of 2024-08-05 12:00 New York [REPLAY]\n")
    assert "**The books agree.**" in text
    assert "settled P&L: $1.046325 after fees" in text
    assert "expected at quote time: $0.18550000" in text
    assert "No edge can be concluded from 4 fills of 1 settled events" in text
    assert "| TICKS | undecodable: a\\|b | 1 |" in text
    assert "| freshness | polygon_ws_stale | decides | 1 |" in text


def test_disagreements_are_named(ledger: Ledger) -> None:
    streams = Streams()
    order = intent("c1", 0, "bid", 4_500, 300, "v1")
    streams.add(ladder(), tick(TARGET_NS, 51_500_000), order)
    streams.add(update(order, "partially_filled", filled_e2=200), fill(order, "t1", 100))
    streams.add(fill(intent("c9", 1, "bid", 100, 100, ""), "t2", 100))
    streams.add(paid(0, "no", 100, 0, 0))
    streams.add(*settled_by_core(streams))
    rows = streams.rows()
    ledger.insert([row for row in rows if (row.stream, row.seq) != ("ORDERS", 1)])
    problems = "\n".join(build_report(ledger, [EVENT], "")["problems"])
    assert "ORDERS: 1 of 2 sequences are not in the ledger" in problems
    assert "order c1: says 200 filled (e2), its fills say 100" in problems
    assert "fill t2: of order x-c9, which is in no stream" in problems
    assert "order c1: still partially_filled" in problems
    assert f"settlement of {RUNGS[0]}: exchange no 100 0, ours yes 100 1000000" in problems


def test_unsettled_fills_are_not_called_realised(ledger: Ledger, tmp_path: Path) -> None:
    streams = Streams()
    order = intent("c1", 0, "bid", 4_500, 100, "v1")
    streams.add(ladder(), order, update(order, "filled", filled_e2=100), fill(order, "t1", 100))
    ledger.insert(streams.rows())
    report = build_report(ledger, [EVENT], "")
    assert report["totals"]["settled_e6"] == 0
    assert report["problems"] == [f"{EVENT}: 1 fills are not settled"]
    text = write_report(ledger, tmp_path, [EVENT], "").markdown.read_text()
    assert "settled P&L: nothing settled yet" in text


def test_a_session_without_orders_is_a_report_too(ledger: Ledger, tmp_path: Path) -> None:
    streams = Streams()
    streams.add(ladder(), tick(TARGET_NS - S, 51_500_000))
    ledger.insert(streams.rows())
    written = write_report(ledger, tmp_path, [], "")
    assert written.problems == []
    assert "PROVENANCE UNKNOWN" in written.markdown.read_text()


@pytest.mark.parametrize(
    ("events", "session"),
    [(["KXINXU-24AUG05H1300"], ""), ([], "2024-08-06"), ([], "yesterday"), (["x' OR 1=1 --"], "")],
)
def test_unknown_events_are_refused_in_one_line(
    ledger: Ledger, events: list[str], session: str
) -> None:
    ledger.insert(traded_session().rows())
    with pytest.raises(LedgerRefused) as caught:
        build_report(ledger, events, session)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("events", [[], [EVENT]])
def test_account_books_of_the_hand_made_session(ledger: Ledger, events: list[str]) -> None:
    ledger.insert(traded_session().rows())
    books = account_books(ledger, events)
    markets = books.pop("markets")
    assert books == {
        "account": "pilot",
        "orders": 4,
        "orders_accepted": 3,
        "orders_by_state": {"filled": 2, "cancelled": 1, "rejected": 1},
        "resting": 0,
        "fills": 4,
        "contracts_filled_e2": 350,
        "gross_cash_e6": 1_150_000,
        "fees_e6": 3_675,
        "cash_flow_e6": -1_953_675,
        "exchange_revenue_e6": 3_000_000,
        "settlement_pnl_e6": 1_046_325,
        "markets_settled": 3,
        "markets_unsettled": 0,
    }
    assert [market["position_e2"] for market in markets] == [100, -200, 50]
    assert books["cash_flow_e6"] + books["exchange_revenue_e6"] == books["settlement_pnl_e6"]


def test_books_of_an_empty_ledger_are_zero(ledger: Ledger) -> None:
    books = account_books(ledger, [])
    assert books["orders"] == books["fills"] == books["cash_flow_e6"] == 0
    assert books["markets"] == []
