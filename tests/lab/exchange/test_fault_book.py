"""Which fault strikes what: selectors, triggers, counts, and what a scenario file may say."""

from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.exchange.fault_book import FaultBook
from lab.exchange.faults import (
    Answer,
    ClockOffset,
    Delay,
    Drop,
    DuplicateFrame,
    Fault,
    FrameFacts,
    FrameWhere,
    Gap,
    Pause,
    RequestFacts,
    RequestWhere,
    Silence,
    When,
    Window,
    load_scenario,
)
from lab.exchange.routes import OPERATIONS
from libs.common.config import ConfigError

S = 1_000_000_000
MS = 1_000_000


def request(**changes: object) -> RequestFacts:
    facts = {
        "operation": "CreateOrderV2",
        "method": "POST",
        "path": "/portfolio/events/orders",
        "key_id": "k1",
        "account": "a1",
        "markets": ("M-1",),
    }
    return RequestFacts(**{**facts, **changes})  # type: ignore[arg-type]


def frame(**changes: object) -> FrameFacts:
    facts = {
        "connection": 1,
        "key_id": "k1",
        "account": "a1",
        "sid": 1,
        "channel": "orderbook_delta",
        "type": "orderbook_delta",
        "market": "M-1",
    }
    return FrameFacts(**{**facts, **changes})  # type: ignore[arg-type]


def struck(when: When, times_ns: list[int], seed: int = 1) -> list[int]:
    """Return which of the requests at these times a fault strikes, counted from 0."""
    book = FaultBook(seed)
    book.add(Drop(when=when), 0)
    return [index for index, at_ns in enumerate(times_ns) if book.on_request(request(), at_ns)]


SECONDS = [second * S for second in range(10)]


@pytest.mark.parametrize(
    ("when", "expected"),
    [
        (When(), list(range(10))),
        (When(at_s=3), [3]),
        (When(from_s=2, until_s=5), [2, 3, 4]),
        (When(nth=(1, 4)), [0, 3]),
        (When(every=3), [2, 5, 8]),
        (When(count=2), [0, 1]),
        (When(from_s=4, every=2, count=2), [5, 7]),
        (When(probability=0), []),
        (When(probability=1), list(range(10))),
    ],
)
def test_triggers(when: When, expected: list[int]) -> None:
    assert struck(when, SECONDS) == expected


def test_probability_comes_from_the_seed_alone() -> None:
    times = [0] * 2_000
    half = When(probability=0.25)
    first = struck(half, times, seed=7)
    assert first == struck(half, times, seed=7)
    assert first != struck(half, times, seed=8)
    assert 400 < len(first) < 600  # 500 expected, sigma 19


@pytest.mark.parametrize(
    ("where", "facts", "expected"),
    [
        (RequestWhere(), request(), True),
        (RequestWhere(operations=("CancelOrderV2",)), request(), False),
        (RequestWhere(methods=("POST",), keys=("k1",)), request(), True),
        (RequestWhere(methods=("POST",), keys=("k2",)), request(), False),
        (RequestWhere(paths=("/portfolio/events/*",)), request(), True),
        (RequestWhere(paths=("/markets*",)), request(), False),
        (RequestWhere(accounts=("a2", "a1")), request(), True),
        (RequestWhere(markets=("M-*",)), request(), True),
        (RequestWhere(markets=("M-2",)), request(markets=("M-1", "M-2")), True),
        (RequestWhere(markets=("*",)), request(markets=()), False),
    ],
)
def test_request_selectors(where: RequestWhere, facts: RequestFacts, expected: bool) -> None:
    assert where.matches(facts) is expected


def test_what_struck_is_counted_and_stays_counted() -> None:
    book = FaultBook(1)
    number = book.add(Answer(status=503, when=When(every=2)), 0)
    book.add(Delay(ms=5), 0)
    plans = [book.on_request(request(), 0) for _ in range(5)]
    assert [plan.answer is not None for plan in plans if plan] == [False, True, False, True, False]
    assert all(plan and plan.delay_ns == 5 * MS for plan in plans)
    [first, second] = book.record()
    assert (first["matched"], first["injected"]) == (5, 2)
    assert (second["matched"], second["injected"]) == (5, 5)
    assert book.remove(number)
    assert not book.remove(number)
    assert book.injected == {"answer": 2, "delay": 5}


def test_a_gap_loses_that_many_matching_frames_of_one_connection() -> None:
    book = FaultBook(1)
    book.add(Gap(frames=3, when=When(nth=(2,))), 0)
    lost = []
    for index in range(8):
        plan = book.on_frame(frame(), 0)
        lost.append(plan is not None and plan.lost)
        if index == 2:
            assert book.on_frame(frame(connection=2), 0) is None
    assert lost == [False, True, True, True, False, False, False, False]
    assert book.injected == {"gap": 1}


def test_frames_without_a_subscription_are_not_lost_or_doubled() -> None:
    book = FaultBook(1)
    book.add(Gap(), 0)
    book.add(DuplicateFrame(), 0)
    assert book.on_frame(frame(sid=None, channel="", type="subscribed"), 0) is None
    assert book.on_frame(frame(), 0) is not None


