"""Overrides: only the operator's own word, within its time, once; and what they change."""

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec.structs import replace

from libs.common.effects import Publish
from libs.common.messages import Override, PanicLatch, decode, encode
from libs.common.overrides import override_bytes
from services.risk.events import OverrideAnswered, OverrideOffered
from services.risk.overrides import Overrides
from services.risk.sizing.policy import PilotPolicy, SizeLadderPolicy, Stage
from tests.services.risk.builders import (
    DAY,
    NOW,
    POLICY,
    Bench,
    S,
    envelope,
    failed,
    fee_rules,
    monitor,
    proposal,
    quote,
    verdicts,
)

OPERATOR = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
STRANGER = Ed25519PrivateKey.from_private_bytes(bytes(32))
KEY = OPERATOR.public_key().public_bytes_raw().hex()
WEEK = 7 * DAY
STAGES = ("A", "B", "C", "D")


def signed(by=OPERATOR, **changes) -> Override:
    fields = envelope("override", NOW) | {
        "nonce": "n1",
        "kind": "lift_panic",
        "scope": "",
        "value": "",
        "reason": "seen to it",
        "by": "operator",
        "issued_ns": NOW,
        "expires_ns": NOW + DAY,
        "signature": "",
    }
    bare = Override(**(fields | changes))
    return replace(bare, signature=by.sign(override_bytes(bare)).hex())


def overrides() -> Overrides:
    return Overrides(KEY, WEEK, STAGES)


def test_the_operators_word_is_taken_once():
    known = overrides()
    assert known.offer(signed(), NOW) == ("", "")
    assert [one.nonce for one in known.all_in_force(NOW)] == ["n1"]
    assert known.offer(signed(), NOW + S)[0] == "replayed"
    assert known.offer(signed(nonce="n2"), NOW + S)[0] == ""
    assert dict(known.refused) == {"replayed": 1}


ACKNOWLEDGES = {"kind": "acknowledge_fee_rules", "scope": "KXINXU"}


@pytest.mark.parametrize(
    ("override", "now_ns", "refusal"),
    [
        (signed(by=STRANGER), NOW, "forged"),
        (replace(signed(), value="D"), NOW, "forged"),
        (replace(signed(), expires_ns=NOW + 2 * DAY), NOW, "forged"),
        (replace(signed(), nonce="n2"), NOW, "forged"),
        (replace(signed(), signature="zz"), NOW, "forged"),
        (replace(signed(), signature=""), NOW, "forged"),
        (signed(), NOW + DAY - 1, ""),
        (signed(), NOW + DAY, "expired"),
        (signed(), NOW - 5 * S, ""),  # clocks may differ by so much
        (signed(), NOW - 5 * S - 1, "not_yet"),
        (signed(expires_ns=NOW + WEEK), NOW, ""),
        (signed(expires_ns=NOW + WEEK + 1), NOW, "too_long"),
        (signed(scope="KXNOVEL", kind="size_ladder_stage", value="B"), NOW, "unusable"),
        (signed(kind="size_ladder_stage", value="E"), NOW, "unusable"),
        (signed(kind="size_ladder_stage", value="D"), NOW, ""),
        (signed(kind="acknowledge_fee_rules", value="hash"), NOW, "unusable"),
        (signed(kind="acknowledge_fee_rules", scope="KXINXU"), NOW, "unusable"),
        (signed(kind="lift_panic", scope="KXINXU"), NOW, "unusable"),
        (signed(**ACKNOWLEDGES, value="now"), NOW, ""),
        (signed(**ACKNOWLEDGES, value="then"), NOW, "unpublished"),
        (signed(**ACKNOWLEDGES, value="then"), NOW + DAY, "expired"),
    ],
)
def test_what_is_refused_and_why(override, now_ns, refusal):
    known = overrides()
    word, explanation = known.offer(override, now_ns, fee_rules(facts_hash="now"))
    assert word == refusal
    assert bool(explanation) == bool(refusal)
    assert len(known.all_in_force(now_ns)) == (refusal == "")
    assert known.refused[refusal] == (refusal != "")


