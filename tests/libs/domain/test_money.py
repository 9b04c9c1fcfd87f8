import contextlib
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.domain import money
from libs.domain.money import MoneyError


@pytest.mark.parametrize(
    ("text", "price_e4"),
    [
        ("0.4700", 4700),
        ("0.47", 4700),
        ("0.470000", 4700),
        ("0", 0),
        ("1", 10_000),
        ("1.000000", 10_000),
        ("0.0001", 1),
        ("0.999900", 9_999),
    ],
)
def test_price_reads_exact_dollars(text: str, price_e4: int) -> None:
    assert money.parse_price(text) == price_e4


@pytest.mark.parametrize(
    "text",
    [
        " ",
        "0.47001",
        "1.0001",
        "2",
        "-0.1",
        "+0.1",
        ".5",
        "0.",
        "0.4700 ",
        "0.47\n",
        "1e-1",
        "NaN",
        "٠.٥",
        "0.0000001",
        "00.5",
        "0x1",
        "0,5",
        "",
    ],
)
def test_price_refuses_what_is_not_exact(text: str) -> None:
    with pytest.raises(MoneyError, match="expected"):
        money.parse_price(text)


@pytest.mark.parametrize("value", [0.47, 47, None, b"0.47", ["0.47"], {}])
def test_price_refuses_other_types(value: object) -> None:
    with pytest.raises(MoneyError):
        money.parse_price(value)  # type: ignore[arg-type]


@given(st.integers(0, 10_000))
def test_price_round_trip(price_e4: int) -> None:
    text = money.format_price(price_e4)
    assert Decimal(text) * 10_000 == price_e4
    assert len(text.partition(".")[2]) == 4
    assert money.parse_price(text) == price_e4


@pytest.mark.parametrize("price_e4", [-1, 10_001])
def test_price_format_refuses_outside_one_dollar(price_e4: int) -> None:
    with pytest.raises(MoneyError):
        money.format_price(price_e4)


@given(st.integers(-(10**14) + 1, 10**14 - 1))
def test_count_round_trip(count_e2: int) -> None:
    text = money.format_count(count_e2)
    assert Decimal(text) * 100 == count_e2
    assert len(text.partition(".")[2]) == 2
    assert money.parse_signed_count(text) == count_e2


def test_count_examples() -> None:
    assert money.parse_count("3.00") == 300
    assert money.parse_count("0.01") == 1
    assert money.parse_signed_count("-54.00") == -5400
    assert money.format_count(300) == "3.00"
    assert money.format_count(-1) == "-0.01"


@pytest.mark.parametrize("text", ["", "-1.00", "1.001", "1e2", "1_000", "1.", "9" * 13, " 1"])
def test_count_refuses(text: str) -> None:
    with pytest.raises(MoneyError):
        money.parse_count(text)


@given(st.integers(-(10**18) + 1, 10**18 - 1))
def test_money_round_trip(money_e6: int) -> None:
    text = money.format_money(money_e6)
    assert Decimal(text) * 1_000_000 == money_e6
    assert len(text.partition(".")[2]) == 6
    assert money.parse_money(text) == money_e6


def test_money_examples() -> None:
    assert money.parse_money("0.017500") == 17_500
    assert money.parse_money("-51.75") == -51_750_000
    assert money.parse_money("99.9999") == 99_999_900
    assert money.format_money(-1) == "-0.000001"


@pytest.mark.parametrize("text", ["", "0.0000001", "--1", "$1", "1,000", "9" * 13, "nan"])
def test_money_refuses(text: str) -> None:
    with pytest.raises(MoneyError):
        money.parse_money(text)


@pytest.mark.parametrize(
    ("value", "level_e4"),
    [
        (7869.9999, 78_699_999),
        ("7869.9999", 78_699_999),
        (7870, 78_700_000),
        (4.73, 47_300),
        (-0.1, -1_000),
        ("-0.1", -1_000),
        ("63.5000000", 635_000),
        (91.89, 918_900),
        (0.0, 0),
        (24719.9999, 247_199_999),
    ],
)
def test_level_is_exact(value: str | int | float, level_e4: int) -> None:
    assert money.parse_level(value) == level_e4


@pytest.mark.parametrize(
    "value",
    [
        *(float("nan"), float("inf"), float("-inf"), 1e11, 10**12, 20033.14177682076, 0.00001),
        *(True, "", "NaN", "1e3", "0.00001", "7,869", None, [1]),
    ],
)
def test_level_refuses(value: str | int | float) -> None:
    with pytest.raises(MoneyError):
        money.parse_level(value)


@given(st.floats(-1e10, 1e10).map(lambda x: round(x, 4)))
def test_level_of_a_float_is_its_shortest_decimal(value: float) -> None:
    exact = Decimal(repr(value)) * 10_000
    if exact == exact.to_integral_value():
        assert money.parse_level(value) == int(exact)
    else:
        with pytest.raises(MoneyError):
            money.parse_level(value)


@given(st.floats())
def test_level_of_any_float_is_exact_or_refused(value: float) -> None:
    try:
        level_e4 = money.parse_level(value)
    except MoneyError:
        return
    assert Decimal(repr(value)) * 10_000 == level_e4


@given(st.integers(-(10**15) + 1, 10**15 - 1))
def test_level_round_trip(level_e4: int) -> None:
    text = money.format_level(level_e4)
    assert Decimal(text) * 10_000 == level_e4
    assert money.parse_level(text) == level_e4


def test_level_text_is_short_as_in_tickers() -> None:
    assert money.format_level(78_699_999) == "7869.9999"
    assert money.format_level(80_620_000) == "8062"
    assert money.format_level(-1_000) == "-0.1"


def test_round_level_rounds_only_on_request() -> None:
    assert money.round_level(20033.14177682076) == 200_331_418
    with pytest.raises(MoneyError):
        money.round_level(float("nan"))


@given(st.text(max_size=12))
def test_any_text_gives_a_value_or_a_typed_error(text: str) -> None:
    for parse in (
        money.parse_price,
        money.parse_signed_count,
        money.parse_money,
        money.parse_level,
    ):
        with contextlib.suppress(MoneyError):
            assert isinstance(parse(text), int)


def test_a_refusal_shows_little_of_what_came() -> None:
    with pytest.raises(MoneyError) as refusal:
        money.parse_price("9" * 10_000)
    assert len(str(refusal.value)) < 250


@given(st.integers(0, 10_000), st.integers(0, 10**9))
def test_price_times_count_is_money(price_e4: int, count_e2: int) -> None:
    dollars = Decimal(money.format_price(price_e4)) * Decimal(money.format_count(count_e2))
    assert money.parse_money(f"{dollars:.6f}") == price_e4 * count_e2
