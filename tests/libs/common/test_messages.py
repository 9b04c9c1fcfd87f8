"""The wire: golden bytes of every message, and that nothing but a message or BadMessage comes."""

import json
from pathlib import Path

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from libs.common import messages as m
from libs.common.messages.base import HORIZON_NS, Cause, derived_id
from libs.common.messages.codec import MAX_MESSAGE_BYTES
from libs.common.topology import subject_of
from tests.libs.common.samples import KILL_SWITCH, SAMPLES

GOLDEN = Path(__file__).parent / "golden"
BY_TAG = {m.tag_of(type(sample)): sample for sample in SAMPLES}
(VERDICT,) = [sample for sample in SAMPLES if isinstance(sample, m.Verdict)]
WITHOUT_STEPS = tuple(msgspec.structs.replace(quote, left_e2=()) for quote in VERDICT.quotes)
WITHOUT_POSITIONS = tuple(
    msgspec.structs.replace(quote, position_e2=None) for quote in WITHOUT_STEPS
)
ALL_DECIDE = tuple(msgspec.structs.replace(gate, advisory=False) for gate in VERDICT.gates)
ASKED, LEFT = m.SizingStep("asked", 1_000), m.SizingStep("pilot", 100)
BEFORE_LEFT = {
    "quotes": tuple(msgspec.structs.replace(one, steps=(ASKED, LEFT)) for one in WITHOUT_STEPS),
    "withheld": tuple(
        msgspec.structs.replace(one, left_e2=(), steps=(ASKED,)) for one in VERDICT.withheld
    ),
    "steps": (),
}
ALL_BYTES = [m.encode(sample) for sample in SAMPLES]


def golden(name: str) -> bytes:
    return (GOLDEN / f"{name}.json").read_bytes()


@pytest.mark.parametrize("kind", m.MESSAGE_TYPES, ids=m.tag_of)
def test_every_message_has_golden_bytes_that_hold(kind) -> None:
    tag = m.tag_of(kind)
    assert (GOLDEN / f"{tag}.json").exists(), f"{tag} has no golden file; see samples.py"
    assert m.decode(golden(tag)) == BY_TAG[tag]
    assert m.encode(BY_TAG[tag]) == golden(tag)


def test_every_golden_file_is_of_a_message_that_can_still_be_read() -> None:
    names = {path.name.removesuffix(".json") for path in GOLDEN.glob("*.json")}
    for name in names - {"kill_switch.1"}:
        tag = ".".join(name.split(".")[:2])
        assert m.tag_of(type(m.decode(golden(name)))) == tag


@pytest.mark.parametrize(
    ("before", "default"),
    [
        ("fair_ladder.1.before_market", {"market": ()}),
        ("fee_rules.1.before_changes", {"changes": ()}),
        ("feed_status.1.before_failures", {"failures": 0}),
        ("ladder_snapshot.1.before_inactive", {"inactive": None}),
        ("monitor_result.1.before_alerted", {"alerted_ns": 0}),
        ("proposal.1.before_data_end", {"calibration_data_end_ns": 0}),
        ("order_intent.1.before_groups", {"order_group_id": ""}),
        (
            "verdict.1.before_positions",
            {"quotes": WITHOUT_POSITIONS, "gates": ALL_DECIDE, "withheld": (), "steps": ()},
        ),
        (
            "verdict.1.before_advisory",
            {"quotes": WITHOUT_STEPS, "gates": ALL_DECIDE, "withheld": (), "steps": ()},
        ),
        ("verdict.1.before_steps", {"quotes": WITHOUT_STEPS, "withheld": (), "steps": ()}),
        ("verdict.1.before_left", BEFORE_LEFT),
    ],
)
def test_a_message_from_before_a_field_was_added_has_its_default(before, default) -> None:
    newest = BY_TAG[".".join(before.split(".")[:2])]
    assert m.decode(golden(before)) == msgspec.structs.replace(newest, **default)


def test_the_kill_switch_has_golden_bytes() -> None:
    assert msgspec.json.decode(golden("kill_switch.1"), type=m.KillSwitch) == KILL_SWITCH
    assert msgspec.json.encode(KILL_SWITCH) == golden("kill_switch.1")


def test_samples_are_one_of_each_and_every_field_is_written() -> None:
    assert len(BY_TAG) == len(SAMPLES) == len(m.MESSAGE_TYPES)
    for sample in SAMPLES:
        assert set(json.loads(m.encode(sample))) == {"type", *sample.__struct_fields__}


def test_a_new_field_of_a_newer_version_is_passed_over() -> None:
    value = json.loads(golden("fill.1")) | {"a_later_field": {"x": [1]}}
    assert m.decode(json.dumps(value).encode()) == BY_TAG["fill.1"]


