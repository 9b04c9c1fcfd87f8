"""The edge where messages come in: refused ones are counted, masked, told of, and go no further."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from libs.common.bus import Stored
from libs.common.clock import ManualClock
from libs.common.inbox import LETTERS_IN_A_ROW, Inbox, place_of
from libs.common.logs import make_logger
from libs.common.memory_bus import MemoryHub
from libs.common.messages import DeadLetter, Message, decode, encode
from libs.common.metrics import Metrics
from libs.common.topology import Service, subject_of
from tests.libs.common.samples import SAMPLES

S = 1_000_000_000
SECRET = "hush-hush-hush-9876"
(FILL,) = [sample for sample in SAMPLES if type(sample).__name__ == "Fill"]
(TICK,) = [sample for sample in SAMPLES if type(sample).__name__ == "IndexTick"]
NOW = FILL.ts_pub_ns
SUBJECT = subject_of(FILL)


class Edge:
    """An inbox of risk, with what it counted."""

    def __init__(self, now_ns: int = NOW) -> None:
        self.metrics = Metrics()
        clock = ManualClock(now_ns)
        self.inbox = Inbox(self.metrics, make_logger("risk", clock), clock)
        self.sequence = 0

    def open(self, data: bytes, subject: str = SUBJECT) -> tuple[Message | None, DeadLetter | None]:
        self.sequence += 1
        return self.inbox.open(Stored(subject, self.sequence, data), Service.RISK)

    def refused(self, data: bytes, subject: str = SUBJECT) -> DeadLetter:
        message, letter = self.open(data, subject)
        assert message is None
        assert letter is not None
        return letter

    def count(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(f"alpha_{name}_total", labels) or 0.0


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: type(sample).__name__)
def test_a_good_message_comes_through(sample) -> None:
    edge = Edge()
    assert edge.open(encode(sample), subject_of(sample)) == (sample, None)


def test_good_messages_are_counted_by_stream() -> None:
    edge = Edge()
    edge.open(encode(FILL))
    assert edge.count("messages_received", stream="FILLS") == 1


def test_an_undecodable_message_is_told_of_with_its_place() -> None:
    edge = Edge()
    letter = edge.refused(b'{"type":"fill.9"}')
    assert (letter.stream, letter.subject, letter.sequence) == ("FILLS", SUBJECT, 1)
    assert letter.reason.startswith("undecodable: ")
    assert (letter.payload, letter.size_bytes) == ('{"type":"fill.9"}', 17)
    assert (letter.source, letter.ts_pub_ns) == ("risk", NOW)
    assert edge.count("messages_bad", stream="FILLS", reason="undecodable") == 1
    assert edge.count("messages_received", stream="FILLS") == 0


def test_a_message_on_another_s_subject_is_refused() -> None:
    letter = Edge().refused(encode(FILL), "fills.KXINXU.KXINXU-24AUG05H1300")
    assert letter.reason == f"wrong_subject: expected on {SUBJECT}"


@pytest.mark.parametrize("field", ["ts_event_ns", "ts_pub_ns"])
def test_a_message_from_the_future_is_refused(field: str) -> None:
    edge, place = Edge(), subject_of(TICK)
    at_limit = replace(TICK, **{field: NOW + 5 * S})
    assert edge.open(encode(at_limit), place)[0] == at_limit
    letter = edge.refused(encode(replace(TICK, **{field: NOW + 6 * S})), place)
    assert letter.reason == "future_dated: 6.0 s ahead"


@pytest.mark.parametrize("kind", ["OrderIntent", "OrderUpdate", "BrokerEpoch", "Fill"])
def test_orders_and_fills_count_whatever_a_clock_says(kind) -> None:
    """A reader whose clock was set back, or a broker whose clock is ahead: exposure is exposure."""
    sample = next(one for one in SAMPLES if type(one).__name__ == kind)
    assert Edge(sample.ts_pub_ns - 300 * S).open(encode(sample), subject_of(sample))[0] == sample


def test_an_old_message_is_no_fault() -> None:
    assert Edge(NOW + 10**6 * S).open(encode(FILL))[0] == FILL


def test_a_letter_names_its_cause_the_same_way_after_a_redelivery() -> None:
    assert Edge().refused(b"x").id == Edge(NOW + 9 * S).refused(b"x").id
    edge = Edge()
    assert edge.refused(b"x").id != edge.refused(b"x").id  # another sequence


def test_secrets_are_masked_in_letter_and_log(capsys: pytest.CaptureFixture[str]) -> None:
    edge = Edge()
    for data in (
        f'{{"password":"{SECRET}"}}'.encode(),
        f'{{"type":"token={SECRET}"}}'.encode(),
        f"Authorization: Bearer {SECRET}".encode(),
    ):
        letter = edge.refused(data)
        assert b"hush-hush" not in encode(letter)
    assert "hush-hush" not in capsys.readouterr().err


def test_a_huge_message_makes_a_small_letter() -> None:
    letter = Edge().refused(b"x" * 2_000_000)
    assert letter.size_bytes == 2_000_000
    assert len(encode(letter)) < 5_000


def test_a_flood_of_garbage_makes_five_letters_until_a_good_message_comes() -> None:
    edge = Edge()
    letters = [edge.open(b"garbage")[1] for _ in range(100)]
    assert sum(letter is not None for letter in letters) == LETTERS_IN_A_ROW == 5
    assert letters[4] is not None
    assert edge.count("messages_bad", stream="FILLS", reason="undecodable") == 100
    edge.open(encode(FILL))
    assert edge.open(b"garbage")[1] is not None


@given(st.one_of(st.binary(max_size=300), st.text(max_size=300).map(str.encode)))
def test_no_bytes_pass_or_raise_and_every_letter_can_be_read(data: bytes) -> None:
    letter = Edge().refused(data)
    assert decode(encode(letter)) == letter
    assert subject_of(letter) == "dead.risk.FILLS"


@given(st.data())
def test_no_damaged_message_raises(data) -> None:
    good = bytearray(encode(data.draw(st.sampled_from(SAMPLES))))
    for _ in range(data.draw(st.integers(1, 4))):
        good[data.draw(st.integers(0, len(good) - 1))] = data.draw(st.integers(0, 255))
    message, letter = Edge().open(bytes(good))
    assert (message is None) == (letter is not None)
    if letter is not None:
        assert decode(encode(letter)) == letter


@pytest.mark.parametrize(("bad", "place"), [(0, 2_501), (2_501, 1_876)])
async def test_the_place_of_a_time_is_before_it_and_near(bad, place) -> None:
    """Of 5,000 ticks a second apart the 3,000th: 2,501 is old, 3,751 and 3,126 are new, so it lies
    in 2,501 to 3,125. Where 2,501 can't be read it counts as new, and 1,251 and 1,876 are old.
    """
    hub = MemoryHub(lambda: NOW)
    for number in range(1, 5_001):
        at_ns = NOW - (5_001 - number) * S
        tick = replace(TICK, id=f"t{number}", ts_event_ns=at_ns, ts_pub_ns=at_ns)
        hub.append(subject_of(TICK), b"bad" if number == bad else encode(tick), tick.id, None)
    bus = hub.bus(Service.PRICER)
    assert await place_of(bus, "TICKS", NOW - 2_001 * S, NOW) == place
    assert await place_of(bus, "TICKS", 1, NOW) == 0
