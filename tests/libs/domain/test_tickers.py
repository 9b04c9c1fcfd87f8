from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.domain.eastern import (
    LocalTimeError,
    eastern_date,
    eastern_datetime,
    eastern_ns,
    utc_text,
)
from libs.domain.tickers import (
    TickerError,
    decode_token,
    encode_token,
    format_event_ticker,
    format_market_ticker,
    parse_event_ticker,
    parse_market_ticker,
    series_of_event,
)

MINUTE_NS = 60_000_000_000


def test_hourly_event_has_its_target_in_new_york_time() -> None:
    event = parse_event_ticker("KXINXU-26OCT02H1100")
    assert event.series_ticker == "KXINXU"
    assert event.date == date(2026, 10, 2)
    assert utc_text(event.target_ns) == "2026-10-02T15:00:00Z"  # EDT is UTC-4
    winter = parse_event_ticker("KXINXU-26NOV02H1100")
    assert utc_text(winter.target_ns) == "2026-11-02T16:00:00Z"  # EST is UTC-5


def test_close_target_is_20z_in_summer_and_21z_in_winter() -> None:
    assert utc_text(parse_event_ticker("KXINX-26OCT09H1600").target_ns)[11:13] == "20"
    assert utc_text(parse_event_ticker("KXINX-26DEC09H1600").target_ns)[11:13] == "21"


def test_event_ticker_is_written_from_its_target() -> None:
    target_ns = eastern_ns(date(2026, 10, 2), 11)
    assert format_event_ticker("KXINXU", target_ns) == "KXINXU-26OCT02H1100"


def test_events_without_an_hour() -> None:
    monthly = parse_event_ticker("KXCPI-26SEP")
    assert (monthly.year, monthly.month, monthly.date) == (2026, 9, None)
    daily = parse_event_ticker("KXUST10AD-26JUL30")
    assert daily.date == date(2026, 7, 30)
    touch = parse_event_ticker("KX10YRDIRHM-26OCT30H")
    assert touch.date == date(2026, 10, 30)
    for event in (monthly, daily, touch):
        with pytest.raises(TickerError, match="hour"):
            _ = event.target_ns


@pytest.mark.parametrize(
    ("text", "letter", "strike_e4"),
    [
        ("KXINXU-26OCT02H1100-T7869.9999", "T", 78_699_999),
        ("KXINX-26OCT09H1600-B8062", "B", 80_620_000),
        ("KXCPI-26SEP-T0.5", "T", 5_000),
        ("KXCPI-26SEP-T-0.1", "T", -1_000),
        ("KXPAYROLLS-26OCT-T50000", "T", 500_000_000),
        ("KXUST10AD-26JUL30-T4.73", "T", 47_300),
        ("KXHIGHNY-26OCT04-B63.5", "B", 635_000),
        ("KX10YRDIRHM-26OCT30H-T5.30", "T", 53_000),
    ],
)
def test_market_tickers_of_the_exchange(text: str, letter: str, strike_e4: int) -> None:
    market = parse_market_ticker(text)
    assert (market.text, market.letter, market.strike_e4) == (text, letter, strike_e4)
    assert market.event.series_ticker == series_of_event(text)


def test_market_ticker_is_written_as_the_exchange_does() -> None:
    event = "KXINXU-26OCT02H1100"
    assert format_market_ticker(event, "T", 78_699_999) == "KXINXU-26OCT02H1100-T7869.9999"
    with pytest.raises(TickerError):
        format_market_ticker(event, "X", 78_699_999)


@pytest.mark.parametrize(
    "text",
    [
        *("", "KXINXU", "KXINXU-", "-26OCT02", "KXINXU-26OCT32", "KXINXU-26OKT02", "KX.U-26OCT02"),
        *("KXINXU-26OCT02H2400", "KXINXU-26OCT02H1160", "KXINXU-26OCTH1100", "KXINXU-26FEB30H1000"),
        *("kxinxu-26OCT02H1100", "KXINXU-26OCT02H1100-T1", "KXINXU-2026OCT02"),
    ],
)
def test_bad_event_tickers_are_typed_errors(text: str) -> None:
    with pytest.raises(TickerError):
        parse_event_ticker(text)


@pytest.mark.parametrize(
    "text",
    ["KXINXU-26OCT02H1100", "KXINXU-26OCT02H1100-", "KXINXU-26OCT02H1100-X1", "A-26OCT-T1.00001"],
)
def test_bad_market_tickers_are_typed_errors(text: str) -> None:
    with pytest.raises(TickerError):
        parse_market_ticker(text)


def test_a_time_that_new_york_skips_or_repeats_has_no_ticker() -> None:
    with pytest.raises(TickerError):
        _ = parse_event_ticker("KXBTCD-26MAR08H0230").target_ns
    with pytest.raises(TickerError):
        _ = parse_event_ticker("KXBTCD-26NOV01H0130").target_ns
    with pytest.raises(LocalTimeError, match="once"):
        eastern_ns(date(2026, 11, 1), 1, 30)


@given(st.integers(eastern_ns(date(2020, 1, 1), 0) // MINUTE_NS, 1_900_000_000 // 60))
def test_event_ticker_round_trip(minute: int) -> None:
    target_ns = minute * MINUTE_NS
    local = eastern_datetime(target_ns)
    if local.hour == 1 and local.month == 11:
        return  # the repeated hour is tested above
    assert parse_event_ticker(format_event_ticker("KXINXU", target_ns)).target_ns == target_ns
    assert eastern_date(target_ns) == local.date()


def test_event_ticker_needs_a_whole_minute_and_a_series() -> None:
    with pytest.raises(TickerError, match="minute"):
        format_event_ticker("KXINXU", 1)
    with pytest.raises(TickerError, match="series"):
        format_event_ticker("KX-INXU", 0)


@given(st.text(min_size=1, max_size=40))
def test_token_is_legal_and_reversible(text: str) -> None:
    token = encode_token(text)
    assert token
    assert not set(token) & set(". *>\t\r\n\x00$/")
    assert token.isascii()
    assert decode_token(token) == text


@given(st.text(min_size=1, max_size=10), st.text(min_size=1, max_size=10))
def test_tokens_are_injective(one: str, other: str) -> None:
    assert (encode_token(one) == encode_token(other)) == (one == other)


@given(st.text(max_size=20))
def test_any_token_decodes_or_is_a_typed_error(token: str) -> None:
    try:
        text = decode_token(token)
    except TickerError:
        return
    assert encode_token(text) == token


def test_tokens_of_tickers_and_symbols() -> None:
    assert encode_token("KXINXU-26OCT02H1100") == "KXINXU-26OCT02H1100"
    assert encode_token("KXCPI-26SEP-T-0.1") == "KXCPI-26SEP-T-0_2E1"
    assert encode_token("I:SPX") == "I_3ASPX"
    for bad in ("", "a.b", "a_2e", "_41", "_FF", "a b", "_"):
        with pytest.raises(TickerError):
            decode_token(bad)
    for bad in ("", "\ud800"):
        with pytest.raises(TickerError):
            encode_token(bad)
