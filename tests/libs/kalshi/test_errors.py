"""What may be concluded from an answer: every shape on the wire, and any bytes at all."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.kalshi.errors import (
    KalshiError,
    NotDoneError,
    OutcomeUnknownError,
    RateLimitedError,
    RefusedError,
    ServerFaultError,
    UnreadableError,
    error_of,
)
from tests.shared_data import SHARED_DATA, shared_file

NESTED = b'{"error":{"code":"invalid_order","message":"invalid order","details":"post only cross"}}'
FLAT = b'{"code":"bad_request","message":"bad request","details":"json: cannot unmarshal"}'
BARE = b"{\"msg\":\"Parameter validation failed for GetMarkets: 'Limit' on the 'lte' tag\"}"
STRING = b'{"error":"too many requests"}'
STATUS = b'{"exchange_active":false,"trading_active":false}'


@pytest.mark.parametrize(
    ("status", "body", "code", "details"),
    [
        (400, NESTED, "invalid_order", "post only cross"),
        (400, FLAT, "bad_request", "json: cannot unmarshal"),
        (400, BARE, "", ""),
        (
            409,
            b'{"error":{"code":"order_already_exists","message":"x"}}',
            "order_already_exists",
            "",
        ),
        (
            404,
            b'{"error":{"code":"not_found","message":"not found","service":"exchange"}}',
            "not_found",
            "",
        ),
        (
            410,
            b'{"error":{"code":"deprecated_v1_order_endpoint","message":"m"}}',
            "deprecated_v1_order_endpoint",
            "",
        ),
        (403, b'{"error":"forbidden"}', "", ""),
        (400, b'{"error":{"message":"Expiration timestamp must be in the future"}}', "", ""),
    ],
)
def test_a_body_of_the_exchange_proves_refusal(
    status: int, body: bytes, code: str, details: str
) -> None:
    error = error_of("POST /x", status, body)
    assert isinstance(error, RefusedError)
    assert isinstance(error, NotDoneError)
    assert (error.status, error.code, error.details) == (status, code, details)


@pytest.mark.parametrize("body", [STRING, b"", b"<html>slow down</html>"])
def test_rate_limit_is_proof_that_nothing_was_done(body: bytes) -> None:
    error = error_of("POST /x", 429, body)
    assert isinstance(error, RateLimitedError)
    assert isinstance(error, NotDoneError)


@pytest.mark.parametrize("status", [500, 502, 503, 504, 599])
@pytest.mark.parametrize("body", [b"", NESTED, STATUS, b"<html>", b"[1]"])
def test_server_faults_leave_the_outcome_unknown(status: int, body: bytes) -> None:
    error = error_of("POST /x", status, body)
    assert isinstance(error, ServerFaultError)
    assert isinstance(error, OutcomeUnknownError)
    assert (error.exchange_status is not None) == (body == STATUS)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, b"<html>Bad gateway config</html>"),
        (403, b""),
        (404, b"404 page not found"),
        (400, b"{}"),
        (400, b'{"error":{}}'),
        (400, b'{"error":{"code":5}}'),
        (400, b'{"error":{"code":400,"message":"bad gateway config"}}'),
        (403, b'{"message":"Forbidden"}'),
        (404, b'{"msg":5}'),
        (400, b"null"),
        (408, NESTED),
        (301, b""),
        (100, b""),
    ],
)
def test_what_is_not_of_the_exchange_proves_nothing(status: int, body: bytes) -> None:
    assert isinstance(error_of("POST /x", status, body), UnreadableError)


def test_errors_say_call_status_and_reason() -> None:
    text = str(error_of("POST /trade-api/v2/portfolio/events/orders", 400, NESTED))
    assert text == (
        "POST /trade-api/v2/portfolio/events/orders: the exchange refused with 400:"
        " invalid_order: invalid order: post only cross"
    )


@given(st.integers(100, 599), st.binary(max_size=300))
def test_any_bytes_give_a_typed_error(status: int, body: bytes) -> None:
    assert isinstance(error_of("GET /x", status, body), KalshiError)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["error", "code", "message", "msg", "details", "x"]), inner
        )
    ),
    max_leaves=8,
)


@given(st.integers(100, 599), JSON)
def test_any_json_gives_a_typed_error(status: int, value: object) -> None:
    assert isinstance(error_of("GET /x", status, json.dumps(value).encode()), KalshiError)


def test_depth_is_no_weapon() -> None:
    body = b'{"error":' * 100_000
    assert isinstance(error_of("GET /x", 400, body), UnreadableError)


def recorded_errors() -> list[str]:
    folder = SHARED_DATA / "kalshi" / "recorded"
    names = []
    for meta in sorted(folder.glob("*.meta.json")):
        status = json.loads(meta.read_text()).get("status")
        if status is not None and status >= 400:
            names.append(meta.name.removesuffix(".meta.json"))
    return names


@pytest.mark.parametrize("name", recorded_errors() or ["auth__bad_signature"])
def test_every_recorded_refusal_is_read(name: str) -> None:
    body = shared_file(f"kalshi/recorded/{name}.json").read_bytes()
    status = json.loads(shared_file(f"kalshi/recorded/{name}.meta.json").read_text())["status"]
    error = error_of("X", status, body)
    assert isinstance(error, RefusedError)
    assert error.code or b'"msg"' in body
