"""What the monitors' table makes of results: the exit code, what concerns a series, old news."""

import pytest

from cli.monitors import Row, _concerns, _family, exit_code, newest
from libs.common.config import ConfigError
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
