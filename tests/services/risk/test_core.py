"""Risk's core with plain events: a verdict for each proposal, and a watch over each GO."""

import pytest
from msgspec.structs import replace

from libs.common.effects import Received, SetTimer, TimerFired
from libs.common.messages import encode
from services.risk.core import RiskCore
from services.risk.policy import RiskPolicy
from tests.services.risk.builders import (
    EVENT,
    MINUTE,
    NOW,
    POLICY,
    TARGET,
    TICKERS,
    Bench,
    S,
    clock_sample,
    exchange_status,
    failed,
    fair,
    fill,
    order,
    proposal,
    quote,
    snapshot,
    verdicts,
)

GATE_NAMES = [
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
    "pmf",
    "kelly",
    "pal",
    "factor_var",
    "family_loss",
    "correlation_var",
    "loss_budget",
    "regime",
    "size_ladder",
    "pilot",
    "lot",
    "joint",
]


def timer(now_ns) -> TimerFired:
    return TimerFired(now_ns=now_ns, key=f"recheck:{EVENT}", at_ns=now_ns)


def received(message) -> Received:
    return Received(now_ns=NOW, message=message, stream="PROPOSALS", sequence=1)


def test_go_carries_sized_quotes_and_every_gate():
    (verdict,) = verdicts(Bench().send(proposal()))
    assert verdict.decision == "GO"
    assert [gate.gate for gate in verdict.gates] == GATE_NAMES
    assert [(q.ticker, q.count_e2, q.asked_count_e2) for q in verdict.quotes] == [
        (TICKERS[1], 100, 1000)
    ]
    assert verdict.proposal_id == verdict.cause_id == f"proposal-{NOW}"
    assert verdict.expires_at_ns == NOW + 8 * S
    assert verdict.provenance == "synthetic"


def test_a_core_that_knows_nothing_says_no_with_every_reason():
    bench = Bench.__new__(Bench)
    bench.core, bench.sequences = RiskCore(RiskPolicy()), {}
    (verdict,) = verdicts(bench.send(proposal()))
    assert (verdict.decision, verdict.quotes) == ("NO-GO", ())
    assert [gate.gate for gate in verdict.gates] == GATE_NAMES
    assert [name for name, _ in failed(verdict)] == [
        "freshness_ladder",
        "clock",
        "kill_switch",
        "heartbeat",
        "exchange",
        "panic",
        "fee_rules",
        "sequential_ev",
        "quality",
        "ev_honesty",
        "readiness",
        "ledger",
        "monitors",
        "pmf",
    ]


def test_a_proposal_from_the_future_is_refused():
    """Its level and its books are of now: only its own time says that something is wrong."""
    bench = Bench()
    early = replace(proposal(), ts_pub_ns=NOW + 3 * S)
    (verdict,) = verdicts(bench.core.handle(received(early)))
    assert (verdict.decision, verdict.quotes) == ("NO-GO", ())
    assert failed(verdict) == [("freshness_ladder", "STALE_FEEDS")]


def test_every_proposal_gets_a_verdict():
    bench = Bench()
    said = [verdicts(bench.send(proposal(NOW + n, quotes=()))) for n in range(5)]
    assert [len(each) for each in said] == [1] * 5


def test_an_empty_proposal_is_a_go_without_quotes():
    (verdict,) = verdicts(Bench().send(proposal(quotes=())))
    assert (verdict.decision, verdict.quotes) == ("GO", ())


def test_a_proposal_that_sizing_empties_is_a_no_go_with_its_reason():
    (verdict,) = verdicts(Bench().send(proposal(quotes=(quote(p=0.3),))))
    assert verdict.decision == "NO-GO"
    assert failed(verdict) == [("kelly", "kelly_not_positive")]


@pytest.mark.parametrize(
    ("now_ns", "reason"),
    [
        (TARGET - 16 * MINUTE, "outside_window"),
        (TARGET - 2 * S, "outside_window"),
        (TARGET, "past_target"),
    ],
)
def test_outside_the_window(now_ns, reason):
    (verdict,) = verdicts(Bench(now_ns=now_ns).send(proposal(now_ns)))
    assert failed(verdict) == [("window", reason)]


def test_no_quote_outlives_the_cancel_buffer():
    now_ns = TARGET - 5 * S
    (verdict,) = verdicts(Bench(now_ns=now_ns).send(proposal(now_ns)))
    assert verdict.expires_at_ns == TARGET - 2 * S


