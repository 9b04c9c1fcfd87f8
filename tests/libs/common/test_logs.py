"""Logs: JSON lines in the run's time, and nothing secret in them, however it is nested."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.clock import ManualClock
from libs.common.logs import make_logger, mask, mask_payload, mask_text

PEM = (
    "-----BEGIN RSA PRIVATE " + "KEY-----\nMIIEowIBAAKCAQEAhush\nhushhush==\n"
    "-----END RSA PRIVATE " + "KEY-----"
)
SECRET = "hush-hush-hush-hush-9876"
HUSH = "hush-hush"


def logged(capsys: pytest.CaptureFixture[str], **fields: Any) -> dict[str, Any]:
    make_logger("feeds", ManualClock(1_722_873_600_000_000_000)).info("said", **fields)
    (line,) = capsys.readouterr().err.splitlines()
    assert HUSH not in line
    found: dict[str, Any] = json.loads(line)
    return found


def test_a_line_is_json_with_both_times(capsys: pytest.CaptureFixture[str]) -> None:
    line = logged(capsys, count=5)
    assert (line["event"], line["level"], line["service"]) == ("said", "info", "feeds")
    assert (line["count"], line["t_ns"]) == (5, 1_722_873_600_000_000_000)
    assert line["wall"].endswith("Z")


@pytest.mark.parametrize(
    "name",
    [
        "password",
        "nats_password",
        "PASSWD",
        "client_secret",
        "token",
        "admin_token",
        "signature",
        "KALSHI-ACCESS-SIGNATURE",
        "KALSHI-ACCESS-KEY",
        "Authorization",
        "api_key",
        "apikey",
        "access_key",
        "private_key",
        "key_pem",
    ],
)
def test_a_value_with_a_secret_s_name_is_masked(name: str, capsys) -> None:
    assert logged(capsys, **{name: SECRET})[name] == "****9876"
    nested = logged(capsys, outer={"inner": [{name: SECRET}]})
    assert nested["outer"]["inner"][0][name] == "****9876"


def test_a_short_secret_shows_nothing(capsys) -> None:
    assert logged(capsys, token="hush1")["token"] == "****"
    assert logged(capsys, token=["hush1", SECRET])["token"] == ["****", "****9876"]
    assert logged(capsys, token=123456)["token"] == "****"
    assert mask("") == "****"
    assert mask("12345678") == "****"


def test_a_secret_s_file_name_is_no_secret(capsys) -> None:
    assert logged(capsys, nats_password_file="run/feeds")["nats_password_file"] == "run/feeds"


@pytest.mark.parametrize(
    "text",
    [
        f"password={SECRET}",
        f"password: {SECRET}",
        f'{{"password":"{SECRET}"}}',
        f"{{'api_key': '{SECRET}'}}",
        f"Authorization: Bearer {SECRET}",
        f"authorization=bearer {SECRET}, x",
        f"Bearer {SECRET}",
        f"wss://host/path?apiKey={SECRET}&x=1",
        f"https://host/?token={SECRET}",
        f"nats://feeds:{SECRET}@127.0.0.1:4222",
        f"KALSHI-ACCESS-SIGNATURE: {SECRET}",
        f"kalshi-access-key: {SECRET}",
        f'{{"action":"auth","params":"{SECRET}"}}',
        PEM.replace("hush", SECRET),
        "x " + PEM.replace("hush", SECRET).split("-----END")[0],
        PEM.replace("hush", SECRET).replace("\n", "\\n"),
    ],
)
def test_a_secret_in_free_text_is_masked(text: str, capsys) -> None:
    assert HUSH not in mask_text(text)
    assert HUSH not in mask_payload(text.encode())
    logged(capsys, detail=text, nested={"a": (text, text.encode())})
    logged(capsys, error=ValueError(text))
    make_logger("x", ManualClock(0)).error(text)
    assert HUSH not in capsys.readouterr().err


def test_an_exception_s_text_is_masked(capsys) -> None:
    log = make_logger("feeds", ManualClock(0))
    try:
        raise ValueError(f"refused password={SECRET}")
    except ValueError as error:
        log.error("failed", exc_info=error)
    text = capsys.readouterr().err
    assert "ValueError" in text
    assert HUSH not in text


def test_ordinary_text_is_left_alone() -> None:
    for text in (
        "expected 5 tokens, got 6",
        "the secret of a good book",
        'KXINXU-24AUG05H1200 {"yes_bid":"0.4500"}',
        "key 'admin_port': expected int",
        "nats_password_file: expected a readable file at x, found: nothing",
        "bearer of news",
    ):
        assert mask_text(text) == text


def test_long_text_is_shortened_and_says_so() -> None:
    shown = mask_text("x" * 10_000)
    assert len(shown) < 600
    assert shown.endswith("…(10000)")


def test_what_json_cannot_say_is_logged_all_the_same(capsys) -> None:
    line = logged(capsys, thing=object(), number=1e400, raw=b"\xff\x00", key={1: 2})
    assert "object" in line["thing"]
    assert line["raw"] == "\\xff\x00"


@pytest.mark.parametrize("poison", ["password", "bearer ", "-----BEGIN", "://a:", 'token"  '])
def test_a_poison_payload_is_shown_without_long_thought(poison: str) -> None:
    assert len(mask_payload(poison.encode() * 100_000)) < 700


@given(st.binary(max_size=300))
def test_any_payload_can_be_shown(data: bytes) -> None:
    shown = mask_payload(data)
    json.dumps(shown)
    shown.encode()


def test_levels_are_closed(capsys) -> None:
    log = make_logger("feeds", ManualClock(0), "warning")
    log.info("quiet")
    assert capsys.readouterr().err == ""
    with pytest.raises(ValueError, match="expected one of debug, info, warning, error"):
        make_logger("feeds", ManualClock(0), "loud")
