"""The interval that Date headers allow for our clock's error."""

from hypothesis import given
from hypothesis import strategies as st

from libs.kalshi.skew import SkewEstimate, parse_http_date_ns

S = 1_000_000_000
NOON_NS = 1_781_180_000 * S


def test_http_dates() -> None:
    assert parse_http_date_ns("Thu, 11 Jun 2026 06:29:30 GMT") == 1_781_159_370 * S
    for text in ("", "yesterday", "Thu, 99 Jun 2026 06:29:30 GMT", "Thu, 11 Jun 2026 06:29:30"):
        assert parse_http_date_ns(text) is None


@given(st.text(max_size=40))
def test_any_date_text_is_a_time_or_none(text: str) -> None:
    got = parse_http_date_ns(text)
    assert got is None or isinstance(got, int)


def test_nothing_is_known_before_an_answer() -> None:
    estimate = SkewEstimate()
    assert estimate.skew_ns is None
    assert estimate.uncertainty_ns is None


def test_one_answer_bounds_to_half_a_second() -> None:
    estimate = SkewEstimate()
    estimate.observe(NOON_NS + 2 * S, NOON_NS + 2 * S, NOON_NS)
    assert (estimate.skew_ns, estimate.uncertainty_ns) == (3 * S // 2, S // 2)


@given(
    skew_ns=st.integers(-20 * S, 20 * S),
    calls=st.lists(
        st.tuples(st.integers(0, S), st.integers(0, S // 2), st.integers(0, S // 2)),
        min_size=1,
        max_size=30,
    ),
)
def test_the_true_skew_is_always_inside(skew_ns: int, calls: list[tuple[int, int, int]]) -> None:
    estimate = SkewEstimate()
    true_ns = NOON_NS
    for pause_ns, there_ns, back_ns in calls:
        true_ns += pause_ns
        sent_ns = true_ns + skew_ns
        true_ns += there_ns
        date_ns = true_ns // S * S
        true_ns += back_ns
        estimate.observe(sent_ns, true_ns + skew_ns, date_ns)
        assert estimate.skew_ns is not None
        assert estimate.uncertainty_ns is not None
        assert abs(estimate.skew_ns - skew_ns) <= estimate.uncertainty_ns + 1


def test_a_stepped_clock_starts_over() -> None:
    estimate = SkewEstimate()
    estimate.observe(NOON_NS, NOON_NS, NOON_NS)
    estimate.observe(NOON_NS + 300 * S, NOON_NS + 300 * S, NOON_NS)
    assert estimate.skew_ns is not None
    assert abs(estimate.skew_ns - 300 * S) <= S
