"""The session report as Markdown: the same figures as its JSON, for people."""

from collections.abc import Callable, Sequence
from typing import Any

from libs.domain.eastern import eastern_datetime, utc_text
from libs.domain.money import format_count, format_level, format_money, format_price

Row = dict[str, Any]
Show = Callable[[Any], str]

_FILLS_SHOWN = 200


def render(report: dict[str, Any]) -> str:
    """Return the report's Markdown."""
    sections: dict[str, Any] = report["sections"]
    parts = [_head(report), _problem_lines(report["problems"]), _totals(report)]
    parts.append(_table("Events", _rows(sections["events"]), (
        ("event", "event_ticker", str), ("index", "symbol", str),
        ("target", "target_ns", _when), ("rungs", "rungs", str))))  # fmt: skip
    for name in sections:
        if name.startswith("levels "):
            parts.append(_table(f"Index {name}", _rows(sections[name]), (
                ("bar ends", "bar_end_ns", _when), ("level", "level_e4", format_level),
                ("provenance", "provenance", str))))  # fmt: skip
    parts.append(_settlements(sections))
    parts.append(_orders(sections))
    parts.append(_fills(sections))
    parts.append(_decisions(sections))
    parts.append(_running(sections))
    parts.append(_books(sections))
    return "\n".join(part for part in parts if part)


def _head(report: dict[str, Any]) -> str:
    events = _rows(report["sections"]["events"])
    window = _rows(report["sections"]["window"])[0]
    kinds = report["provenance"]
    label = " + ".join(kind.upper() for kind in kinds) if kinds else "PROVENANCE UNKNOWN"
    first = eastern_datetime(events[0]["target_ns"]).strftime("%Y-%m-%d %H:%M")
    lines = [f"# Session of {first} New York [{label}]", ""]
    if kinds != ["live"]:
        lines += ["Inputs were not the live market's: no figure here is a trading result.", ""]
    if window["messages"]:
        span = f"{utc_text(window['first_ns'])} to {utc_text(window['last_ns'])}"
        lines += [f"Decisions, orders and fills: {span}, {window['messages']} messages.", ""]
    return "\n".join(lines)


def _problem_lines(problems: Sequence[str]) -> str:
    if not problems:
        return "**The books agree.**\n"
    lines = [f"**{len(problems)} things do not agree:**", ""]
    return "\n".join([*lines, *(f"- {problem}" for problem in problems), ""])


def _totals(report: dict[str, Any]) -> str:
    totals, evidence = report["totals"], report["evidence"]
    settled = "nothing settled yet"
    if totals["fills_unsettled"] == 0:
        settled = f"${format_money(totals['settled_e6'])} after fees"
    states = _rows(report["sections"]["orders"])
    rejected = sum(row["orders"] for row in states if row["state"] == "rejected")
    lines = [
        "## Result",
        "",
        f"- orders {totals['orders']}, of them {rejected} rejected or not sent",
        f"- fills {totals['fills']}, contracts "
        f"{format_count(totals['contracts_e2'])}, fees ${format_money(totals['fee_e6'])}",
        f"- settled P&L: {settled}",
        f"- expected at quote time: ${_money_e8(totals['expected_e8'])}",
        "",
        _honesty(totals, evidence),
        "",
        "Money and prices are dollars, counts contracts, times UTC. A cost below zero was "
        "received; expected is the edge after fees that the model saw when it proposed the quote.",
        "",
    ]
    return "\n".join(lines)


def _honesty(totals: dict[str, int], evidence: dict[str, Any]) -> str:
    events, fills = evidence["events_settled"], totals["fills"]
    text = f"No edge can be concluded from {fills} fills of {events} settled events"
    text += ": fills of one event share one outcome, so the sample is the events."
    mean, error = evidence["gap_dollars_mean"], evidence["gap_dollars_error"]
    if mean is not None:
        text += f" Settled less expected per event: {mean:+.4f} dollars"
        text += " (one event has no error bar)." if error is None else f" ± {error:.4f} (1 s.e.)."
    if totals["fills_without_expectation"]:
        text += f" {totals['fills_without_expectation']} fills have no verdict to compare with."
    return text


def _settlements(sections: dict[str, Any]) -> str:
    ours = _table("Settlement, ours", _rows(sections["settlements"]), (
        ("market", "ticker", str), ("result", "result", str), ("level", "level_e4", format_level),
        ("print of", "level_ns", _when), ("fallback", "fallback", str),
        ("position", "position_e2", format_count), ("cost", "cost_e6", format_money),
        ("fees", "fee_e6", format_money), ("P&L", "pnl_e6", format_money)))  # fmt: skip
    theirs = _table("Settlement, the exchange's", _rows(sections["reconciliation"]), (
        ("market", "ticker", str), ("result", "exchange_result", str),
        ("position", "exchange_position_e2", format_count),
        ("revenue", "exchange_revenue_e6", format_money),
        ("agrees", "agrees", _yes_no)))  # fmt: skip
    return ours + "\n" + theirs


def _orders(sections: dict[str, Any]) -> str:
    states = _table("Orders by newest state", _rows(sections["orders"]), (
        ("event", "event_ticker", str), ("state", "state", str), ("orders", "orders", str),
        ("contracts", "count_e2", format_count),
        ("filled", "filled_count_e2", format_count)))  # fmt: skip
    reasons = _table("Why they ended", _rows(sections["order_reasons"]), (
        ("state", "state", str), ("reason", "reason", str), ("orders", "orders", str)))  # fmt: skip
    return states + "\n" + reasons


