"""The session report: what the ledger says about some events, as one JSON-able mapping.

Equal ledgers give equal reports: no clock is read here. Each section holds its SQL.
"""

import hashlib
import json
import math
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct

from libs.domain.eastern import eastern_datetime, utc_text
from services.reporting.ledger import Ledger, LedgerRefused
from services.reporting.render import render
from services.reporting.sections import (
    books_sql,
    event_sections,
    events_sql,
    levels_sql,
    run_sections,
    window_sql,
)

FORMAT = "kalshi-alpha session report 1"
_SESSION = re.compile(r"\d{4}-\d{2}-\d{2}")

Section = dict[str, Any]


class WrittenReport(Struct, frozen=True):
    """Where a report is, and what in it does not agree (nothing: the books agree)."""

    markdown: Path
    json: Path
    problems: list[str]


def build_report(ledger: Ledger, event_tickers: Sequence[str], session: str) -> dict[str, Any]:
    """Return the report; raise `LedgerRefused` when no such event is in the ledger."""
    if session and not _SESSION.fullmatch(session):
        raise LedgerRefused(f"session: expected a New York day like 2024-08-05, got {session!r}")
    events = _section(ledger, events_sql(sorted(set(event_tickers)), session))
    found = [row["event_ticker"] for row in _records(events)]
    if unknown := sorted(set(event_tickers) - set(found)):
        raise LedgerRefused(f"report: expected events of the ledger, got {', '.join(unknown)}")
    if not found:
        raise LedgerRefused(f"report: no event in the ledger for session {session or 'any'!r}")
    window = _section(ledger, window_sql(found))
    during = _records(window)[0]
    sections: dict[str, Section] = {"events": events, "window": window}
    for name, sql in event_sections(found).items():
        sections[name] = _section(ledger, sql)
    for row in _records(events):
        if row["symbol"]:
            name = f"levels {row['symbol']} {utc_text(row['target_ns'])}"
            sections[name] = _section(ledger, levels_sql(row["symbol"], row["target_ns"]))
    for name, sql in run_sections(during["first_ns"], during["last_ns"]).items():
        sections[name] = _section(ledger, sql)
    sections["books"] = _section(ledger, books_sql())
    report: dict[str, Any] = {
        "format": FORMAT,
        "provenance": [row["provenance"] for row in _records(sections["provenance"])],
        "event_tickers": found,
        "totals": _totals(sections),
        "evidence": _evidence(sections),
        "problems": _problems(sections),
        "sections": sections,
    }
    return report


def write_report(
    ledger: Ledger, directory: Path, event_tickers: Sequence[str], session: str
) -> WrittenReport:
    """Write the report as Markdown and JSON, each whole or not at all; raise `LedgerError`."""
    report = build_report(ledger, event_tickers, session)
    stem = directory / _stem(report)
    paths = stem.with_suffix(".md"), stem.with_suffix(".json")
    texts = render(report), json.dumps(report, indent=1, ensure_ascii=False) + "\n"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for path, text in zip(paths, texts, strict=True):
            draft = path.with_name(path.name + ".part")
            draft.write_text(text, encoding="utf-8")
            os.replace(draft, path)
    except OSError as error:
        raise LedgerRefused(
            f"reports_dir {directory}: expected a writable directory, found: {error.strerror}"
        ) from None
    return WrittenReport(paths[0].resolve(), paths[1].resolve(), report["problems"])


def _stem(report: dict[str, Any]) -> str:
    events = _records(report["sections"]["events"])
    when = eastern_datetime(events[0]["target_ns"]).strftime("%Y-%m-%dT%H%M")
    digest = hashlib.sha256("\n".join(report["event_tickers"]).encode()).hexdigest()[:6]
    return f"session-{when}-{digest}"


def _section(ledger: Ledger, sql: str) -> Section:
    answer = ledger.query(sql)
    return {"sql": sql, "columns": list(answer.columns), "rows": answer.rows}


def _records(section: Section) -> list[dict[str, Any]]:
    return [dict(zip(section["columns"], row, strict=True)) for row in section["rows"]]


def _totals(sections: dict[str, Section]) -> dict[str, int]:
    pnl = _records(sections["pnl"])
    summed = {
        key: sum(int(row[key] or 0) for row in pnl)
        for key in ("fills", "contracts_e2", "fee_e6", "fills_without_expectation", "expected_e8",
                    "fills_unsettled", "settled_e6")
    }  # fmt: skip
    summed["orders"] = sum(row["orders"] for row in _records(sections["orders"]))
    summed["open_orders"] = len(sections["open_orders"]["rows"])
    summed["settled_e6"] = sum(row["pnl_e6"] for row in _records(sections["settlements"]))
    return summed


def _evidence(sections: dict[str, Section]) -> dict[str, Any]:
    """Say how much settled less expected is worth, which for one session is nearly nothing.

    Fills of one event share one outcome, so the sample size is events, not fills. The standard
    error is of the mean gap per event, absent below two events.
    """
    gaps = [
        int(row["settled_e6"]) / 1e6 - int(row["expected_e8"]) / 1e8
        for row in _records(sections["pnl"])
        if not row["fills_unsettled"] and not row["fills_without_expectation"]
    ]
    count = len(gaps)
    mean = math.fsum(gaps) / count if count else None
    error = None
    if count >= 2 and mean is not None:
        variance = math.fsum((gap - mean) ** 2 for gap in gaps) / (count - 1)
        error = math.sqrt(variance / count)
    return {"events_settled": count, "gap_dollars_mean": mean, "gap_dollars_error": error}


def _problems(sections: dict[str, Section]) -> list[str]:
    found: list[str] = []
    for row in _records(sections["books"]):
        if row["missing"] or row["rows"] != row["sequences"]:
            found.append(
                f"{row['stream']}: {row['missing']} of {row['last']} sequences are not in the "
                f"ledger ({row['rows']} rows, {row['sequences']} sequences)"
            )
        if row["bad"]:
            found.append(f"{row['stream']}: {row['bad']} messages could not be read")
    for row in _records(sections["order_fill_differences"]):
        found.append(
            f"order {row['client_order_id']}: says {row['order_filled_e2']} filled (e2), "
            f"its fills say {row['fills_e2']}"
        )
    for row in _records(sections["fills_without_order"]):
        found.append(f"fill {row['trade_id']}: of order {row['order_id']}, which is in no stream")
    for row in _records(sections["open_orders"]):
        found.append(f"order {row['client_order_id']}: still {row['state']} in {row['ticker']}")
    for row in _records(sections["reconciliation"]):
        if not row["agrees"]:
            found.append(
                f"settlement of {row['ticker']}: exchange {row['exchange_result']} "
                f"{row['exchange_position_e2']} {row['exchange_revenue_e6']}, ours "
                f"{row['our_result'] or 'none'} {row['our_position_e2']} {row['our_revenue_e6']} "
                "(result, position e2, revenue e6)"
            )
    for row in _records(sections["pnl"]):
        if row["fills_unsettled"]:
            found.append(f"{row['event_ticker']}: {row['fills_unsettled']} fills are not settled")
    return found
