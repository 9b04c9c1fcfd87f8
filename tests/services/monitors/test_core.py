"""When monitors speak, what they say, and that silence is noticed without a message."""

import msgspec
import pytest

from libs.common.effects import Publish, SetTimer, TimerFired
from libs.common.messages import MonitorResult, decode, encode
from libs.common.metrics import Metrics
from libs.domain.families import FAMILIES as ALL_FAMILIES
from services.monitors.app import show
from services.monitors.core import LOOK, MonitorsCore
from services.monitors.events import KillSwitchRead, ShowMonitor, Started
from services.monitors.policy import MonitorsPolicy
from tests.services.monitors.watching import (
    FEEDS,
    NOW,
    S,
    Watched,
    beat,
    feed,
    freshness,
    ladder,
    order,
    status,
)

FAMILIES = {"INXU", "NASDAQ100U"}
SCOPES = {
    "heartbeats": {"all"},
    "freshness": set(FEEDS),
    "kill_switch": {"all"},
    "ladder_gap": FAMILIES,
    "non_monotone_ladders": FAMILIES,
    "tz_not_et": FAMILIES,
    "unknown_orders": {"all"},
    "resting_after_t2": {"all"},
    "freeze_window": {"all"},
    "books_agree": {"all"},
    "drawdown": {"all"},
    "clock_skew": {"all"},
    "exchange": {"all"},
    "auth_error_streak": {"all"},
    "dead_letters": {"all"},
    "ws_disconnect_rate": {"all"},
    "sigma_drift": FAMILIES,
    "calendar_ends": {"all"},
    "ledger_lag": {"all"},
    "slo_freshness": {"all"},
    "time_at_risk": {"all"},
    "var_headroom": {"all"},
    "fee_rules": FAMILIES,
    "ev_seq_guard": FAMILIES,
    "ev_gap": FAMILIES,
    "fill_vs_alpha": FAMILIES,
    "model_drift": FAMILIES,
    "replay_parity": FAMILIES,
    "panic": {"all"},
}
NAMES = {(monitor, scope) for monitor, scopes in SCOPES.items() for scope in scopes}
HISTORY = {
    "sigma_drift",
    "slo_freshness",
    "var_headroom",
    "fee_rules",
    "ev_seq_guard",
    "ev_gap",
    "fill_vs_alpha",
    "model_drift",
    "replay_parity",
}
"""They need more than a moment in which all is well."""


def test_at_the_start_nothing_is_ok_that_was_not_heard_of() -> None:
    results = Watched().results()
    assert set(results) == NAMES
    states = {name: result.state for name, result in results.items()}
    known = {  # read back, or silence is good
        "unknown_orders",
        "resting_after_t2",
        "freeze_window",
        "drawdown",
        "time_at_risk",
        "dead_letters",
        "calendar_ends",
        "panic",
    }
    assert {name for (name, _), state in states.items() if state == "OK"} == known
    unknown = [result for (name, _), result in results.items() if name not in known]
    assert {result.state for result in unknown} == {"NO_DATA"}
    assert all(result.value is None for result in unknown)


def wrong(watched: Watched) -> dict[str, str]:
    """Return what is not OK, those left out that need history."""
    return {
        monitor: result.state
        for (monitor, _), result in watched.results().items()
        if result.state != "OK" and monitor not in HISTORY
    }


def test_when_all_is_well_all_is_ok() -> None:
    watched = Watched().all_well()
    watched.look(NOW + S)
    assert wrong(watched) == {}
    summary = watched.core.summary()
    assert summary.startswith("sigma_drift INXU NO_DATA, sigma_drift NASDAQ100U NO_DATA, slo_")
    assert "ALERT" not in summary


