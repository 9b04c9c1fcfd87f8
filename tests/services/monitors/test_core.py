"""When monitors speak, what they say, and that silence is noticed without a message."""

import pytest

from libs.common.effects import SetTimer
from libs.common.messages import decode, encode
from services.monitors.core import LOOK, MonitorsCore
from services.monitors.events import KillSwitchRead, ShowFeedAge, ShowMonitor
from services.monitors.policy import MonitorsPolicy
from tests.services.monitors.watching import NOW, S, Watched, beat, feed, ladder, status

NAMES = {
    "heartbeats",
    "freshness",
    "kill_switch",
    "ladder_gap",
    "unknown_orders",
    "resting_after_t2",
    "books_agree",
    "clock_skew",
    "exchange",
    "dead_letters",
    "ws_disconnect_rate",
}


def test_at_the_start_nothing_is_ok_that_was_not_heard_of() -> None:
    results = Watched().results()
    assert set(results) == NAMES
    states = {name: result.state for name, result in results.items()}
    known = {"unknown_orders", "resting_after_t2", "dead_letters"}  # read back, or silence is good
    assert {name for name, state in states.items() if state == "OK"} == known
    assert {states[name] for name in NAMES - known} == {"NO_DATA"}
    assert all(results[name].value is None for name in NAMES - known)


def test_when_all_is_well_all_is_ok() -> None:
    watched = Watched().all_well()
    watched.look(NOW + S)
    assert {result.state for result in watched.results().values()} == {"OK"}
    assert watched.core.summary() == "11 monitors OK"


def test_each_look_asks_for_the_next_one_and_shows_metrics() -> None:
    watched = Watched().all_well()
    effects = watched.look(NOW + S)
    assert [e for e in effects if isinstance(e, SetTimer)] == [
        SetTimer(key=LOOK, at_ns=NOW + 2 * S)
    ]
    assert {e.monitor for e in effects if isinstance(e, ShowMonitor)} == NAMES
    ages = {e.feed: e.age_s for e in effects if isinstance(e, ShowFeedAge)}
    assert ages == {"index.ws": 1.0, "kalshi.ladders": 1.0, "kalshi.status": 1.0, "clock": 1.0}


def test_a_result_goes_out_on_change_and_every_half_minute() -> None:
    watched = Watched().all_well()
    spoke = []
    for second in range(1, 65):
        watched.all_well(NOW + second * S)
        watched.look(NOW + second * S)
        if watched.results():
            spoke.append((second, {result.since_ns for result in watched.results().values()}))
    assert [second for second, _ in spoke] == [1, 30, 31, 60, 61]
    # Three were OK from the start, the others since the first look after that.
    assert [since for _, since in spoke[1:]] == [{NOW}, {NOW + S}, {NOW}, {NOW + S}]


def test_silence_alone_turns_monitors_to_alert() -> None:
    """No message comes any more, only the timer fires."""
    watched = Watched().all_well()
    watched.look(NOW + S)
    first: dict[str, tuple[int, str]] = {}
    for second in range(2, 400):
        watched.look(NOW + second * S)
        for name, result in watched.results().items():
            if result.state != "OK":
                first.setdefault(name, (second, result.state))
    assert first == {
        "freshness": (3, "ALERT"),  # the index and the ladder, over 2 s old
        "kill_switch": (11, "ALERT"),  # not read for over 10 s
        "clock_skew": (61, "NO_DATA"),
        "exchange": (61, "NO_DATA"),
        "books_agree": (121, "NO_DATA"),
        "heartbeats": (301, "ALERT"),
    }


def test_a_result_says_since_when_and_on_what_evidence() -> None:
    watched = Watched().all_well()
    watched.look(NOW + S)
    watched.told(status(trading=False, at_ns=NOW + 2 * S))
    watched.look(NOW + 3 * S)
    (result,) = [r for r in watched.results().values() if r.monitor == "exchange"]
    assert (result.state, result.value, result.threshold) == ("ALERT", 0.0, 1.0)
    assert (result.since_ns, result.ts_pub_ns, result.scope) == (NOW + 3 * S, NOW + 3 * S, "all")
    assert result.evidence == "exchange active, trading not active"
    assert "exchange ALERT" in watched.core.summary()
    assert decode(encode(result)) == result


def test_what_is_said_before_the_start_counts() -> None:
    core = MonitorsCore(MonitorsPolicy())
    core.fold(beat("feeds"), "STATUS", 1)
    core.fold(ladder(), "LADDERS", 1)
    assert [m.look(NOW).state for m in core.monitors if m.name == "ladder_gap"] == ["OK"]


def test_an_older_message_does_not_replace_a_newer_one() -> None:
    watched = Watched().all_well()
    watched.told(
        feed("clock", NOW - S, ok=False, detail="late"),
        status(trading=False, at_ns=NOW - S),
        beat("risk", NOW - S, state="DRAIN"),
        ladder(NOW - S, stale=(1,)),
    )
    watched.look(NOW + S)
    assert {result.state for result in watched.results().values()} == {"OK"}


def test_evidence_fits_a_message() -> None:
    watched = Watched()
    watched.core.handle(KillSwitchRead(now_ns=NOW, engaged=True, detail="x" * 5_000))
    watched.look(NOW + S)
    result = watched.results()["kill_switch"]
    assert len(result.evidence) <= 2_000
    assert decode(encode(result)) == result


def test_a_foreign_event_is_an_error() -> None:
    with pytest.raises(AssertionError, match="does not know"):
        Watched().core.handle(object())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "wrong", [{"ladder_s": 0}, {"heartbeat_s": -1}, {"skew_s": 1e9}, {"dead_letters_max": -1}]
)
def test_an_impossible_policy_is_refused(wrong) -> None:
    with pytest.raises(ValueError, match="expected"):
        MonitorsPolicy(**wrong)
