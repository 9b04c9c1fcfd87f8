"""The index frames as the service documents them, and anything else that may come instead."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.market.faults import bad_frames
from services.feeds.massive_wire import (
    EVENTS_MAX,
    FRAME_MAX_BYTES,
    Aggregate,
    Refused,
    Status,
    command,
    read_frame,
)

MS = 1_000_000
START_MS = 1_722_873_599_000
BAR = {
    "ev": "A",
    "sym": "I:SPX",
    "op": 5190.0,
    "o": 5200.0,
    "c": 5200.25,
    "h": 5201.0,
    "l": 5199.5,
    "s": START_MS,
    "e": START_MS + 1_000,
}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=20,
)


def frame(*events) -> str:
    return json.dumps(list(events))


def test_a_bar_is_read() -> None:
    start_ns = START_MS * MS
    assert read_frame(frame(BAR)) == [
        Aggregate("I:SPX", 52_002_500, start_ns, start_ns + 1_000 * MS)
    ]


def test_a_status_is_read() -> None:
    text = frame({"ev": "status", "status": "auth_success", "message": "authenticated"})
    assert read_frame(text) == [Status("auth_success", "authenticated")]
    assert read_frame(frame({"ev": "status", "status": "connected"})) == [Status("connected", "")]


def test_one_bad_event_does_not_cost_its_neighbours() -> None:
    first, second, third = read_frame(frame(BAR, BAR | {"c": "5"}, BAR))
    assert isinstance(first, Aggregate)
    assert isinstance(second, Refused)
    assert isinstance(third, Aggregate)


def test_events_of_other_kinds_and_unknown_fields_are_passed_over() -> None:
    assert read_frame(frame({"ev": "AM", "sym": "I:SPX"}, {"ev": "V", "val": 1})) == []
    assert isinstance(read_frame(frame(BAR | {"new": {"x": 1}}))[0], Aggregate)


@pytest.mark.parametrize(
    "change",
    [
        {"c": None},
        {"c": "5200"},
        {"c": True},
        {"c": 1e300},
        {"c": -1e300},
        {"s": 0},
        {"s": -5},
        {"s": START_MS + 1_000},
        {"e": START_MS * MS},
        {"e": 2**63},
        {"s": 1.5},
        {"sym": 5},
        {"sym": None},
    ],
)
def test_an_impossible_bar_is_refused_in_words(change) -> None:
    (item,) = read_frame(frame(BAR | change))
    assert isinstance(item, Refused)
    assert item.reason


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "{}",
        "[",
        "[[]]",
        "[{}]",
        '[{"ev":5}]',
        '[{"ev":"A"}]',
        "[" * 100_000,
        '{"ev":"status","status":"x"}',
        b"\xff\xfe",
        b'[{"ev":"A","sym":"\xff"}]',
        " " * (FRAME_MAX_BYTES + 1),
        "[" + "1," * EVENTS_MAX + "1]",
        frame(BAR | {"c": float("nan")}),
        frame(BAR | {"c": float("inf")}),
    ],
)
def test_what_is_no_frame_is_refused(text) -> None:
    items = read_frame(text)
    assert len(items) == 1
    assert isinstance(items[0], Refused)


def test_the_simulator_s_bad_frames_are_all_survived() -> None:
    read = [read_frame(text) for text in bad_frames(START_MS * MS)]
    kinds = [[type(item) for item in items] for items in read]
    assert kinds == [
        [Refused],  # truncated
        [],  # another kind of event
        [Refused],
        [Refused],
        [Refused],  # wrong types
        [Aggregate],  # a negative level, which the core refuses as impossible
        [Aggregate],  # an hour ahead, which the core refuses as future
    ]


@given(st.one_of(st.binary(max_size=300), st.text(max_size=300)))
def test_no_bytes_raise(text) -> None:
    for item in read_frame(text):
        assert isinstance(item, Aggregate | Status | Refused)


@given(JSON)
def test_no_json_raises(value) -> None:
    for item in read_frame(json.dumps([value])):
        assert isinstance(item, Aggregate | Status | Refused)


@given(st.data())
def test_no_damaged_frame_raises(data) -> None:
    good = bytearray(frame(BAR, BAR).encode())
    for _ in range(data.draw(st.integers(1, 4))):
        good[data.draw(st.integers(0, len(good) - 1))] = data.draw(st.integers(0, 255))
    for item in read_frame(bytes(good[: data.draw(st.integers(0, len(good)))])):
        if isinstance(item, Aggregate):
            assert 0 < item.start_ns < item.end_ns


@given(st.text(max_size=50))
def test_a_command_is_json_whatever_it_holds(params: str) -> None:
    assert json.loads(command("subscribe", params)) == {"action": "subscribe", "params": params}