def test_a_proposal_answers_for_its_own_level():
    """A newer level elsewhere does not make an old price fresh."""
    bench = Bench()
    bench.send(fair(NOW))
    old = proposal(NOW, level_ns=NOW - 2 * S - 1)
    (verdict,) = verdicts(bench.send(old))
    assert failed(verdict) == [("freshness_index", "polygon_ws_stale")]


def test_a_proposal_answers_for_its_own_books():
    """Priced from books of five minutes ago: that newer ones are known here is no excuse."""
    bench = Bench()
    (verdict,) = verdicts(bench.send(proposal(books_ns=NOW - 5 * MINUTE)))
    assert failed(verdict) == [("freshness_ladder", "STALE_FEEDS")]
    (verdict,) = verdicts(bench.send(proposal(books_ns=0)))
    assert failed(verdict) == [("freshness_ladder", "STALE_FEEDS")]


def test_no_go_outlives_its_own_limit_whatever_the_proposal_says():
    (verdict,) = verdicts(Bench().send(proposal(expires_at_ns=NOW + 5 * MINUTE)))
    assert verdict.decision == "GO"
    assert verdict.expires_at_ns == NOW + 10 * S


def test_a_proposal_judged_anew_and_differently_has_a_verdict_of_its_own():
    """After a restart inputs are missing: the bus must not drop the NO-GO as the GO's copy."""
    (first,) = verdicts(Bench().send(proposal()))
    (again,) = verdicts(RiskCore(RiskPolicy()).handle(received(proposal())))
    assert (first.decision, again.decision) == ("GO", "NO-GO")
    assert first.id != again.id


def test_a_proposal_without_a_level_is_stale():
    (verdict,) = verdicts(Bench().send(proposal(level_ns=0)))
    assert failed(verdict) == [("freshness_index", "polygon_ws_stale")]


def test_a_gap_in_a_quoted_book_is_stale_and_another_is_not():
    bench = Bench()
    bench.send(snapshot(NOW, stale=(1,)))
    assert failed(verdicts(bench.send(proposal()))[0]) == [("freshness_ladder", "STALE_FEEDS")]
    bench.send(snapshot(NOW, stale=(2,)))
    assert verdicts(bench.send(proposal(NOW + 1)))[0].decision == "GO"


def go(bench: Bench, now_ns=NOW) -> list:
    effects = bench.send(proposal(now_ns))
    assert verdicts(effects)[0].decision == "GO"
    return effects


def test_a_go_is_looked_at_again_when_its_first_input_turns():
    (found,) = [effect for effect in go(Bench()) if isinstance(effect, SetTimer)]
    assert (found.key, found.at_ns) == (f"recheck:{EVENT}", NOW + 2 * S + 1)


def test_a_no_go_sets_no_timer():
    effects = Bench().send(proposal(quotes=(quote(p=0.3),)))
    assert [effect for effect in effects if isinstance(effect, SetTimer)] == []


def test_the_kill_switch_ends_a_go_at_once():
    bench = Bench()
    go(bench)
    (verdict,) = verdicts(bench.switch(NOW + S, engaged=True))
    assert (verdict.decision, verdict.quotes) == ("NO-GO", ())
    assert failed(verdict) == [("kill_switch", "kill_switch")]
    assert [gate.gate for gate in verdict.gates] == GATE_NAMES
    assert verdict.proposal_id == f"proposal-{NOW}"
    assert verdicts(bench.switch(NOW + 2 * S, engaged=True)) == []


def test_a_switch_that_cannot_be_read_ends_a_go():
    bench = Bench()
    go(bench)
    assert failed(verdicts(bench.switch(NOW + S, engaged=None))[0])[0][0] == "kill_switch"


def test_a_switch_not_read_for_long_ends_a_go():
    bench = Bench()
    go(bench)
    for second in range(1, 6):
        bench.send(fair(NOW + second * S))
        bench.send(snapshot(NOW + second * S))
        assert verdicts(bench.core.handle(timer(NOW + second * S))) == []
    (verdict,) = verdicts(bench.core.handle(timer(NOW + 5 * S + 1)))
    assert failed(verdict) == [("kill_switch", "kill_switch")]


def test_a_silent_index_ends_a_go():
    bench = Bench()
    go(bench)
    bench.send(snapshot(NOW + 2 * S))
    (verdict,) = verdicts(bench.core.handle(timer(NOW + 2 * S + 1)))
    assert failed(verdict) == [("freshness_index", "polygon_ws_stale")]