def _fills(sections: dict[str, Any]) -> str:
    rows = _rows(sections["fills"])
    shown = _table("Fills", rows[:_FILLS_SHOWN], (
        ("at", "exchange_ns", _when), ("market", "ticker", str), ("side", "side", str),
        ("price", "price_e4", format_price), ("contracts", "count_e2", format_count),
        ("fee", "fee_e6", format_money), ("expected", "expected_e8", _money_e8),
        ("settled", "settled_e6", format_money)))  # fmt: skip
    if len(rows) > _FILLS_SHOWN:
        shown += f"\n{len(rows) - _FILLS_SHOWN} more are in the JSON.\n"
    per_event = _table("Expected and settled", _rows(sections["pnl"]), (
        ("event", "event_ticker", str), ("fills", "fills", str),
        ("contracts", "contracts_e2", format_count), ("fees", "fee_e6", format_money),
        ("expected", "expected_e8", _money_e8), ("settled", "settled_e6", format_money),
        ("unsettled fills", "fills_unsettled", str)))  # fmt: skip
    return shown + "\n" + per_event


def _decisions(sections: dict[str, Any]) -> str:
    verdicts = _table("Verdicts", _rows(sections["decisions"]), (
        ("event", "event_ticker", str), ("decision", "decision", str),
        ("verdicts", "verdicts", str)))  # fmt: skip
    gates = _table("Gates that said NO-GO", _rows(sections["gates"]), (
        ("gate", "gate", str), ("reason", "reason", str), ("weight", "weight", str),
        ("verdicts", "verdicts", str)))  # fmt: skip
    hashes = ", ".join(str(row["config_hash"]) for row in _rows(sections["config_hashes"]))
    return f"{verdicts}\n{gates}\nRisk configuration: {hashes or 'none seen'}.\n"


def _running(sections: dict[str, Any]) -> str:
    tables = (
        _table("Index prints", _rows(sections["feed_gaps"]), (
            ("index", "symbol", str), ("prints", "prints", str), ("gaps over 2 s", "gaps", str),
            ("longest", "longest_ns", _seconds))),
        _table("Feed failures", _rows(sections["feed_failures"]), (
            ("feed", "feed", str), ("detail", "detail", str), ("messages", "messages", str))),
        _table("Services", _rows(sections["services"]), (
            ("service", "service", str), ("restarts", "restarts", str),
            ("loop lag at most", "loop_lag_ns_max", _seconds))),
        _table("Broker epochs", _rows(sections["brokers"]), (
            ("at", "ts_pub_ns", _when), ("epoch", "epoch", str), ("broker", "broker", str))),
        _table("Monitors not OK", _rows(sections["alerts"]), (
            ("monitor", "monitor", str), ("state", "state", str), ("messages", "messages", str))),
        _table("Panic latch", _rows(sections["panic"]), (
            ("day", "day", str), ("latched (–: lifted)", "latched_ns", _when),
            ("by", "monitors", str))),
        _table("Overrides", _rows(sections["overrides"]), (
            ("kind", "kind", str), ("scope", "scope", str), ("value", "value", str),
            ("by", "by", str), ("reason", "reason", str), ("until", "expires_ns", _when))),
        _table("Dead letters", _rows(sections["dead_letters"]), (
            ("stream", "of_stream", str), ("reason", "reason", str),
            ("messages", "messages", str))),
    )  # fmt: skip
    return "\n".join(tables)


def _books(sections: dict[str, Any]) -> str:
    return _table("Books: streams in the ledger", _rows(sections["books"]), (
        ("stream", "stream", str), ("rows", "rows", str), ("sequences", "sequences", str),
        ("last", "last", str), ("missing", "missing", str), ("unreadable", "bad", str),
    )) + "\nEach table's SQL is in the JSON beside this file.\n"  # fmt: skip


def _rows(section: dict[str, Any]) -> list[Row]:
    return [dict(zip(section["columns"], row, strict=True)) for row in section["rows"]]


def _table(title: str, rows: Sequence[Row], columns: Sequence[tuple[str, str, Show]]) -> str:
    lines = [f"## {title}", ""]
    if not rows:
        return "\n".join([*lines, "None.", ""])
    lines.append("| " + " | ".join(head for head, _, _ in columns) + " |")
    lines.append("|" + "---|" * len(columns))
    for row in rows:
        cells = [_cell(row[key], show) for _, key, show in columns]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join([*lines, ""])


def _cell(value: Any, show: Show) -> str:
    if value is None:
        return "–"
    # What others wrote (reasons, details) must not break out of its cell.
    return show(value).replace("|", "\\|").replace("\n", " ")[:200]


def _money_e8(value_e8: int) -> str:
    sign, value = ("-", -value_e8) if value_e8 < 0 else ("", value_e8)
    return f"{sign}{value // 10**8}.{value % 10**8:08d}"


def _when(at_ns: int) -> str:
    return utc_text(at_ns) if at_ns else "–"


def _seconds(duration_ns: int) -> str:
    return f"{duration_ns / 1e9:.3f} s"


def _yes_no(value: Any) -> str:
    return "yes" if value else "NO"