def test_each_look_asks_for_the_next_one_and_shows_metrics() -> None:
    watched = Watched().all_well()
    effects = watched.look(NOW + S)
    assert [e for e in effects if isinstance(e, SetTimer)] == [
        SetTimer(key=LOOK, at_ns=NOW + 2 * S)
    ]
    shown = [e for e in effects if isinstance(e, ShowMonitor)]
    assert {(e.monitor, e.scope) for e in shown} == NAMES
    ages = {e.scope: e.reading.value for e in shown if e.monitor == "freshness"}
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
        for name, state in wrong(watched).items():
            first.setdefault(name, (second, state))
    assert first == {
        "freshness": (3, "ALERT"),  # the index and the ladder, over 2 s old
        "kill_switch": (11, "ALERT"),  # not read for over 10 s
        "clock_skew": (61, "NO_DATA"),
        "auth_error_streak": (61, "NO_DATA"),
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


def test_a_result_of_the_process_before_says_since_when_it_is_so() -> None:
    before = Watched(NOW - 900 * S)
    before.told(status(trading=False, at_ns=NOW - 600 * S))
    before.look(NOW - 599 * S)
    left = before.results()["exchange", "all"]
    core = MonitorsCore(MonitorsPolicy(freshness=freshness()))
    core.fold(left, "STATUS", 1)
    core.fold(status(trading=False, at_ns=NOW - S), "STATUS", 2)
    effects = core.handle(Started(now_ns=NOW))
    (now,) = [
        e.message
        for e in effects
        if isinstance(e, Publish)
        and isinstance(e.message, MonitorResult)
        and e.message.monitor == "exchange"
    ]
    assert (now.state, now.since_ns, now.alerted_ns) == ("ALERT", NOW - 599 * S, NOW)
    core.fold(msgspec.structs.replace(left, since_ns=1), "STATUS", 3)  # our own word, come back
    core.handle(TimerFired(now_ns=NOW + S, key=LOOK, at_ns=NOW + S))
    assert core._said["exchange", "all"].since_ns == NOW - 599 * S


def test_when_it_last_alerted_is_remembered_after_it_ended() -> None:
    watched = Watched().told(status(trading=False))
    watched.look(NOW + S)
    watched.told(status(at_ns=NOW + 2 * S))
    watched.look(NOW + 2 * S)
    result = watched.results()["exchange", "all"]
    assert (result.state, result.since_ns, result.alerted_ns) == ("OK", NOW + 2 * S, NOW + S)


def test_what_is_said_before_the_start_counts() -> None:
    core = MonitorsCore(MonitorsPolicy(freshness=freshness()))
    core.fold(beat("feeds"), "STATUS", 1)
    core.fold(ladder(), "LADDERS", 1)
    (gap,) = [m.look(NOW) for m in core.monitors if m.name == "ladder_gap"]
    assert gap["INXU"].state == "OK"


def test_an_older_message_does_not_replace_a_newer_one() -> None:
    watched = Watched().all_well()
    watched.told(
        feed("clock", NOW - S, ok=False, detail="late"),
        status(trading=False, at_ns=NOW - S),
        beat("risk", NOW - S, state="DRAIN"),
        ladder(NOW - S, stale=(1,)),
    )
    watched.look(NOW + S)
    assert wrong(watched) == {}


def test_evidence_fits_a_message() -> None:
    watched = Watched()
    watched.core.handle(KillSwitchRead(now_ns=NOW, engaged=True, detail="x" * 5_000))
    watched.look(NOW + S)
    result = watched.results()["kill_switch", "all"]
    assert len(result.evidence) <= 2_000
    assert decode(encode(result)) == result


def test_a_foreign_event_is_an_error() -> None:
    with pytest.raises(AssertionError, match="does not know"):
        Watched().core.handle(object())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "wrong",
    [
        {"ladder_gap_s": 0},
        {"skew_age_s": 1e9},
        {"dead_letters_max": -1},
        {"level_age_p95_s": 2.1},
        {"sigma_moves_min": 281},
        {"families": ("INXU", "NOVEL")},
        {"families": ("INXU", "TNEY")},
    ],
)
def test_an_impossible_policy_is_refused(wrong) -> None:
    (key,) = wrong
    with pytest.raises(ValueError, match=f"^{key}: .*expected"):
        MonitorsPolicy(**wrong)


def test_metrics_stay_few_and_name_no_ticker() -> None:
    """Every family watched, many events trading: the scopes are families and feeds."""
    families = tuple(family.name for family in ALL_FAMILIES)
    watched = Watched(families=families).all_well()
    for series in (ticker for family in ALL_FAMILIES for ticker in family.series_tickers):
        for hour in range(10, 14):
            event = f"{series}-24AUG05H{hour}00"
            watched.told(ladder(event=event), order("resting", client=event, event=event))
    metrics = Metrics()
    for effect in watched.look(NOW + S):
        if isinstance(effect, ShowMonitor):
            show(effect, metrics)
    samples = [s for f in metrics.registry.collect() for s in f.samples if s.labels]
    shown = [sample for sample in samples if sample.name.startswith("alpha_monitor_")]
    scoped = sum(name in SCOPES and SCOPES[name] == FAMILIES for name in SCOPES)
    assert len(shown) == 3 * (scoped * len(families) + (len(SCOPES) - 1 - scoped) + 12)
    named = {text for sample in samples for text in sample.labels.values()}
    assert not [text for text in named if text.startswith("KX")]
