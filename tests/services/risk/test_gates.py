"""Every gate at and around its limit, with its input missing, and failing alone."""

from datetime import date

import pytest

from libs.domain.eastern import eastern_ns
from services.risk.gates import (
    GATES,
    ask_all,
    freeze,
    freshness_index,
    freshness_ladder,
    kill_switch,
    window,
)
from services.risk.gates import clock as clock_gate
from services.risk.gates import exchange as exchange_gate
from services.risk.gates import heartbeat as heartbeat_gate
from tests.services.risk.builders import (
    MINUTE,
    NOW,
    POLICY,
    TARGET,
    TICKERS,
    S,
    clock_sample,
    evidence,
    exchange_status,
    heartbeat,
    question,
)

NEVER_TURN = {"freeze", "freshness_feeds", "panic", "drawdown"}
"""An index family has no figure ahead and no other feed; the others turn by what is heard."""
MS = 1_000_000
HOUR = 60 * MINUTE


def ask(gate, **changes):
    return gate.ask(question(**changes), POLICY).result


def test_with_everything_in_order_all_say_yes():
    answers = ask_all(question(), POLICY, "live")
    assert [answer.result.gate for answer in answers] == [
        "window",
        "freeze",
        "freshness_index",
        "freshness_ladder",
        "freshness_feeds",
        "calibration",
        "clock",
        "kill_switch",
        "heartbeat",
        "exchange",
        "panic",
        "drawdown",
        "fee_rules",
        "sequential_ev",
        "quality",
        "ev_honesty",
        "readiness",
        "ledger",
        "monitors",
    ]
    assert all(answer.result.ok for answer in answers)


def test_every_input_of_the_question_is_named_by_a_gate():
    named = {name for gate in GATES for name in gate.INPUTS}
    assert named == set(question().__struct_fields__)


BEATS = question().heartbeats
ALONE = [
    ("window", {"target_ns": NOW + 16 * MINUTE}),
    ("freshness_index", {"level_ns": None}),
    ("freshness_ladder", {"books_ns": None}),
    ("clock", {"clock_samples": {}}),
    ("kill_switch", {"kill_switch_engaged": True}),
    ("heartbeat", {"heartbeats": {}}),
    ("exchange", {"exchange": None}),
    ("exchange", {"inactive_tickers": None}),
    ("calibration", {"calibration_data_end_ns": 0}),
    ("panic", {"panic_latched_by": ("clock_skew", "freshness", "ladder_gap")}),
    ("drawdown", {"day_pnl_e6": -2_000_000_001}),
    ("fee_rules", {"fee_rules": None}),
    ("sequential_ev", {"evidence": evidence(deltas_bps=(-60.0,))}),
    ("quality", {"evidence": evidence(metrics={})}),
    ("ev_honesty", {"evidence": evidence(bins=())}),
    ("readiness", {"readiness": None}),
    ("ledger", {"ledger_ns": None}),
]


@pytest.mark.parametrize(("name", "changes"), ALONE)
def test_each_gate_fails_alone_and_all_report(name, changes):
    results = [answer.result for answer in ask_all(question(**changes), POLICY, "live")]
    assert [result.gate for result in results if not result.ok] == [name]
    assert len(results) == len(GATES)
    assert all(result.reason for result in results if not result.ok)


def test_with_nothing_known_every_gate_says_no_that_needs_to_be_told():
    nothing = question(
        level_ns=None,
        books_ns=None,
        kill_switch_engaged=None,
        kill_switch_read_ns=None,
        heartbeats={},
        clock_samples={},
        exchange=None,
        inactive_tickers=None,
        calibration_data_end_ns=0,
        fee_rules=None,
        evidence=None,
        readiness=None,
        ledger_ns=None,
        monitors_ns=None,
    )
    answers = ask_all(nothing, POLICY, "live")
    yes = [answer.result.gate for answer in answers if answer.result.ok]
    assert yes == [
        "window",
        "freeze",
        "freshness_feeds",
        "drawdown",
    ]  # known from the calendar and our own fills
    assert not [answer.result.gate for answer in answers if answer.result.advisory]


