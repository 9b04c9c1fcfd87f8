"""What the monitors' table makes of results: the exit code, what concerns a series, old news."""

import io

import pytest
from rich.console import Console

from cli.monitors import (
    Row,
    _cells,
    _concerns,
    _family,
    _measured,
    _print,
    exit_code,
    feeds_told,
    newest,
)
from libs.common.config import ConfigError
from libs.common.freshness import FeedRule, FreshnessPolicy
from libs.common.messages import MonitorResult

S = 1_000_000_000
NOW = 1_722_873_000 * S


def row(state: str, scope="all") -> Row:
    return Row("m", scope, state, 1.0, 2.0, NOW, "seen")


@pytest.mark.parametrize(
    ("states", "code"),
    [(["OK", "OK"], 0), (["OK", "ALERT", "NO_DATA"], 1), (["OK", "NO_DATA"], 4), ([], 4)],
)
def test_no_data_is_never_ok(states: list[str], code: int) -> None:
    assert exit_code([row(state) for state in states]) == code


def result(said_ns: int) -> MonitorResult:
    return MonitorResult(
        id="x",
        ts_event_ns=said_ns,
        ts_pub_ns=said_ns,
        cause_id="",
        correlation_id="x",
        source="monitors",
        monitor="clock_skew",
        scope="all",
        state="OK",
        value=0.1,
        threshold=1.5,
        since_ns=NOW - 900 * S,
        evidence="fine",
    )


def test_what_was_said_long_ago_says_nothing_of_now() -> None:
    """Monitors speaks every half minute; three missed are silence."""
    (fresh,) = newest([result(NOW - 90 * S)], NOW)
    assert (fresh.state, fresh.value) == ("OK", 0.1)
    (old,) = newest([result(NOW - 91 * S)], NOW)
    assert (old.state, old.value) == ("NO_DATA", None)
    assert old.evidence == "monitors has been silent for 91 s; it said OK"


def test_a_feed_that_a_watched_family_needs_is_never_just_missing() -> None:
    feeds = {
        "clock": FeedRule(source="NTP", stale_s=60.0),
        "index.ws": FeedRule(source="bars", families=("INXU",), stale_s=15.0),
        "bls": FeedRule(source="CPI", families=("CPI",), stale_s=60.0),
    }
    said = [Row("freshness", "clock", "OK", 1.0, 60.0, NOW, "fine"), row("OK", "index.ws")]
    told = feeds_told(said, FreshnessPolicy(feeds=feeds), ("INXU",))
    assert {feed: one.state for feed, one in told.items()} == {"clock": "OK", "index.ws": "NO_DATA"}
    assert exit_code(list(told.values())) == 4
    assert _cells(told["index.ws"])[2] == "–", "since when isn't known"


@pytest.mark.parametrize("series", ["INXU", "inxu", "KXINXU"])
def test_a_series_is_named_by_family_or_ticker(series: str) -> None:
    assert _family(series) == "INXU"


def test_a_series_that_no_family_holds_is_refused() -> None:
    with pytest.raises(ConfigError, match="--series"):
        _family("NOPE")


def test_what_all_families_share_concerns_each() -> None:
    assert _concerns(row("OK", "INXU"), "INXU")
    assert not _concerns(row("OK", "NASDAQ100U"), "INXU")
    assert _concerns(row("OK"), "INXU")
    assert _concerns(row("OK", "kalshi.ladders"), "INXU")


@pytest.mark.parametrize(
    ("monitor", "value", "threshold", "shown"),
    [
        ("clock_skew", 0.123456, 1.5, "0.1235, limit 1.5"),
        ("calendar_ends", 30.0, 60.0, "30, least 60"),
        ("ev_gap", -6.0, -5.0, "-6, least -5"),
        ("model_drift", None, 1.1, "–, limit 1.1"),
        ("fee_rules", None, None, "–"),
    ],
)
def test_a_limit_says_whether_it_is_the_most_or_the_least(monitor, value, threshold, shown) -> None:
    assert _measured(Row(monitor, "all", "OK", value, threshold, NOW, "")) == shown


def test_the_table_can_be_read_in_a_hundred_columns() -> None:
    """Names, states and figures stay whole; what was seen is wrapped between its words."""
    evidence = "I:NDX 17.1 s old, limit 15 s; [seen] and more of it; and 3 more of that"
    rows = [
        Row("non_monotone_ladders", "NASDAQ100U", "NO_DATA", None, 0.0, NOW, evidence),
        Row("freshness", "cleveland_nowcast.monthly", "ALERT", 3024001.0, 3024000.0, NOW, evidence),
        Row("freshness", "clock", "OK", 1.0, 2.0, NOW, "fine"),
    ]
    columns = ("monitor", "scope", "state", "value", "since", "evidence")
    text = io.StringIO()
    console = Console(file=text, width=100)
    _print(console, columns, [(row.monitor, row.scope, *_cells(row)) for row in rows])
    lines = text.getvalue().splitlines()
    assert max(map(len, lines)) <= 100
    (first,) = [line for line in lines if line.startswith("non_monotone_ladders NASDAQ100U")]
    assert " NO_DATA –, limit 0 " in first
    assert sum("freshness" in line for line in lines) == 1
    words = [word for line in lines for word in line.split()]
    assert words.count("[seen]") == 2
    assert words.count("more") == 4