def test_newer_inputs_keep_a_go_and_move_the_timer():
    bench = Bench()
    go(bench)
    bench.send(snapshot(NOW + 2 * S))
    bench.send(fair(NOW + S))
    effects = bench.core.handle(timer(NOW + 2 * S + 1))
    assert verdicts(effects) == []
    assert [effect.at_ns for effect in effects] == [NOW + 3 * S + 1]


@pytest.mark.parametrize(
    ("message", "gate"),
    [
        (exchange_status(NOW + S, trading=False), "exchange"),
        (clock_sample(NOW + S, skew_ns=2 * S), "clock"),
        (snapshot(NOW + S, stale=(1,)), "freshness_ladder"),
        (snapshot(NOW + S, inactive=(1,)), "exchange"),
        (snapshot(NOW + S, inactive=None), "exchange"),
    ],
)
def test_bad_news_ends_a_go_without_waiting(message, gate):
    bench = Bench()
    go(bench)
    (verdict,) = verdicts(bench.send(message))
    assert [name for name, _ in failed(verdict)] == [gate]


def test_a_market_that_stops_beside_the_quoted_one_is_shown_and_ends_nothing():
    bench = Bench()
    go(bench)
    assert verdicts(bench.send(snapshot(NOW + S, inactive=(0, 2)))) == []
    (verdict,) = verdicts(bench.send(proposal(NOW + S)))
    assert verdict.decision == "GO"
    (gate,) = [one for one in verdict.gates if one.gate == "exchange"]
    assert gate.detail == f"2 of 3 markets not active: {TICKERS[0]}, {TICKERS[2]}"


def test_which_markets_of_another_ladder_are_active_is_not_known():
    """Which market the first rung of a ladder is that was not defined, nobody can say."""
    bench = Bench()
    bench.send(replace(snapshot(NOW + S, inactive=(0,)), ladder_id="ladder-2"))
    (verdict,) = verdicts(bench.send(proposal(NOW + S)))
    assert failed(verdict) == [("exchange", "exchange_paused")]


def test_at_the_cancel_buffer_a_go_ends():
    start = TARGET - 3 * S
    bench = Bench(now_ns=start)
    effects = go(bench, start)
    (found,) = [effect for effect in effects if isinstance(effect, SetTimer)]
    assert found.at_ns <= TARGET - 2 * S
    bench.send(snapshot(TARGET - 2 * S))
    bench.send(fair(TARGET - 2 * S))
    (verdict,) = verdicts(bench.core.handle(timer(TARGET - 2 * S)))
    assert failed(verdict) == [("window", "outside_window")]


def test_an_expired_go_is_forgotten_in_silence():
    bench = Bench()
    go(bench)
    assert bench.core.handle(timer(NOW + 8 * S)) == []
    assert verdicts(bench.switch(NOW + 9 * S, engaged=True)) == []


def test_fills_and_unknown_orders_are_exposure():
    bench = Bench()
    bench.send(order("unknown", count_e2=400))
    bench.send(fill(600, client="c9"))
    (verdict,) = verdicts(bench.send(proposal()))
    assert failed(verdict) == [("pilot", "pilot_clamp")]


def test_a_redelivered_fill_is_counted_once():
    bench = Bench()
    bench.send(fill(500))
    bench.sequences["FILLS"] = 0
    bench.send(fill(500))
    assert bench.core.desk.own.position(TICKERS[1]).count_e2 == 500


def test_the_policy_is_named_in_each_verdict():
    one = verdicts(Bench().send(proposal()))[0].config_hash
    tighter = replace(POLICY, gates=replace(POLICY.gates, skew_s_max=1.0))
    other = verdicts(Bench(tighter).send(proposal()))[0].config_hash
    assert one == verdicts(Bench().send(proposal()))[0].config_hash
    assert one != other


def test_equal_events_give_equal_bytes():
    def run() -> list[bytes]:
        bench, said = Bench(), []
        for second in range(30):
            now_ns = NOW + second * S
            bench.refresh(now_ns)
            said += bench.send(proposal(now_ns))
            said += bench.core.handle(timer(now_ns + S // 2))
            said += bench.switch(now_ns + S // 2, engaged=second % 7 == 3)
        return [encode(verdict) for verdict in verdicts(said)]

    first = run()
    assert first == run()
    assert len(first) == len(set(first)) > 30


def test_the_summary_counts_verdicts():
    bench = Bench()
    go(bench)
    bench.switch(NOW + S, engaged=True)
    assert bench.core.summary() == "GO 1, NO-GO 1, standing 0, unknown orders 0"