@pytest.mark.parametrize(
    ("override", "expected", "came"),
    [
        (signed(by=STRANGER), KEY[:8], "another's"),
        (signed(expires_ns=NOW), "2024-08-05T15:50:00Z", "got 2024-08-05T15:50:00Z"),
        (signed(issued_ns=NOW + 60 * S), "2024-08-05T15:50:00Z", "2024-08-05T15:51:00Z"),
        (signed(expires_ns=NOW + 2 * WEEK), "168 h", "336 h"),
        (signed(nonce="used"), "not used", "used was"),
        (signed(scope="KXNOVEL", kind="size_ladder_stage", value="B"), "KXINXU", "'KXNOVEL'"),
        (signed(kind="size_ladder_stage", value="E"), "A, B, C, D", "'E'"),
        (signed(kind="lift_panic", scope="KXINXU"), "no series", "'KXINXU'"),
        (signed(kind="acknowledge_fee_rules", value="h"), "a series and the hash", "'' and 'h'"),
        (signed(**ACKNOWLEDGES, value="then"), "now, which is published of KXINXU", "got then"),
    ],
)
def test_a_refusal_says_what_was_expected_what_came_and_what_to_do(override, expected, came):
    known = overrides()
    known.offer(signed(nonce="used"), NOW)
    explanation = known.offer(override, NOW, fee_rules(facts_hash="now"))[1]
    assert explanation.startswith("expected ")
    assert expected in explanation.split(", got ")[0]
    assert came in explanation
    assert "; " in explanation


def test_fee_facts_that_nobody_has_read_are_not_acknowledged():
    word, explanation = overrides().offer(signed(**ACKNOWLEDGES, value="then"), NOW)
    assert word == "unpublished"
    assert "none of KXINXU has come" in explanation


def test_without_an_operators_key_nothing_is_taken():
    word, explanation = Overrides("", WEEK, STAGES).offer(signed(), NOW)
    assert word == "no_operator_key"
    assert "alpha override keygen" in explanation


def test_a_stage_that_the_policy_does_not_know_is_refused_when_given_and_when_read_back():
    few, word = Overrides(KEY, WEEK, ("A", "B")), signed(kind="size_ladder_stage", value="C")
    refusal, explanation = few.offer(word, NOW)
    assert refusal == "unusable"
    assert "A, B, got 'C'" in explanation
    assert few.read_back(word, NOW) == "unusable"  # it was of use to the policy of before
    assert few.stage("KXINXU", NOW) is None
    own = Overrides(KEY, WEEK, ("A", "E"))
    assert own.offer(signed(kind="size_ladder_stage", value="E"), NOW) == ("", "")


def test_the_policys_own_stages_are_what_risk_takes():
    ladder = SizeLadderPolicy(stages={"A": Stage(count_max_e2=100, rungs_max=1)})
    policy = replace(POLICY, sizing=replace(POLICY.sizing, size_ladder=ladder))
    bench = Bench(policy, operator_key=KEY)
    word = signed(kind="size_ladder_stage", value="D")
    assert offered(bench, word)[0] == "unusable"
    (verdict,) = verdicts(bench.send(proposal(NOW)))
    assert verdict.decision == "GO", failed(verdict)


def test_a_used_one_is_refused_after_a_restart_too():
    again = overrides()
    assert again.read_back(decode(encode(signed())), NOW + S) == ""
    assert again.offer(signed(), NOW + S)[0] == "replayed"


def test_what_the_stream_holds_is_checked_as_well():
    again = overrides()
    assert again.read_back(signed(by=STRANGER), NOW) == "forged"
    assert again.read_back(signed(), NOW + DAY) == ""  # long past: no news
    assert again.all_in_force(NOW) == []


def test_stage_and_acknowledgement_hold_until_they_expire():
    known = overrides()
    known.offer(signed(kind="size_ladder_stage", value="B"), NOW)
    known.offer(
        signed(nonce="n2", kind="size_ladder_stage", scope="KXINXU", value="C", issued_ns=NOW + 1),
        NOW,
    )
    facts = signed(nonce="n3", **ACKNOWLEDGES, value="h")
    known.offer(facts, NOW, fee_rules(facts_hash="h"))
    assert known.stage("KXINXU", NOW) == "C"
    assert known.stage("KXINX", NOW) == "B"
    assert known.acknowledged_hashes("KXINXU", NOW) == {"h"}
    assert known.acknowledged_hashes("KXINX", NOW) == frozenset()
    assert known.stage("KXINXU", NOW + DAY) is None
    assert known.acknowledged_hashes("KXINXU", NOW + DAY) == frozenset()


def offered(bench, override, now_ns=NOW):
    effects = bench.core.handle(OverrideOffered(now_ns=now_ns, override=override))
    (answer,) = [one for one in effects if isinstance(one, OverrideAnswered)]
    return answer.refusal, [one.message for one in effects if isinstance(one, Publish)]


def latched(bench, now_ns=NOW):
    names = ("clock_skew", "freshness", "ladder_gap")
    return [bench.send(monitor(name, "ALERT", now_ns)) for name in names]