@pytest.mark.parametrize(
    ("left_ns", "reason"),
    [
        (15 * MINUTE + 1, "outside_window"),
        (15 * MINUTE, ""),
        (2 * S + 1, ""),
        (2 * S, "outside_window"),
        (1, "outside_window"),
        (0, "past_target"),
        (-S, "past_target"),
    ],
)
def test_window(left_ns, reason):
    result = ask(window, now_ns=TARGET - left_ns)
    assert (result.ok, result.reason) == (reason == "", reason)
    assert result.measured == pytest.approx(left_ns / S)


@pytest.mark.parametrize("family", ["CPI", "NOVEL", ""])
def test_a_family_without_an_index_window_is_outside_it(family):
    assert ask(window, family=family).reason == "outside_window"


@pytest.mark.parametrize(
    "claimed",
    [
        {"family": "NASDAQ100U"},
        {"series_ticker": "KXNASDAQ100U", "family": "NASDAQ100U"},
        {"series_ticker": "KXINX"},
        {"event_ticker": "KXNASDAQ100U-24AUG05H1200"},
        {"event_ticker": "NOVEL-24AUG05H1200"},
    ],
)
def test_a_family_or_series_that_is_not_the_events_is_outside(claimed):
    """Its windows, limits and evidence would be another market's."""
    assert ask(window).ok
    answer = ask(window, **claimed)
    assert (answer.ok, answer.reason) == (False, "outside_window")


def test_a_target_that_is_none_of_the_days_is_outside():
    assert ask(window, target_ns=NOW + 7 * MINUTE).reason == "outside_window"


@pytest.mark.parametrize(
    ("left_ns", "age_ms", "standing", "ok"),
    [
        (10 * MINUTE, 0, False, True),
        (10 * MINUTE, 2000, False, True),
        (10 * MINUTE, 2001, False, False),
        (10 * MINUTE, 2000, True, True),
        (10 * MINUTE, 2001, True, False),
        (MINUTE + 1, 2000, False, True),
        (MINUTE, 700, False, True),
        (MINUTE, 701, False, False),
        (MINUTE, 1700, True, True),
        (MINUTE, 1701, True, False),
        (10 * MINUTE, -100, False, True),
        (10 * MINUTE, -300_000, False, False),  # our clock was set back
        (10 * MINUTE, -300_000, True, False),
    ],
)
def test_freshness_of_the_index(left_ns, age_ms, standing, ok):
    now_ns = TARGET - left_ns
    result = ask(freshness_index, now_ns=now_ns, level_ns=now_ns - age_ms * MS, standing=standing)
    assert (result.ok, result.reason) == (ok, "" if ok else "polygon_ws_stale")
    assert result.measured == pytest.approx(age_ms / 1000)


@pytest.mark.parametrize(
    ("changes", "ok"),
    [
        ({"books_ns": NOW - 2 * S}, True),
        ({"books_ns": NOW - 2 * S - 1}, False),
        ({"books_ns": NOW + 5 * MINUTE}, False),  # our clock was set back
        ({"gap_tickers": ("KXINXU-24AUG05H1200-T5219.9999",)}, False),
        ({"proposal_ns": NOW + 2 * S}, True),
        ({"proposal_ns": NOW + 2 * S + 1}, False),
        ({"proposal_ns": NOW + 2 * S + 1, "standing": True}, True),
        ({"proposal_expires_ns": NOW}, True),
        ({"proposal_expires_ns": NOW - 1}, False),
        ({"proposal_expires_ns": NOW - 1, "standing": True}, True),
    ],
)
def test_freshness_of_the_ladder(changes, ok):
    result = ask(freshness_ladder, **changes)
    assert (result.ok, result.reason) == (ok, "" if ok else "STALE_FEEDS")


