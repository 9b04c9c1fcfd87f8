"""Edges: times of any number of fraction digits, numbers of strikes, typed failures."""

from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.kalshi.fields import (
    CountE2,
    LevelE4,
    MoneyE6,
    PriceE4,
    SignedCountE2,
    TimeFromMs,
    TimeFromS,
    decoder,
    format_time,
    parse_time_ns,
)


@pytest.mark.parametrize(
    ("text", "time_ns"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("2026-06-11T06:29:30.164956Z", 1_781_159_370_164_956_000),
        ("2026-06-11T06:29:30.16Z", 1_781_159_370_160_000_000),
        ("2026-06-11T06:29:30Z", 1_781_159_370_000_000_000),
        ("2026-06-11T06:29:30.000000001Z", 1_781_159_370_000_000_001),
        ("2026-06-11T06:29:30.123456789999Z", 1_781_159_370_123_456_789),
        ("2026-06-11T02:29:30-04:00", 1_781_159_370_000_000_000),
        ("2026-06-11T11:59:30+05:30", 1_781_159_370_000_000_000),
    ],
)
def test_time_of_any_precision(text: str, time_ns: int) -> None:
    assert parse_time_ns(text) == time_ns


@pytest.mark.parametrize(
    "text", ["", "2026-06-11", "2026-06-11T06:29:30", "2026-13-11T06:29:30Z", "now", "٢٠٢٦"]
)
def test_other_times_are_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the type is the contract
        parse_time_ns(text)


@given(st.integers(min_value=0, max_value=4_000_000_000_000_000_000))
def test_written_times_read_back(time_ns: int) -> None:
    text = format_time(time_ns)
    assert parse_time_ns(text) == time_ns
    assert not text.endswith(("0Z.", ".Z"))
    whole = datetime.fromisoformat(text[:19]).replace(tzinfo=UTC)
    assert int(whole.timestamp()) == time_ns // 1_000_000_000


class Row(msgspec.Struct):
    """One field of each kind."""

    price: PriceE4 | None = None
    count: CountE2 | None = None
    signed: SignedCountE2 | None = None
    money: MoneyE6 | None = None
    level: LevelE4 | None = None
    ms: TimeFromMs | None = None
    s: TimeFromS | None = None


ROW = decoder(Row)


@pytest.mark.parametrize(
    ("text", "field", "value"),
    [
        ('{"price":"0.4700"}', "price", 4700),
        ('{"count":"3.00"}', "count", 300),
        ('{"signed":"-54.00"}', "signed", -5400),
        ('{"money":"0.017472"}', "money", 17_472),
        ('{"level":7869.9999}', "level", 78_699_999),
        ('{"level":50000}', "level", 500_000_000),
        ('{"level":-0.1}', "level", -1000),
        ('{"ms":1781159370164}', "ms", 1_781_159_370_164_000_000),
        ('{"s":1781159370}', "s", 1_781_159_370_000_000_000),
        ('{"price":null}', "price", None),
    ],
)
def test_fields_become_plain_integers(text: str, field: str, value: int | None) -> None:
    got = getattr(ROW.decode(text), field)
    assert got == value
    assert got is None or type(got) is int
    assert msgspec.json.encode(got)


@pytest.mark.parametrize(
    "text",
    [
        '{"price":0.47}',
        '{"price":"0.47001"}',
        '{"price":"1.0001"}',
        '{"price":"-0.01"}',
        '{"count":"-1.00"}',
        '{"count":"0.001"}',
        '{"count":1}',
        '{"money":"1e3"}',
        '{"level":"7870"}',
        '{"level":true}',
        '{"ms":1.5}',
        '{"ms":true}',
        '{"s":99999999999999999}',
    ],
)
def test_other_values_are_refused_where_they_stand(text: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=r"\$\."):
        ROW.decode(text)