def test_three_monitors_latch_the_day_and_a_signed_word_lifts_it():
    bench = Bench(operator_key=KEY)
    assert verdicts(bench.send(proposal()))[0].decision == "GO"
    first, second, third = latched(bench)
    assert first == second == []
    (latch,) = [one.message for one in third if isinstance(one.message, PanicLatch)]
    assert latch.monitors == ("clock_skew", "freshness", "ladder_gap")
    (no,) = verdicts(third)  # the GO that stood is taken back at once
    assert failed(no) == [("panic", "panic_backoff")]
    refusal, said = offered(bench, signed(by=STRANGER), NOW + S)
    assert (refusal, said) == ("forged", [])
    assert failed(verdicts(bench.send(proposal(NOW + S)))[0]) == [("panic", "panic_backoff")]
    refusal, said = offered(bench, signed(), NOW + S)
    assert (refusal, [type(one) for one in said]) == ("", [Override, PanicLatch])
    assert override_bytes(said[0]) == override_bytes(signed())
    assert said[1].latched_ns == 0
    assert verdicts(bench.send(proposal(NOW + S)))[0].decision == "GO"


def test_a_latch_survives_a_restart_and_so_does_its_lifting():
    bench = Bench(operator_key=KEY)
    *_, third = latched(bench)
    (latch,) = [one.message for one in third if isinstance(one.message, PanicLatch)]
    other = Bench(operator_key=KEY)
    other.send(latch)
    assert failed(verdicts(other.send(proposal()))[0]) == [("panic", "panic_backoff")]
    _, (_, lifted) = offered(other, signed(), NOW + S)
    third = Bench(operator_key=KEY)
    third.send(lifted, NOW + 2 * S)
    for name in ("clock_skew", "freshness", "ladder_gap"):  # they alerted before it was lifted
        assert third.send(monitor(name, "OK", NOW + 2 * S, alerted_ns=NOW)) == []
    assert verdicts(third.send(proposal(NOW + 2 * S)))[0].decision == "GO"


def test_alerts_of_the_last_half_hour_count_over_a_restart():
    bench = Bench()
    bench.send(monitor("freshness", "OK", alerted_ns=NOW - 1_800 * S))
    bench.send(monitor("ladder_gap", "OK", alerted_ns=NOW - 1_800 * S - 1))  # too long ago
    assert bench.send(monitor("clock_skew", "ALERT")) == []
    assert bench.send(monitor("ladder_gap", "ALERT", scope="INXU")) != []


def test_one_monitor_of_many_scopes_is_one_and_the_kill_switch_is_none():
    bench = Bench()
    for scope in ("a", "b", "c", "d"):
        assert bench.send(monitor("freshness", "ALERT", scope=scope)) == []
    assert bench.send(monitor("kill_switch", "ALERT")) == []
    assert bench.send(monitor("panic", "ALERT")) == []
    assert bench.send(monitor("exchange", "NO_DATA")) == []
    assert bench.core.panic.alerting(NOW) == ("freshness",)


def test_the_next_trading_day_is_not_latched():
    bench = Bench()
    latched(bench)
    assert bench.core.panic.latched_by(NOW)
    assert bench.core.panic.latched_by(NOW + DAY) == ()


def test_changed_fees_stop_a_series_until_they_are_acknowledged():
    bench = Bench(operator_key=KEY)
    bench.send(proposal())
    (no,) = verdicts(bench.send(fee_rules(facts_hash="changed")))
    assert failed(no) == [("fee_rules", "fee_rules_unacknowledged")]
    word = signed(kind="acknowledge_fee_rules", scope="KXINXU", value="changed")
    assert offered(bench, word)[0] == ""
    assert verdicts(bench.send(proposal(NOW + 1)))[0].decision == "GO"


def test_the_summary_tells_of_refused_overrides():
    bench = Bench(operator_key=KEY)
    offered(bench, signed(by=STRANGER))
    assert bench.core.summary().endswith("overrides refused 1")


def test_a_stage_by_override_sizes_until_it_expires():
    policy = replace(POLICY, sizing=replace(POLICY.sizing, pilot=PilotPolicy(active=False)))
    bench = Bench(policy, operator_key=KEY)
    asked = quote(count_e2=400)

    def given(now_ns):
        bench.refresh(now_ns)
        (verdict,) = verdicts(bench.send(proposal(now_ns, quotes=(asked,))))
        assert verdict.decision == "GO", failed(verdict)
        return verdict.quotes[0].count_e2, verdict.quotes[0].limited_by

    assert given(NOW) == (100, "size_ladder")  # stage A: one contract
    word = signed(kind="size_ladder_stage", value="B", expires_ns=NOW + 60 * S)
    assert offered(bench, word)[0] == ""
    assert given(NOW + S) == (200, "size_ladder")
    assert given(NOW + 60 * S) == (100, "size_ladder")