@pytest.mark.parametrize(
    ("samples", "ok"),
    [
        ([clock_sample(skew_ns=1500 * MS)], True),
        ([clock_sample(skew_ns=1500 * MS + 1)], False),
        ([clock_sample(skew_ns=-1500 * MS - 1)], False),
        ([clock_sample(), clock_sample(skew_ns=2 * S, reference="massive")], False),
        ([clock_sample(NOW - 120 * S)], True),
        ([clock_sample(NOW - 120 * S - 1)], False),
        ([clock_sample(), clock_sample(NOW - 300 * S, skew_ns=9 * S, reference="old")], True),
    ],
)
def test_clock(samples, ok):
    result = ask(clock_gate, clock_samples={sample.reference: sample for sample in samples})
    assert (result.ok, result.reason) == (ok, "" if ok else "clock_skew_exceeded")


@pytest.mark.parametrize(
    ("engaged", "read_ns", "ok"),
    [
        (False, NOW, True),
        (False, NOW - 5 * S, True),
        (False, NOW - 5 * S - 1, False),
        (True, NOW, False),
        (None, NOW, False),
        (None, None, False),
    ],
)
def test_kill_switch(engaged, read_ns, ok):
    result = ask(kill_switch, kill_switch_engaged=engaged, kill_switch_read_ns=read_ns)
    assert (result.ok, result.reason) == (ok, "" if ok else "kill_switch")


@pytest.mark.parametrize(
    ("beat", "ok", "detail"),
    [
        (heartbeat("broker", NOW - 300 * S), True, ""),
        (heartbeat("broker", NOW - 300 * S - 1), False, "broker silent"),
        (heartbeat("broker", NOW, state="STOPPED"), False, "broker stopped"),
        (heartbeat("broker", NOW, state="RECOVER"), True, ""),
    ],
)
def test_heartbeat(beat, ok, detail):
    result = ask(heartbeat_gate, heartbeats={**BEATS, "broker": beat})
    assert (result.ok, result.detail) == (ok, detail)


@pytest.mark.parametrize("service", sorted(BEATS))
def test_a_missing_service_is_stale(service):
    rest = {name: beat for name, beat in BEATS.items() if name != service}
    result = ask(heartbeat_gate, heartbeats=rest)
    assert (result.ok, result.reason) == (False, "heartbeat_stale")
    assert result.detail == f"{service} missing"


@pytest.mark.parametrize(
    ("status", "ok"),
    [
        (exchange_status(NOW - 60 * S), True),
        (exchange_status(NOW - 60 * S - 1), False),
        (exchange_status(trading=False), False),
        (exchange_status(exchange=False), False),
    ],
)
def test_exchange(status, ok):
    result = ask(exchange_gate, exchange=status)
    assert (result.ok, result.reason) == (ok, "" if ok else "exchange_paused")


@pytest.mark.parametrize("event_ticker", ["KXINXU-24AUG05H1300", "KXINXU-24AUG05", "KXINXU-x"])
def test_a_target_must_be_the_one_that_its_event_names(event_ticker):
    result = ask(window, event_ticker=event_ticker)
    assert (result.ok, result.reason) == (False, "outside_window")
    assert "expected" in result.detail


@pytest.mark.parametrize(
    ("inactive", "ok", "detail"),
    [
        ((), True, ""),
        ((TICKERS[0],), True, f"1 of 3 markets not active: {TICKERS[0]}"),
        (TICKERS[::2], True, f"2 of 3 markets not active: {TICKERS[0]}, {TICKERS[2]}"),
        ((TICKERS[1],), False, f"1 of 3 markets not active: {TICKERS[1]}"),
        (TICKERS[:2], False, f"2 of 3 markets not active: {TICKERS[1]}"),
        (None, False, "which of its markets are active is not known"),
    ],
)
def test_a_quoted_market_must_be_active(inactive, ok, detail):
    """The quote is on the middle one of three."""
    result = ask(exchange_gate, inactive_tickers=inactive)
    assert (result.ok, result.reason) == (ok, "" if ok else "exchange_paused")
    assert result.detail == detail


@pytest.mark.parametrize("quoted", [(), TICKERS[1:2]])
def test_an_event_of_which_no_market_is_active_is_paused_whatever_is_quoted(quoted):
    result = ask(exchange_gate, inactive_tickers=TICKERS, quoted_tickers=quoted)
    assert not result.ok