@pytest.mark.parametrize(
    ("tag", "change"),
    [
        ("fill.1", {"price_e4": 10_001}),
        ("fill.1", {"price_e4": -1}),
        ("fill.1", {"price_e4": 4100.5}),
        ("fill.1", {"price_e4": "4100"}),
        ("fill.1", {"price_e4": None}),
        ("fill.1", {"count_e2": -1}),
        ("fill.1", {"count_e2": 10**10 + 1}),
        ("fill.1", {"fee_e6": 10**15 + 1}),
        ("fill.1", {"side": "yes"}),
        ("fill.1", {"is_taker": 0}),
        ("fill.1", {"trade_id": ""}),
        ("fill.1", {"trade_id": "x" * 129}),
        ("fill.1", {"ts_event_ns": -1}),
        ("fill.1", {"ts_event_ns": HORIZON_NS + 1}),
        ("fill.1", {"id": ""}),
        ("index_tick.1", {"level_e4": 0}),
        ("index_tick.1", {"level_e4": -5}),
        ("index_tick.1", {"bar_end_ns": 1}),
        ("index_tick.1", {"provenance": "guess"}),
        ("ladder_defined.1", {"caps_e4": [None]}),
        ("ladder_snapshot.1", {"bid_count_e2": [1]}),
        ("fair_ladder.1", {"probabilities": [1.5, 0]}),
        ("verdict.1", {"decision": "NO-GO"}),
        ("verdict.1", {"decision": "MAYBE"}),
        ("monitor_result.1", {"state": "FINE"}),
        ("override.1", {"kind": "raise_every_limit"}),
        ("settled_evidence.1", {"deltas_bps": [0.0] * 501}),
        ("order_update.1", {"state": "gone"}),
        ("heartbeat.1", {"detail": "x" * 2_001}),
    ],
)
def test_a_value_outside_its_limits_is_refused(tag: str, change: dict[str, object]) -> None:
    value = json.loads(golden(tag)) | change
    with pytest.raises(m.BadMessage):
        m.decode(json.dumps(value).encode())


@pytest.mark.parametrize("field", ["type", "id", "ts_pub_ns", "count_e2"])
def test_a_missing_field_is_refused_and_named(field: str) -> None:
    value = json.loads(golden("fill.1"))
    del value[field]
    with pytest.raises(m.BadMessage, match=field):
        m.decode(json.dumps(value).encode())


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b'{"type":"fill.2"}',
        b'{"type":5}',
        b"\xff\xfe",
        b'{"type":"fill.1","id":"\xff"}',
        b"[" * 100_000,
        b'{"type":"fill.1","x":' * 5_000,
        b" " * (MAX_MESSAGE_BYTES + 1),
        golden("fill.1")[:-1],
        golden("fill.1") + b"x",
    ],
)
def test_what_is_no_message_is_refused_in_words(data: bytes) -> None:
    with pytest.raises(m.BadMessage, match=r"."):
        m.decode(data)


def test_a_verdict_cannot_contradict_itself() -> None:
    sample = BY_TAG["verdict.1"]
    gate = m.GateResult(gate="window", ok=False, reason="outside_window")
    with pytest.raises(AssertionError, match="window"):
        msgspec.structs.replace(sample, gates=(gate,))
    with pytest.raises(AssertionError, match="no quotes"):
        msgspec.structs.replace(sample, decision="NO-GO", gates=(gate,))
    shown = msgspec.structs.replace(gate, advisory=True)
    assert msgspec.structs.replace(sample, gates=(shown,)).id == sample.id
    with pytest.raises(AssertionError, match="3 steps"):
        msgspec.structs.replace(sample, steps=("asked", "pilot", "lot"))


def test_what_we_build_ourselves_is_checked_too() -> None:
    for change in ({"id": ""}, {"ts_pub_ns": -1}, {"ts_event_ns": 1.5e30}):
        with pytest.raises(AssertionError):
            msgspec.structs.replace(BY_TAG["fill.1"], **change)


@given(st.binary(max_size=400))
def test_any_bytes_give_a_message_or_bad_message(data: bytes) -> None:
    _only_a_message(data)


@given(st.data())
def test_damaged_messages_give_a_message_or_bad_message(data) -> None:
    good = bytearray(data.draw(st.sampled_from(ALL_BYTES)))
    for _ in range(data.draw(st.integers(1, 5))):
        good[data.draw(st.integers(0, len(good) - 1))] = data.draw(st.integers(0, 255))
    _only_a_message(bytes(good[: data.draw(st.integers(0, len(good)))]))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=8,
)


@given(st.data())
@example(data=None)
def test_messages_with_any_values_give_a_message_or_bad_message(data) -> None:
    if data is None:  # a lone surrogate, which no UTF-8 can carry
        value = golden("fill.1").replace(b"KXINXU-24", rb"\ud800-24")
        return _only_a_message(value)
    value = json.loads(data.draw(st.sampled_from(ALL_BYTES)))
    for field in data.draw(st.lists(st.sampled_from(sorted(value)), max_size=3)):
        value[field] = data.draw(JSON)
    return _only_a_message(json.dumps(value).encode())


def _only_a_message(data: bytes) -> None:
    try:
        message = m.decode(data)
    except m.BadMessage:
        return
    assert isinstance(message, m.Message)
    assert m.decode(m.encode(message)) == message
    assert subject_of(message)


def test_ids_are_of_their_parts_alone_and_parts_do_not_run_together() -> None:
    assert derived_id("a", 1) == derived_id("a", "1")
    assert derived_id("a", "bc") != derived_id("ab", "c")
    assert derived_id("a", "") != derived_id("a")
    assert len(derived_id("x")) == 26


def test_a_cause_carries_its_chain() -> None:
    tick = BY_TAG["index_tick.1"]
    cause = Cause.of(tick, 5)
    assert (cause.id, cause.correlation_id, cause.now_ns) == (tick.id, tick.correlation_id, 5)
    first = Cause.first("timer", "t2s", 7)
    assert first.id == first.correlation_id == derived_id("timer", "t2s")