def test_a_silence_holds_every_matching_frame_until_its_end() -> None:
    book = FaultBook(1)
    book.add(Silence(s=2, where=FrameWhere(channels=("orderbook_delta",)), when=When(count=1)), 0)
    for at_s in (5, 6, 6.9):
        plan = book.on_frame(frame(), round(at_s * S))
        assert plan is not None
        assert plan.hold_until_ns == 7 * S
        assert book.on_frame(frame(channel="trade"), round(at_s * S)) is None
    assert not book.is_silent(1, 6 * S), "only one channel is silent"
    assert book.on_frame(frame(), 7 * S) is None
    assert book.injected == {"silence": 1}


def test_states_last_from_edge_to_edge() -> None:
    book = FaultBook(1)
    book.add(Pause(when=Window(from_s=1, until_s=3)), 10 * S)
    book.add(Pause(what="exchange", when=Window(from_s=2)), 10 * S)
    number = book.add(ClockOffset(s=-300), 10 * S)
    moments = [10 * S]
    while (moment := book.next_moment_ns(moments[-1])) is not None:
        moments.append(moment)
    assert moments == [10 * S, 11 * S, 12 * S, 13 * S]
    assert [book.stops(at_ns) for at_ns in moments] == [
        (False, False),
        (True, False),
        (True, True),
        (True, True),
    ]
    assert book.clock_offset_ns(11 * S, checked=False) == -300 * S
    assert book.clock_offset_ns(11 * S, checked=True) == 0
    book.remove(number)
    assert book.clock_offset_ns(11 * S, checked=False) == 0


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 10**10)), max_size=60),
    st.integers(0, 2**32),
)
def test_the_same_history_gives_the_same_decisions(
    history: list[tuple[int, int]], seed: int
) -> None:
    def decisions() -> list[object]:
        book = FaultBook(seed)
        faults: list[Fault] = [
            Drop(when=When(probability=0.5)),
            Delay(ms=3, when=When(every=3, probability=0.9)),
            Gap(frames=2, when=When(probability=0.3)),
            Silence(s=1, then="lost", when=When(probability=0.1)),
        ]
        for fault in faults:
            book.add(fault, 0)
        found: list[object] = []
        for what, at_ns in history:
            if what:
                found.append(msgspec.to_builtins(book.on_frame(frame(connection=what), at_ns)))
            else:
                found.append(msgspec.to_builtins(book.on_request(request(), at_ns)))
        return [*found, book.record()]

    assert decisions() == decisions()


def test_a_scenario_file(tmp_path: Path) -> None:
    path = tmp_path / "scenario.yaml"
    path.write_text(
        """
- fault: accept_then_timeout
  hold_s: 2
  where: {operations: [CreateOrderV2], markets: ["KXINXU-*"]}
  when: {nth: [3], until_s: 60}
- {fault: gap, frames: 50, where: {channels: [orderbook_delta]}, when: {at_s: 30}}
- {fault: pause, what: exchange, when: {from_s: 10, until_s: 20}}
"""
    )
    first, second, third = load_scenario(path, OPERATIONS)
    assert msgspec.to_builtins(first)["where"]["markets"] == ("KXINXU-*",)
    assert second == Gap(
        frames=50, where=FrameWhere(channels=("orderbook_delta",)), when=When(at_s=30)
    )
    assert third == Pause(what="exchange", when=Window(from_s=10, until_s=20))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("fault: drop", ["expected a list", "dict"]),
        ("- fault: explode", ["'[0].fault'", "expected one of delay, drop", "'explode'"]),
        ("- drop", ["[0]", "expected object"]),
        ("- {fault: drop}\n- {fault: drop, ms: 3}", ["[1].ms", "unknown"]),
        ("- {fault: delay}", ["[0].ms", "found none"]),
        ("- {fault: delay, ms: 0}", ["'[0].ms': expected 1 to 600000, given 0"]),
        ("- {fault: delay, ms: long}", ["[0].ms", "'long'"]),
        ("- {fault: answer, status: 404}", ["[0].status", "404"]),
        ("- {fault: drop, where: {channels: [trade]}}", ["[0].where.channels", "unknown"]),
        ("- {fault: drop, where: {operations: [Fly]}}", ["[0].where.operations", "'Fly'"]),
        ("- {fault: drop, where: {methods: [post]}}", ["[0].where", "upper-case", "'post'"]),
        ("- {fault: drop, when: {at_s: 1, every: 2}}", ["[0].when", "at_s"]),
        ("- {fault: drop, when: {from_s: 5, until_s: 5}}", ["[0].when", "until_s"]),
        ("- {fault: pause, when: {every: 3}}", ["[0].when.every", "unknown"]),
        ("- {fault: terminal_error, code: 11}", ["[0].code", "11"]),
        ("- {fault: garbage, when: {at_s: 1}, where: {types: [trade]}}", ["[0]", "types"]),
        ("- [", ["expected YAML"]),
        ("\x00\xff", ["expected YAML"]),
    ],
)
def test_what_is_wrong_with_a_scenario_is_said_in_one_line(
    tmp_path: Path, text: str, words: list[str]
) -> None:
    path = tmp_path / "scenario.yaml"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(ConfigError) as caught:
        load_scenario(path, OPERATIONS)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    for word in words:
        assert word in message, message