@pytest.mark.parametrize(
    ("hour_utc", "ok"), [(6.99, True), (7, False), (8.99, False), (9, True), (31, True)]
)
def test_thursday_maintenance_is_three_to_five_in_new_york(hour_utc, ok):
    """2024-08-08 is a Thursday in summer time: 07:00 to 09:00 UTC."""
    now_ns = 1_723_075_200 * S + round(hour_utc * 3600) * S
    status = exchange_status(now_ns)
    assert ask(exchange_gate, now_ns=now_ns, exchange=status).ok is ok


@pytest.mark.parametrize("gate", GATES, ids=lambda gate: gate.NAME)
def test_an_answer_turns_exactly_when_it_says(gate):
    """Until `turns_ns` a yes stays a yes without any new input; at it, it is a no."""
    answer = gate.ask(question(standing=True), POLICY)
    if answer.turns_ns is None:
        assert gate.NAME in NEVER_TURN
        return
    expires = answer.turns_ns + S
    before = question(standing=True, now_ns=answer.turns_ns - 1, proposal_expires_ns=expires)
    after = question(standing=True, now_ns=answer.turns_ns, proposal_expires_ns=expires)
    assert gate.ask(before, POLICY).result.ok
    assert not gate.ask(after, POLICY).result.ok


CLAIMS = eastern_ns(date(2025, 11, 6), 6)
"""The window of a Thursday's claims opens; frozen since 18:00 on Wednesday."""


SERIES_OF = {
    "CPI": "KXCPI",
    "CLAIMS": "KXJOBLESSCLAIMS",
    "TENY": "KXUST10AD",
    "WEATHER": "KXHIGHNY",
}


@pytest.mark.parametrize(
    ("family", "now_ns", "frozen", "opened"),
    [
        ("CLAIMS", CLAIMS - 12 * HOUR - 1, False, False),
        ("CLAIMS", CLAIMS - 12 * HOUR, True, False),
        ("CLAIMS", CLAIMS - 1, True, False),
        ("CLAIMS", CLAIMS, False, True),
        ("CLAIMS", CLAIMS + 145 * MINUTE - 2 * S - 1, False, True),
        ("CLAIMS", CLAIMS + 145 * MINUTE - 2 * S, False, False),
        ("TENY", eastern_ns(date(2025, 10, 27), 13, 30) - 1, False, False),
        ("TENY", eastern_ns(date(2025, 10, 27), 13, 30), True, False),
        ("TENY", eastern_ns(date(2025, 10, 27), 14, 30), False, True),
        ("TENY", eastern_ns(date(2025, 10, 27), 15, 25), False, False),
        ("CPI", eastern_ns(date(2025, 12, 17), 6), True, False),
        ("CPI", eastern_ns(date(2025, 12, 18), 6), False, True),
        ("CPI", eastern_ns(date(2025, 12, 18), 8, 20), False, False),
        ("CPI", eastern_ns(date(2027, 3, 10), 6), True, False),  # no calendar: nobody knows
        ("WEATHER", 1_762_192_800 * S - 1, True, False),  # 2025-11-03 18:00Z
        ("WEATHER", 1_762_192_800 * S, False, True),
        ("GAS", CLAIMS, True, False),  # no rule
        ("NOVEL", CLAIMS, True, False),
    ],
)
def test_freeze_and_window_of_every_family(family, now_ns, frozen, opened):
    series = SERIES_OF.get(family, family)
    changes = {"family": family, "series_ticker": series, "event_ticker": f"{series}-X"}
    changes |= {"now_ns": now_ns, "target_ns": now_ns + 24 * HOUR}
    result = ask(freeze, **changes)
    assert (result.ok, result.reason) == (not frozen, "freeze_window" if frozen else "")
    result = ask(window, **changes)
    assert (result.ok, result.reason) == (opened, "" if opened else "outside_window")


def test_a_freeze_to_come_wakes_the_gate():
    now_ns = CLAIMS - 13 * HOUR
    answer = freeze.ask(question(family="CLAIMS", now_ns=now_ns), POLICY)
    assert (answer.result.ok, answer.turns_ns) == (True, CLAIMS - 12 * HOUR)
